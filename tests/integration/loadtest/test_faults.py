"""Faults: each is counted or reported as what it is, nothing hangs beyond the timeout, the sum always holds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fault_servers import FaultServer, reply, reset, serve_faults, serve_grpc_faults

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.loadtest import ClosedLoop, ConstantRate, LoadTestOptions, PoissonRate, Ramp, run_loadtest
from serve_deploy.loadtest.workers.pool import Workers
from serve_deploy.reports.gates import evaluate_gate, parse_gate
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.triton import TritonServer

GOOD = reply(b'{"outputs": []}')


Run = Callable[..., LoadTestReport]


@pytest.fixture
def run(generator: Workers) -> Run:
    """Send twenty requests without warm-up."""

    def measure(url: str, **options: Any) -> LoadTestReport:
        chosen = {
            "loads": (ClosedLoop(2),), "requests": 20, "duration_seconds": None, "warmup_seconds": 0.0,
            "timeout_seconds": 20.0, **options,
        }  # fmt: skip
        asked = LoadTestOptions(endpoint=parse_endpoint(url), model="faulty", **chosen)
        return run_loadtest(asked, workers=generator)

    return measure


def check(report: LoadTestReport) -> Point:
    (point,) = report.points
    assert point.sent == point.succeeded + point.failed + point.timed_out + point.in_flight_at_end
    assert point.response.count == point.succeeded + point.timed_out + point.never_sent
    assert sum(error.count for error in point.errors) == point.failed + point.timed_out
    return point


def kinds(point: Point) -> dict[str, int]:
    return {error.kind: error.count for error in point.errors}


async def reset_connection(number: int, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def close_connection(number: int, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def half_a_reply(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD[:-5])
    writer.close()


async def half_a_reply_and_reset(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD[:-5])
    reset(writer)


async def slow_loris(number: int, writer: asyncio.StreamWriter) -> None:
    for byte in GOOD:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def silence(number: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def not_http(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n\r\n")


async def unavailable(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b'{"error": "no healthy upstream"}', "503 Service Unavailable"))


async def internal_error(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b"<html>oops</html>", "500 Internal Server Error"))


async def chunked(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{'a':\r\n")
    await writer.drain()
    writer.write(b"2\r\n1}\r\n0\r\n\r\n")


async def close_after_reply(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b"{}", extra="Connection: close\r\n"))
    writer.close()


async def grow(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b"x" * (1000 * number)))


@pytest.mark.parametrize(
    ("behaviour", "kind", "text"),
    [
        (reset_connection, "reset", "reset"),
        (close_connection, "reset", "before it replied"),
        (half_a_reply, "reset", "in the middle of its reply"),
        (half_a_reply_and_reset, "reset", "reset"),
        (not_http, "protocol", "not an HTTP reply"),
        (unavailable, "http_503", "no healthy upstream"),
        (internal_error, "http_500", "oops"),
    ],
)
def test_http_faults_are_failures_of_their_kind(run: Run, behaviour: Any, kind: str, text: str) -> None:
    """What is no whole, successful reply is a failure with an example, and never a fast success."""
    with serve_faults(behaviour) as server:
        point = check(run(f"http://127.0.0.1:{server.port}"))
    assert (point.sent, point.succeeded, kinds(point)) == (20, 0, {kind: 20})
    assert text in point.errors[0].example
    assert point.response.count == 0
    assert point.failures
    assert point.failures.count == 20


@pytest.mark.parametrize("behaviour", [slow_loris, silence])
@pytest.mark.parametrize("load", [ClosedLoop(4), ConstantRate(100)], ids=["closed", "open"])
def test_replies_that_never_end_time_out(run: Run, behaviour: Any, load: Any) -> None:
    """A reply that trickles, or never comes, is a timeout at the time that it was given up, and holds nobody up."""
    with serve_faults(behaviour) as server:
        point = check(run(f"http://127.0.0.1:{server.port}", loads=(load,), requests=8, timeout_seconds=0.3))
    assert (point.sent, kinds(point)) == (8, {"timeout": 8})
    assert point.response.min_us >= 300_000


@pytest.mark.parametrize("behaviour", [chunked, close_after_reply, grow])
def test_legitimate_replies_succeed(run: Run, behaviour: Any) -> None:
    """Chunked replies, connections that close after each reply, replies of any size: all successes."""
    with serve_faults(behaviour) as server:
        point = check(run(f"http://127.0.0.1:{server.port}"))
    assert (point.succeeded, point.errors, server.requests) == (20, (), 20)


def test_faults_in_between_are_told_apart(run: Run) -> None:
    """One run with five outcomes counts each of them."""

    async def mixed(number: int, writer: asyncio.StreamWriter) -> None:
        behaviours = (chunked, unavailable, reset_connection, silence, half_a_reply)
        await behaviours[number % len(behaviours)](number, writer)

    with serve_faults(mixed) as server:
        point = check(run(f"http://127.0.0.1:{server.port}", loads=(ClosedLoop(1),), requests=10, timeout_seconds=1.5))
    assert point.succeeded == 2
    assert kinds(point) == {"http_503": 2, "reset": 4, "timeout": 2}


def test_open_loop_does_not_wait_for_a_slow_server(run: Run) -> None:
    """Requests leave on time while the server is silent: an open loop opens connections as it needs them."""
    with serve_faults(silence) as server:
        point = check(
            run(f"http://127.0.0.1:{server.port}", loads=(ConstantRate(200),), requests=60, timeout_seconds=2)
        )
        assert server.requests == 60
    assert point.mean_in_flight > 20


def test_connections_run_out(run: Run) -> None:
    """With two connections allowed, requests that waited for the timeout are never sent; the generator is to blame."""
    with serve_faults(silence) as server:
        url = f"http://127.0.0.1:{server.port}"
        point = check(run(url, loads=(ConstantRate(200),), requests=40, connections=2, timeout_seconds=0.3))
        assert server.requests == point.sent < 40
    assert point.sent + point.never_sent == 40
    assert point.response.min_us >= 0.3e6
    assert any("more connections" in reason for reason in point.client_bound_reasons)


def test_too_few_open_files_are_named() -> None:
    """Each connection is one: the limit is said, and what to raise it for."""
    with serve_faults(silence) as server:
        loadtest = f"loadtest http://127.0.0.1:{server.port} -m faulty -c 100 --warmup 0 --timeout 1"
        command = ["/bin/bash", "-c", f'ulimit -n 40 && exec "$0" -m serve_cli {loadtest}', sys.executable]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 6
    assert "Too many open files" in ended.stderr
    assert "ulimit -n allows 40 here" in ended.stderr


async def after_10_ms(number: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.01)
    writer.write(GOOD)


@pytest.mark.parametrize("load", [ConstantRate(1e9), PoissonRate(1e9), Ramp(5e8, 1e9)])
def test_an_impossible_rate_ends_on_the_clock_and_counts_what_was_never_sent(run: Run, load: Any) -> None:
    """Up to a billion requests are due in a second: few are sent, the others are errors that waited; none is lost."""
    with serve_faults(after_10_ms) as server:
        url = f"http://127.0.0.1:{server.port}"
        options = {"requests": None, "duration_seconds": 1.0, "warmup_seconds": 0.5, "connections": 4}
        point = check(run(url, loads=(load,), timeout_seconds=0.3, **options))
    assert point.sent + point.never_sent == pytest.approx(point.load.request_rate, rel=1e-3)
    assert point.duration_seconds < 60
    assert point.response.p50_us > 0.3e6
    gates = [evaluate_gate(parse_gate(gate), point) for gate in ("p99<60s", "errors<99%")]
    assert [gate.passed for gate in gates] == [False, False]


def test_a_backlog_is_worked_off_after_the_end(run: Run) -> None:
    """A server that stalls for the last third of the period answers everything late, and every wait is measured."""

    async def stall(number: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.33 if 66 <= number < 68 else 0)
        writer.write(GOOD)

    with serve_faults(stall) as server:
        url = f"http://127.0.0.1:{server.port}"
        options = {"requests": None, "duration_seconds": 1.0, "connections": 2}
        point = check(run(url, loads=(ConstantRate(100),), **options))
    assert (point.succeeded, point.never_sent) == (100, 0)
    assert point.response.p90_us > 80e3


def test_connections_that_the_warm_up_lost_are_opened_again(run: Run) -> None:
    """Else nobody, or fewer users than asked for, would send during the measurement."""

    async def late_to_wake(number: int, writer: asyncio.StreamWriter) -> None:
        if number >= 2:
            await after_10_ms(number, writer)

    with serve_faults(late_to_wake) as server:
        report = run(f"http://127.0.0.1:{server.port}", warmup_seconds=1.0, timeout_seconds=2)
    (point,) = report.points
    assert (point.sent, point.succeeded) == (20, 20)


def test_dead_server_ends_the_run_with_the_report_so_far() -> None:
    """Nothing but refused connections for two seconds: the run ends, incomplete, with what was measured."""
    stack = contextlib.ExitStack()
    with stack:
        server = stack.enter_context(serve_faults(chunked))
        port = server.port

        def stop_server(snapshot: Any) -> None:
            if snapshot.succeeded and snapshot.phase == "measuring":
                stack.close()

        options = LoadTestOptions(
            endpoint=parse_endpoint(f"http://127.0.0.1:{port}"), model="faulty", loads=(ClosedLoop(2),),
            duration_seconds=60, warmup_seconds=0, timeout_seconds=1,
        )  # fmt: skip
        report = run_loadtest(options, on_snapshot=stop_server)
    point = check(report)
    assert (report.complete, report.ended_by) == (False, "server")
    assert "stopped answering" in (report.interrupted_reason or "")
    assert point.succeeded > 0
    assert kinds(point)["connect"] > 0
    assert point.duration_seconds < 50
    assert not any("in flight" in reason for reason in point.client_bound_reasons)


def test_killed_triton_ends_the_run(triton_server: Callable[..., TritonServer], loadtest_repository: Any) -> None:
    """A real server that dies in mid-run, over gRPC: the run ends as lost, not as fast."""
    server = triton_server(loadtest_repository, models=("double",))

    def kill(snapshot: Any) -> None:
        if snapshot.succeeded:
            server.stop(drain=False)

    options = LoadTestOptions(
        endpoint=parse_endpoint(server.grpc_url), model="double", loads=(ClosedLoop(4),), shapes=(("IN", (1,)),),
        duration_seconds=60, warmup_seconds=0, timeout_seconds=1,
    )  # fmt: skip
    report = run_loadtest(options, on_snapshot=kill)
    point = check(report)
    assert report.ended_by == "server"
    assert point.succeeded > 0
    # Calls that end before the channel has noticed its loss end with gRPC's own word for it.
    assert set(kinds(point)) <= {"reset", "connect", "timeout", "grpc_unavailable"}
    assert kinds(point)["connect"] > 0


@pytest.mark.parametrize(("protocol", "kind"), [("http", "http_404"), ("grpc", "grpc_not_found")])
def test_model_unloaded_while_running(triton: TritonServer, protocol: str, kind: str) -> None:
    """A model that goes away is answered with errors, which are counted; the run goes on to its end."""
    unloaded: list[bool] = []

    def unload(snapshot: Any) -> None:
        if snapshot.succeeded and not unloaded:
            unloaded.append(True)
            triton.unload_model("shout")

    url = triton.http_url if protocol == "http" else triton.grpc_url
    # On a busy machine the model may go only after a short run.
    for seconds in (2, 30):
        options = LoadTestOptions(
            endpoint=parse_endpoint(url), model="shout", loads=(ConstantRate(50),), duration_seconds=seconds,
            warmup_seconds=0,
        )  # fmt: skip
        try:
            report = run_loadtest(options, on_snapshot=unload)
        finally:
            triton.load_model("shout")
            unloaded.clear()
        point = check(report)
        if point.errors:
            break
    assert report.complete
    assert point.succeeded > 0
    assert kinds(point).get(kind), point.errors
    assert any("statistics" in note for note in report.notes)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"])
def test_grpc_statuses_are_failures_of_their_kind(run: Run, code: str) -> None:
    """A status that the server answers with is counted by its name, UNAVAILABLE too: somebody answered."""
    import grpc

    def refuse(request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode[code], "not now")

    with serve_grpc_faults(refuse) as port:
        point = check(run(f"grpc://127.0.0.1:{port}"))
    assert (point.sent, kinds(point)) == (20, {f"grpc_{code.lower()}": 20})
    assert point.errors[0].example == "not now"


def test_grpc_silence_times_out(run: Run) -> None:
    """A call without an answer is given up at the timeout."""
    import threading

    over = threading.Event()
    with serve_grpc_faults(lambda request, context: over.wait(20)) as port:
        point = check(run(f"grpc://127.0.0.1:{port}", requests=4, timeout_seconds=0.3))
        over.set()
    assert (point.sent, point.timed_out) == (4, 4)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there_is_said_before_the_first_request(run: Run, scheme: str) -> None:
    """A refused connection is an endpoint error that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(EndpointError, match=f"{scheme}://127.0.0.1:{port}: cannot be reached"):
        run(f"{scheme}://127.0.0.1:{port}")


