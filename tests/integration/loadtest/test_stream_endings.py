"""Load tests of token streams that end early: by Ctrl-C, by their timeout, by the death of the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broken_streams import Answer, serve_streams
from openai_server import running_openai_server
from token_stream import write_token_stream

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.loadtest import ClosedLoop, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.options import GenerationOptions
from serve_deploy.triton import TritonServer

PROTOCOLS = ("triton", "grpc", "chat", "completions")
# Streams that would go on for minutes.
ENDLESS = {"max_tokens": 10_000}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_interrupted_streams_are_cancelled_and_reported(measure_streams: Any, protocol: str) -> None:
    """Ctrl-C amid four streams: the report holds what has come, and the server has been left."""

    def interrupt(snapshot: Any) -> None:
        if snapshot.phase == "measuring":
            os.kill(os.getpid(), signal.SIGINT)

    run = measure_streams(protocol, 4, 100, generation=ENDLESS, on_snapshot=interrupt)
    assert (run.report.complete, run.report.ended_by) == (False, "interrupt")
    assert (run.point.sent, run.point.in_flight_at_end, run.point.errors) == (4, 4, ())
    assert run.generation.output_tokens == 0
    assert {stream.outcome for stream in run.sent} == {"cancelled"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_streams_that_time_out_are_cancelled_and_stalled(measure_streams: Any, protocol: str) -> None:
    """Tokens came, the end did not: `stream_stalled`, at its timeout, and the server has been left."""
    run = measure_streams(protocol, 2, 2, generation=ENDLESS, timeout_seconds=1.5)
    assert run.point.timed_out == run.point.sent == 2
    assert [(error.kind, error.count) for error in run.point.errors] == [("stream_stalled", 2)]
    assert run.point.response.min_us >= 1_500_000
    assert run.generation.time_to_first_token.count == 2
    assert {stream.outcome for stream in run.sent} == {"cancelled"}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_triton_killed_amid_streams_ends_the_run(
    triton_server: Callable[..., TritonServer], tmp_path: Path, protocol: str
) -> None:
    """The streams are cut, the run ends as lost, and nothing counts as a success."""
    write_token_stream(tmp_path / "models")
    server = triton_server(tmp_path / "models")

    def kill(snapshot: Any) -> None:
        if snapshot.output_tokens_per_second:
            server.stop(drain=False)

    check_killed(server.http_url if protocol == "http" else server.grpc_url, "auto", kill)


@pytest.mark.parametrize("protocol", ["chat", "completions"])
def test_an_openai_server_killed_amid_streams_ends_the_run(tmp_path: Path, protocol: str) -> None:
    """The same of a server that speaks OpenAI's protocol."""
    with running_openai_server(tmp_path / "log") as server:

        def kill(snapshot: Any) -> None:
            if snapshot.output_tokens_per_second:
                server.process.kill()

        check_killed(server.url, protocol, kill)


def check_killed(url: str, generate: Any, kill: Callable[[Any], None]) -> None:
    options = LoadTestOptions(
        endpoint=parse_endpoint(url), model="llm", loads=(ClosedLoop(4),), duration_seconds=60, warmup_seconds=0,
        timeout_seconds=60, generation=GenerationOptions(generate=generate, **ENDLESS),
    )  # fmt: skip
    report = run_loadtest(options, on_snapshot=kill)
    (point,) = report.points
    counts = {error.kind: error.count for error in point.errors}
    assert report.ended_by == "server"
    assert point.succeeded == 0
    # Calls that end before the channel has noticed its loss end with gRPC's own word for it.
    cut = sum(counts.get(kind, 0) for kind in ("stream_cut", "grpc_unavailable", "stream_error"))
    # On a busy machine some of the four have not begun to be answered.
    assert cut >= 1
    assert cut + counts.get("reset", 0) >= 4
    assert counts["connect"] > 0
    assert set(counts) <= {"stream_cut", "connect", "reset", "grpc_unavailable", "stream_error"}


def test_the_command_interrupted_amid_streams_exits_130() -> None:
    """With its report on stdout: two streams had begun and not ended."""
    process: list[subprocess.Popen[str]] = []
    begun: list[Answer] = []

    async def interrupt_at_the_second(answer: Answer) -> None:
        answer.start()
        answer.tokens(3)
        begun.append(answer)
        if len(begun) == 2:
            process[0].send_signal(signal.SIGINT)

    with serve_streams(interrupt_at_the_second) as server:
        command = [sys.executable, "-m", "serve_cli", "loadtest", f"http://127.0.0.1:{server.port}", "-m", "llm"]
        options = ["--generate", "chat", "-c", "2", "--duration", "60", "--warmup", "0", "--json"]
        process.append(
            subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        output, errors = process[0].communicate(timeout=300)
    assert process[0].returncode == 130, errors
    report = json.loads(output)
    assert (report["ended_by"], report["points"][0]["in_flight_at_end"]) == ("interrupt", 2)
