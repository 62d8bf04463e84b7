"""Truth: what is reported is what happened, against a real Triton with models whose behaviour is known."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from serve_deploy.loadtest import ClosedLoop, ConstantRate, PoissonRate, Ramp, Replay, parse_endpoint
from serve_deploy.loadtest.measurements.server_cpu import find_server
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.triton import TritonServer

BODY = b'{"inputs":[{"name":"IN","shape":[1],"datatype":"FP32","data":[1]}]}'


def only_point(report: LoadTestReport) -> Point:
    (point,) = report.points
    assert point.sent == point.succeeded + point.failed + point.timed_out + point.in_flight_at_end
    return point


def plain_p50_us(url: str, requests: int) -> float:
    """What a plain blocking socket sees of the 5 ms model, one request after the other.

    No HTTP library: parsing headers in Python takes it up to 3 % of these 5 ms.
    """
    address = urlsplit(url)
    head = f"POST /v2/models/exact/infer HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    request = head.encode() + BODY
    times = []
    with socket.create_connection((address.hostname, address.port)) as connection:
        for _ in range(requests):
            start = time.perf_counter()
            connection.sendall(request)
            read_reply(connection)
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def read_reply(connection: socket.socket) -> None:
    """Read one HTTP reply to its last byte."""
    reply = b""
    while (end := reply.find(b"\r\n\r\n")) < 0:
        reply += connection.recv(65536)
    length = int(reply[:end].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(reply) < end + 4 + length:
        reply += connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 200")


def test_service_time_is_what_a_plain_client_sees(triton: TritonServer, measure: Any) -> None:
    """The median of the 5 ms model is within 3 % of a plain client's, asked before and after.

    On a machine that does other things too, neighbouring medians differ by more: then it is measured again.
    """
    for _ in range(6):
        before = plain_p50_us(triton.http_url, 50)
        point = only_point(measure("exact", loads=(ClosedLoop(1),), requests=100))
        after = plain_p50_us(triton.http_url, 50)
        assert point.service.p50_us >= 5000
        if min(before, after) * 0.97 <= point.service.p50_us <= max(before, after) * 1.03:
            return
    pytest.fail(f"reported {point.service.p50_us:.0f} µs; a plain client saw {before:.0f} and {after:.0f} µs")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_stall_shows_in_the_99th_percentile(
    measure: Any, write_data: Callable[..., Path], loadtest_repository: Path, protocol: str
) -> None:
    """One stall of 500 ms at 200/s: p99 is within 5 % of what the model's own clock says, and not below arithmetic.

    Requests are due every 5 ms; while the model stalls they queue up, and the last percent of 400 waits 480 ms or more.
    """
    times = loadtest_repository / "stall" / "1" / "times"
    times.write_text("")
    milliseconds = np.zeros((400, 1), np.float32)
    milliseconds[100] = 500
    data = write_data(MILLISECONDS=milliseconds)
    point = only_point(measure("stall", protocol, loads=(ConstantRate(200),), requests=400, data=data))
    starts, ends = np.loadtxt(times).T
    due = np.arange(400) / 200
    truth = ends - (due + np.min(starts - due))
    assert point.response.p99_us >= 0.95 * 480_000
    assert point.response.p99_us == pytest.approx(np.percentile(truth, 99, method="inverted_cdf") * 1e6, rel=0.05)
    assert len([bucket for bucket in point.timeline if bucket.succeeded == 0]) >= 3


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    "load",
    [ClosedLoop(4), ConstantRate(300), PoissonRate(300), Ramp(100, 500), Replay((0.0, 0.01, 0.3, 0.31), "a test")],
    ids=lambda load: type(load).__name__,
)
def test_throughput_is_what_the_server_counted(measure: Any, protocol: str, load: Any) -> None:
    """After a warm-up, the server counted as many requests as were sent, and the rate is theirs."""
    point = only_point(
        measure("double", protocol, loads=(load,), duration_seconds=0.6, warmup_seconds=0.2, shapes=(("IN", (4,)),))
    )
    (server,) = point.server
    assert (point.failed, point.timed_out, point.in_flight_at_end) == (0, 0, 0)
    assert server.requests == point.succeeded > 0
    assert point.throughput == pytest.approx(server.requests / point.duration_seconds, rel=0.01)
    assert sum(bucket.succeeded for bucket in point.timeline) == point.succeeded
    assert point.timeline[-1].in_flight == 0


def test_constant_rate_sends_what_was_asked_for(measure: Any) -> None:
    """Three hundred a second for 0.5 s are 150 requests, however long they take."""
    point = only_point(measure("stall", loads=(ConstantRate(300),), duration_seconds=0.5))
    assert point.sent == 150
    assert point.duration_seconds >= 0.5


def test_batches_count_as_inferences(measure: Any) -> None:
    """With four rows in a request, throughput is four times the request rate."""
    point = only_point(
        measure("double", loads=(ClosedLoop(2),), requests=50, batch_size=4, shapes=(("IN", (4,)),), repeat=1)
    )
    (server,) = point.server
    assert (server.requests, server.inferences) == (50, 200)
    assert point.throughput == pytest.approx(4 * point.request_rate)


def test_ensembles_show_their_members(measure: Any) -> None:
    """The server's share lists the ensemble first, then each composing model once, and the target what they are."""
    report = measure("chain", requests=20)
    point = only_point(report)
    (member,) = report.target.members
    assert (member.model, member.instances, member.scheduling["name"]) == ("double", 1, "double")
    assert [(server.model, server.requests) for server in point.server] == [("chain", 20), ("double", 40)]


def test_metrics_are_sampled_over_the_period(measure: Any, triton: TritonServer) -> None:
    """With the metrics' address, pending requests and the CPU figures are there."""
    point = only_point(
        measure("stall", loads=(ClosedLoop(8),), duration_seconds=1.2, metrics_url=triton.metrics_url, seed=3)
    )
    assert point.pending is not None
    assert point.server_metrics["nv_cpu_memory_used_bytes"] > 0


def test_unreadable_metrics_are_a_note(measure: Any, triton: TritonServer) -> None:
    """A wrong metrics address costs the figures, not the run."""
    report = measure("stall", requests=5, metrics_url=f"{triton.http_url}/nothing")
    assert only_point(report).pending is None
    assert any("/nothing cannot be read" in note for note in report.notes)


def test_sweep_and_repeats_are_points(measure: Any) -> None:
    """Two loads, each twice: four points in order."""
    report = measure("stall", loads=(ClosedLoop(1), ClosedLoop(3)), requests=10, repeat=2)
    assert [(point.load.concurrency, point.repeat) for point in report.points] == [(1, 0), (1, 1), (3, 0), (3, 1)]
    assert report.kind == "sweep"
    assert report.complete


def test_the_servers_cpu_is_that_of_its_processes(measure: Any, triton: TritonServer) -> None:
    """The CPU of a server on this machine is in the report; nobody's is where something else listens."""
    point = only_point(measure("double", loads=(ClosedLoop(2),), duration_seconds=1.0, shapes=(("IN", (4,)),)))
    assert 0 < point.server_cpu_cores < (os.cpu_count() or 1) * 1.1
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert find_server("127.0.0.1", other.getsockname()[1]) is None
    assert find_server("192.0.2.1", parse_endpoint(triton.http_url).port) is None
