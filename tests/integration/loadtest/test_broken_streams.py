"""Streams of language models that break end under the name of what broke them, and unusual ones succeed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import broken_grpc_streams
import broken_streams
import pytest
from broken_grpc_streams import BrokenGrpc, GrpcFault, serve_grpc_streams
from broken_streams import HTTP, Broken, Fault, serve_streams

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.loadtest import ClosedLoop, ConstantRate, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.options import GenerationOptions
from serve_deploy.loadtest.options.loads import LoadShape
from serve_deploy.loadtest.workers.pool import Workers
from serve_deploy.reports.point import Point

OVER_HTTP = [
    pytest.param(broken, protocol, id=f"{broken.fault.__name__}-{protocol}")
    for broken in broken_streams.BROKEN
    for protocol in broken.protocols
]


Run = Callable[..., Point]


@pytest.fixture
def run(generator: Workers) -> Run:
    """Ask four times for four tokens; whatever happens, every request ends in one way."""

    def measure(url: str, protocol: str, load: LoadShape | None = None, **options: Any) -> Point:
        generate = "auto" if protocol == "grpc" else protocol
        chosen = {"requests": 4, "timeout_seconds": 1.0, "duration_seconds": None, **options}
        asked = LoadTestOptions(
            endpoint=parse_endpoint(url), model="llm", warmup_seconds=0.0, loads=(load or ClosedLoop(2),),
            generation=GenerationOptions(generate=generate, max_tokens=4), **chosen,
        )  # fmt: skip
        (point,) = run_loadtest(asked, workers=generator).points
        assert point.sent == point.succeeded + point.failed + point.timed_out + point.in_flight_at_end
        return point

    return measure


def patience(kind: str) -> float:
    """Seconds to wait for an answer: short where it does not come, and long on a busy machine where it does."""
    return 1.0 if kind in ("timeout", "stream_stalled") else 20.0


def kinds(point: Point) -> dict[str, int]:
    return {error.kind: error.count for error in point.errors}


@pytest.mark.parametrize(("broken", "protocol"), OVER_HTTP)
def test_broken_streams_fail_under_their_name(run: Run, broken: Broken, protocol: str) -> None:
    """Over HTTP: none is a success, each is counted by its kind, and the example says what came."""
    with serve_streams(broken.fault) as server:
        point = run(f"http://127.0.0.1:{server.port}", protocol, timeout_seconds=patience(broken.kind))
    assert (point.sent, point.succeeded, kinds(point)) == (4, 0, {broken.kind: 4})
    assert broken.text in point.errors[0].example
    assert point.generation
    assert point.generation.output_tokens == 0


@pytest.mark.parametrize("broken", broken_grpc_streams.BROKEN, ids=lambda broken: broken.fault.__name__)
def test_broken_grpc_streams_fail_under_their_name(run: Run, broken: BrokenGrpc) -> None:
    """Over gRPC, the same."""
    with serve_grpc_streams(broken.fault) as server:
        url, timeout_seconds = f"grpc://127.0.0.1:{server.port}", patience(broken.kind)
        point = run(url, "grpc", ClosedLoop(1), timeout_seconds=timeout_seconds)
    assert (point.sent, point.succeeded, kinds(point)) == (4, 0, {broken.kind: 4})
    assert broken.text in point.errors[0].example


@pytest.mark.parametrize("protocol", HTTP)
@pytest.mark.parametrize("fault", broken_streams.UNUSUAL, ids=lambda fault: fault.__name__)
def test_unusual_streams_succeed(run: Run, fault: Fault, protocol: str) -> None:
    """However the bytes are cut, framed and escaped."""
    with serve_streams(fault) as server:
        point = run(f"http://127.0.0.1:{server.port}", protocol, timeout_seconds=20.0)
    assert (point.succeeded, point.errors) == (4, ())


@pytest.mark.parametrize("fault", broken_grpc_streams.UNUSUAL, ids=lambda fault: fault.__name__)
def test_unusual_grpc_streams_succeed(run: Run, fault: GrpcFault) -> None:
    """However messages are cut into frames, and wherever the final flag stands."""
    with serve_grpc_streams(fault) as server:
        point = run(f"grpc://127.0.0.1:{server.port}", "grpc", timeout_seconds=20.0)
    assert (point.succeeded, point.errors) == (4, ())


@pytest.mark.parametrize("protocol", HTTP)
def test_broken_streams_among_whole_ones_are_told_apart(run: Run, protocol: str) -> None:
    """One run over one server: what breaks leaves its neighbours alone."""
    faults = (
        broken_streams.all_in_one_chunk,
        broken_streams.closed_between_events,
        broken_streams.error_after_tokens,
        broken_streams.silent_after_tokens,
        broken_streams.not_json,
    )
    numbers = iter(range(100))

    async def in_turn(answer: Any) -> None:
        await faults[next(numbers) % len(faults)](answer)

    with serve_streams(in_turn) as server:
        point = run(f"http://127.0.0.1:{server.port}", protocol, requests=20)
    assert point.succeeded == 4
    assert kinds(point) == {"stream_cut": 4, "stream_error": 4, "stream_stalled": 4, "stream_malformed": 4}


def test_stalled_streams_hold_up_no_open_loop(run: Run) -> None:
    """Requests leave on time while others stall, and each is given up at its own timeout."""
    with serve_streams(broken_streams.silent_after_tokens) as server:
        url = f"http://127.0.0.1:{server.port}"
        point = run(url, "chat", ConstantRate(100), requests=20)
    assert (point.sent, point.never_sent, kinds(point)) == (20, 0, {"stream_stalled": 20})
    assert point.timed_out == 20