def test_a_grpc_port_asked_over_http_is_said(run: Run) -> None:
    """The frames that a gRPC port answers with are not shown; the hint names the scheme to write."""
    with (
        serve_grpc_faults(lambda request, context: None) as port,
        pytest.raises(EndpointError, match="the server does not speak HTTP") as said,
    ):
        run(f"http://127.0.0.1:{port}")
    assert "grpc://" in (said.value.hint or "")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_unknown_host_is_said_before_the_first_request(run: Run, scheme: str) -> None:
    """A name that does not resolve is an endpoint error that names the host."""
    with pytest.raises(EndpointError, match=r"no-such-host\.invalid"):
        run(f"{scheme}://no-such-host.invalid:8000")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_unknown_model_lists_those_that_there_are(run: Run, triton: TritonServer, protocol: str) -> None:
    """A model that is not served is refused before the first request."""
    url = triton.http_url if protocol == "http" else triton.grpc_url
    with pytest.raises(EndpointError, match="serves no model 'faulty'") as caught:
        run(url)
    assert "exact" in (caught.value.hint or "")


def test_free_dims_need_a_shape(measure: Any) -> None:
    """A free dim without --shape is refused, with the model's inputs listed."""
    with pytest.raises(UsageError, match="free dims") as caught:
        measure("double", requests=1)
    assert "`shapes=IN:N`" in (caught.value.hint or "")
    assert "IN FP32 [-1, -1]" in (caught.value.hint or "")
    # `serve infer` says the same, and calls its data otherwise.
    assert "--data" not in (caught.value.hint or "")


def test_command_exits_6_with_the_report_when_the_server_dies(serve: Callable[..., Any]) -> None:
    """`serve loadtest --json` against a server that goes away: exit code 6, the report up to there, the reason."""
    servers: list[FaultServer] = []
    ends: list[asyncio.Task[None]] = []

    async def die_at_20(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)
        if number == 20:
            ends.append(asyncio.create_task(servers[0].stop()))

    with serve_faults(die_at_20) as server:
        servers.append(server)
        options = ["--rate", 100, "--duration", 60, "--warmup", 0, "--timeout", 10, "--json"]
        done = serve("loadtest", f"http://127.0.0.1:{server.port}", "-m", "faulty", *options)
    assert done.returncode == 6, done.stderr
    report = json.loads(done.stdout)
    assert (report["complete"], report["ended_by"]) == (False, "server")
    assert report["points"][0]["succeeded"] >= 20
    assert "stopped answering" in done.stderr
