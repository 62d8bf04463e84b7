"""Generator processes: the schedule stays whole, what they measured adds up, their end is noticed."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fault_servers import reply, serve_faults

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import ServeError
from serve_deploy.loadtest import ClosedLoop, ConstantRate, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.clients.exchange import Request
from serve_deploy.loadtest.requests.source import Rotation
from serve_deploy.loadtest.workers.interruption import INTERRUPTS, Interruption
from serve_deploy.loadtest.workers.messages import Job, Prepare
from serve_deploy.loadtest.workers.pool import start_workers
from serve_deploy.progress import silent
from serve_deploy.triton import TritonServer


def workers() -> list[int]:
    """The generator processes that are ours."""
    children = [Path(task, "children").read_text().split() for task in Path("/proc/self/task").iterdir()]
    return [
        int(pid)
        for pids in children
        for pid in pids
        if b"serve_deploy.loadtest.workers.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize("load", [ConstantRate(200), ClosedLoop(4)], ids=["open", "closed"])
def test_three_processes_carry_out_one_schedule(measure: Any, load: Any) -> None:
    """Shared out over three processes, exactly what was asked for is sent, and the server agrees."""
    report = measure("double", loads=(load,), requests=100, processes=3, shapes=(("IN", (1,)),), warmup_seconds=0.1)
    (point,) = report.points
    assert (point.sent, point.succeeded, point.server[0].requests) == (100, 100, 100)
    assert point.response.count == sum(count for _, count in point.response.histogram) == 100


def test_fewer_users_than_processes(measure: Any) -> None:
    """A process without a user has nothing to do, and does not keep the others waiting."""
    (point,) = measure("exact", loads=(ClosedLoop(1),), requests=10, processes=3).points
    assert point.sent == 10


def test_crashed_worker_fails_the_run(triton: TritonServer) -> None:
    """A generator process that is killed makes the run an error: its figures would not be those asked for."""
    options = LoadTestOptions(
        endpoint=parse_endpoint(triton.http_url), model="exact", loads=(ClosedLoop(2),), duration_seconds=60,
        warmup_seconds=0, processes=2,
    )  # fmt: skip

    def kill(snapshot: Any) -> None:
        if snapshot.succeeded:
            os.kill(workers()[0], signal.SIGKILL)

    with pytest.raises(ServeError, match="a generator process ended unexpectedly"):
        run_loadtest(options, on_snapshot=kill)
    assert workers() == []


def test_interrupt_gives_a_partial_report() -> None:
    """Ctrl-C while measuring returns what was measured, marked incomplete; no process is left."""

    async def answer_ten(number: int, writer: Any) -> None:
        if number < 10:
            writer.write(reply(b"{}"))

    def interrupt(snapshot: Any) -> None:
        if snapshot.succeeded == 10:
            os.kill(os.getpid(), signal.SIGINT)

    with serve_faults(answer_ten) as server:
        options = LoadTestOptions(
            endpoint=parse_endpoint(f"http://127.0.0.1:{server.port}"), model="faulty", duration_seconds=60,
            loads=(ClosedLoop(2), ClosedLoop(4)), warmup_seconds=0,
        )  # fmt: skip
        report = run_loadtest(options, on_snapshot=interrupt)
    (point,) = report.points
    assert (report.complete, report.ended_by, report.interrupted_reason) == (
        False, "interrupt", "interrupted while measuring",
    )  # fmt: skip
    assert (point.sent, point.succeeded, point.in_flight_at_end) == (12, 10, 2)
    assert point.duration_seconds < 30
    assert workers() == []


def test_interrupt_between_periods_ends_the_run(triton: TritonServer) -> None:
    """Ctrl-C that comes while no request is under way is not forgotten: nothing more is measured."""
    options = LoadTestOptions(
        endpoint=parse_endpoint(triton.http_url), model="exact", loads=(ClosedLoop(1),), duration_seconds=60,
        warmup_seconds=0.1,
    )  # fmt: skip

    def interrupt(doing: str) -> None:
        if doing.startswith("measuring"):
            os.kill(os.getpid(), signal.SIGINT)

    report = run_loadtest(options, progress=interrupt)
    assert (report.ended_by, report.points) == ("interrupt", ())
    assert workers() == []


def test_workers_that_still_start_are_deaf_to_interrupts() -> None:
    """Ctrl-C reaches the whole process group: a generator process that has not come up yet does not die of it."""

    def build_job(number: int) -> Job:
        return Job(
            endpoint=parse_endpoint("http://127.0.0.1:1"), source=Rotation((Request(b""),)), validate=False,
            streaming=False, timeout_seconds=1, worker=number, workers=2,
        )  # fmt: skip

    with Interruption() as interruption, start_workers(2) as (started,):
        for number in INTERRUPTS:
            for pid in workers():
                os.kill(pid, number)
        with started.run(interruption, build_job):
            failure = started.prepare(Prepare(ClosedLoop(2), connections=2))
    assert failure is not None
    assert os.strerror(errno.ECONNREFUSED) in failure
    assert workers() == []


def test_kept_workers_carry_out_one_run_after_the_other(triton: TritonServer) -> None:
    """The same process measures again, after a run that was interrupted too."""
    options = LoadTestOptions(
        endpoint=parse_endpoint(triton.http_url), model="exact", loads=(ClosedLoop(3),), duration_seconds=0.1,
        warmup_seconds=0,
    )  # fmt: skip

    def interrupt(doing: str) -> None:
        if doing.startswith("measuring"):
            os.kill(os.getpid(), signal.SIGINT)

    with start_workers(1) as (kept,):
        ends, pids = [], []
        for progress in (silent, interrupt, silent):
            ends.append(run_loadtest(options, workers=kept, progress=progress).ended_by)
            pids.append(workers())  # not before the first run: a process that just started may not show its name yet
        assert (ends, len(pids[0]), pids[1:]) == ([None, "interrupt", None], 1, [pids[0]] * 2)
    assert workers() == []


def test_command_interrupted_exits_130_with_its_report() -> None:
    """`serve loadtest --json` that gets Ctrl-C prints its partial report and exits 130."""
    process: list[subprocess.Popen[str]] = []

    async def interrupt_at_20(number: int, writer: Any) -> None:
        if number == 20:
            process[0].send_signal(signal.SIGINT)
        writer.write(reply(b"{}"))

    with serve_faults(interrupt_at_20) as server:
        command = [sys.executable, "-m", "serve_cli", "loadtest", f"http://127.0.0.1:{server.port}", "-m", "faulty"]
        options = ["--rate", "100", "--duration", "60", "--warmup", "0", "--json"]
        process.append(
            subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        output, errors = process[0].communicate(timeout=300)
    assert process[0].returncode == 130, errors
    report = json.loads(output)
    assert report["ended_by"] == "interrupt"
    assert 20 <= report["points"][0]["sent"] < 1000
    assert "partial" in errors
