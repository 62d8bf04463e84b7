"""A load test as Prometheus metrics: scraped while it runs, or pushed when it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, push_to_gateway, start_http_server

from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.figures import format_load
from serve_deploy.reports.pooling import group_by_load, pool_repeats
from serve_deploy.reports.readers import (
    ITL,
    TPOT,
    TTFT,
    Read,
    find_latency,
    read_error_rate,
    read_goodput,
    token_reader,
)
from serve_deploy.reports.report import LoadTestReport

if TYPE_CHECKING:
    from serve_deploy.loadtest.live import LiveSnapshot

_PERCENTILES = (("50", "p50_us"), ("90", "p90_us"), ("95", "p95_us"), ("99", "p99_us"), ("99.9", "p999_us"))
_PUSH_SECONDS = 10.0
_OUTCOMES = ("succeeded", "failed", "timed_out", "never_sent")
_FIGURES: tuple[tuple[str, str, Read], ...] = (
    ("throughput", "Inferences per second.", lambda point: point.throughput),
    (
        "error_ratio",
        "Failed and timed-out requests, as a share of all that ended.",
        lambda point: read_error_rate(point) or 0,
    ),
    ("requests", "Requests sent.", lambda point: point.sent),
    ("client_bound", "1 if the load generator was the limit, not the server.", lambda point: point.client_bound),
)
_TOKEN_FIGURES: tuple[tuple[str, str, Read], ...] = (
    ("output_token_rate", "Output tokens of successful requests per second.", token_reader("output_tokens_per_second")),
    ("input_token_rate", "Input tokens of successful requests per second.", token_reader("input_tokens_per_second")),
    ("goodput_ratio", "Requests that met every objective, as a share of all that ended.", read_goodput),
)
_CLOCKS = (("response", "Response time from the intended send", "response"),)
_TOKEN_CLOCKS = (
    ("time_to_first_token", "Time to first token from the intended send", TTFT),
    ("inter_token", "Gap between two pieces of one answer", ITL),
    ("time_per_output_token", "Time per output token of each request", TPOT),
)


class LiveMetrics:
    """Counters and gauges of the run so far; `listen` takes the engine's snapshots."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        self._model = model
        self._requests = Counter(
            "serve_loadtest_requests", "Requests that ended.", ("model", "phase", "outcome"), registry=self.registry
        )
        self._rate = self._gauge("request_rate", "Requests answered per second, recently.")
        self._p99 = self._gauge("response_p99_seconds", "p99 of the response time from the intended send, recently.")
        self._in_flight = self._gauge("in_flight", "Requests sent and not yet answered.")
        self._target_rate = self._gauge("target_rate", "Requested rate per second; 0 in a closed loop.")
        self._concurrency = self._gauge(
            "target_concurrency", "Requested concurrency of a closed loop; 0 in an open loop."
        )
        self._period: object = None
        self._counted = dict.fromkeys(_OUTCOMES, 0)

    @cached_property
    def _tokens(self) -> Gauge:
        return self._gauge("output_tokens_rate", "Output tokens per second, recently.")

    @cached_property
    def _first_token(self) -> Gauge:
        return self._gauge("time_to_first_token_p50_seconds", "p50 of the time to first token in this period.")

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"serve_loadtest_{name}", text, ("model",), registry=self.registry).labels(self._model)

    def listen(self, snapshot: LiveSnapshot) -> None:
        """Take in how the run is doing."""
        period = (snapshot.load, snapshot.repeat, snapshot.phase)
        if period != self._period:
            self._period, self._counted = period, dict.fromkeys(_OUTCOMES, 0)
        for outcome in _OUTCOMES:
            total = getattr(snapshot, outcome)
            self._requests.labels(self._model, snapshot.phase, outcome).inc(max(0, total - self._counted[outcome]))
            self._counted[outcome] = total
        self._rate.set(snapshot.request_rate)
        self._p99.set(snapshot.response_p99_us / 1e6)
        self._in_flight.set(snapshot.in_flight)
        self._target_rate.set(snapshot.load.request_rate or 0)
        self._concurrency.set(snapshot.load.concurrency or 0)
        if snapshot.output_tokens_per_second is not None:
            self._tokens.set(snapshot.output_tokens_per_second)
        if snapshot.first_token_p50_us is not None:
            self._first_token.set(snapshot.first_token_p50_us / 1e6)


@contextmanager
def serve_metrics(metrics: LiveMetrics, address: str) -> Iterator[int]:
    """Serve the metrics at PORT (of this machine alone) or HOST:PORT while the context lasts; gives the port."""
    host, port = parse_address(address)
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise UsageError(f"`metrics_port={address}`: {error.strerror}", hint="choose a free port") from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def parse_address(address: str) -> tuple[str, int]:
    """Read PORT or HOST:PORT; UsageError for anything else."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"`metrics_port={address}` is not a port", hint="write it as 9095 or 0.0.0.0:9095")
    return host.strip("[]") or "127.0.0.1", int(port)


def push_report(report: LoadTestReport, url: str) -> None:
    """Push a finished run to a Pushgateway, in place of the last one of its model; EndpointError where it refuses."""
    registry = collect_report(report)
    try:
        push_to_gateway(
            url, "serve_loadtest", registry, grouping_key={"model": report.target.model}, timeout=_PUSH_SECONDS
        )
    except (OSError, ValueError) as error:
        raise EndpointError(
            f"cannot push to the Pushgateway {url}: {getattr(error, 'reason', None) or error}",
            hint="the report itself is complete",
        ) from error


def collect_report(report: LoadTestReport) -> CollectorRegistry:
    """The results of a run as gauges: a series a load, and one a gate."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"serve_loadtest_{name}", text, ("load", *labels), registry=registry)

    tokens = any(point.generation for point in report.points)
    figures = {gauge(name, text): read for name, text, read in (*_FIGURES, *(_TOKEN_FIGURES if tokens else ()))}
    latencies = [
        (gauge(f"{name}_seconds", f"{text}.", "percentile"), gauge(f"{name}_max_seconds", f"{text}: longest."), clock)
        for name, text, clock in (*_CLOCKS, *(_TOKEN_CLOCKS if tokens else ()))
    ]
    passed = gauge("gate_passed", "1 if the gate was passed.", "gate")
    for point in map(pool_repeats, group_by_load(report.points)):
        load = format_load(point.load)
        for each, read in figures.items():
            if (value := read(point)) is not None:
                each.labels(load).set(value)
        for percentiles, slowest, clock in latencies:
            _set_latency(percentiles, slowest, load, find_latency(point, clock))
    for result in report.gates:
        passed.labels(format_load(result.load) if result.load else "", result.expression).set(result.passed)
    ended = Gauge("serve_loadtest_complete", "1 if the run was not cut short.", registry=registry)
    ended.set(report.complete)
    return registry


def _set_latency(percentiles: Gauge, slowest: Gauge, load: str, latency: LatencySummary | None) -> None:
    if latency is None:
        return
    slowest.labels(load).set(latency.max_us / 1e6)
    for percentile, name in _PERCENTILES:
        percentiles.labels(load, percentile).set(getattr(latency, name) / 1e6)
