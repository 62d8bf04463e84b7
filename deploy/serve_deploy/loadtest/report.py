"""The result of a load test: one frozen document, saved as JSON and read back by `report`, `chart` and gates."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

FORMAT_VERSION = 1


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class LatencySummary(_Document):
    """Microseconds. `histogram` holds every value in HDR buckets: pairs of (bucket's lower bound, count)."""

    count: int
    mean_us: float
    min_us: float
    p50_us: float
    p90_us: float
    p95_us: float
    p99_us: float
    p999_us: float
    max_us: float
    histogram: tuple[tuple[int, int], ...] = ()


class ErrorKind(_Document):
    """Requests that failed alike: kind is timeout, connect, reset, http_503, grpc_unavailable, wrong_output …"""

    kind: str
    count: int
    example: str


class Load(_Document):
    """What was asked of the generator at one point: a concurrency (closed loop) or a rate (open loop).

    Of a ramp and of a replay, `request_rate` is the mean over the period.
    """

    mode: Literal["closed", "open"]
    concurrency: int | None = None
    request_rate: float | None = None
    distribution: Literal["constant", "poisson", "ramp", "replay"] | None = None
    batch_size: int = 1
    ramp_from: float | None = None
    ramp_to: float | None = None
    replay_of: str | None = None


class Interval(_Document):
    """A mean over repeats with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


class LoadIntervals(_Document):
    """Every figure of a load over its repeats, by the name it has in a point."""

    load: Load
    repeats: int
    figures: dict[str, Interval]


class ClientCost(_Document):
    """The generator itself; slip is the actual minus the intended send."""

    cpu_fraction: float
    cpu_us_per_request: float
    slip_p50_us: float
    slip_p99_us: float
    slip_max_us: float


class ModelStatistics(_Document):
    """The server's own account of one model over the period: means per request, from the statistics' difference."""

    model: str
    requests: int
    inferences: int
    executions: int
    failures: int
    queue_us: float
    compute_input_us: float
    compute_infer_us: float
    compute_output_us: float
    average_batch_size: float


class TimelineBucket(_Document):
    """One slice of the measurement period, by the end of the request; start is relative to the period's."""

    start_seconds: float
    duration_seconds: float
    succeeded: int
    failed: int
    in_flight: int
    response_p50_us: float
    response_p99_us: float
    response_max_us: float


class Point(_Document):
    """One measurement at one load. sent = succeeded + failed + timed_out + in_flight_at_end.

    Requests belong to the period by their intended send, and are waited for until they end or time out.
    `response` (from the intended send) and `service` (from the actual send) hold every reply, and every timeout at the
    time that it was given up; `failures` holds, from the intended send, what failed: never counted as a fast success.
    Of streamed requests, `first_response` is the time to the first of their `responses`; `response` ends with the last.
    Throughput is in inferences/s (successful requests × batch size) over `duration_seconds`: from the start to the last
    end, and at least as long as was asked for.
    server holds the target model first, then what it is composed of.
    mean_in_flight is measured: the time integral of requests in flight, not rate × latency.
    pending is the server's nv_inference_pending_request_count, averaged over the period.
    """

    load: Load
    repeat: int = 0
    started_at: str
    duration_seconds: float
    sent: int
    succeeded: int
    failed: int
    timed_out: int
    in_flight_at_end: int
    request_rate: float
    throughput: float
    mean_in_flight: float
    response: LatencySummary
    service: LatencySummary
    failures: LatencySummary | None = None
    first_response: LatencySummary | None = None
    responses: int | None = None
    errors: tuple[ErrorKind, ...] = ()
    client: ClientCost
    client_bound: bool = False
    client_bound_reasons: tuple[str, ...] = ()
    server: tuple[ModelStatistics, ...] = ()
    server_metrics: dict[str, float] = {}
    pending: float | None = None
    timeline: tuple[TimelineBucket, ...] = ()


class GateResult(_Document):
    """One --slo expression against one load (all its repeats) or, where `load` is None, the run.

    `measured` and `threshold` are in `unit`; `measured` is None where there was nothing to measure.
    `trusted` is False where the generator was the limit, so that the figure is not the server's.
    """

    expression: str
    passed: bool
    measured: float | None
    threshold: float
    unit: str
    explanation: str
    trusted: bool = True
    load: Load | None = None


class MetricChange(_Document):
    """One figure now against the baseline; changes are relative (0.1 is 10 % more), or points for error rates."""

    load: Load
    metric: Literal["response_p50", "response_p99", "throughput", "error_rate"]
    before: float
    now: float
    change: float
    change_low: float | None
    change_high: float | None
    verdict: Literal["worse", "better", "same", "undecided"]
    method: Literal["repeats", "single_run", "requests", "none"]
    explanation: str


class BaselineComparison(_Document):
    """Is this run slower than a saved one? Decided at `confidence`, over all changes together."""

    baseline: str
    baseline_started_at: str
    confidence: float
    minimum_effect: float
    regressed: bool
    changes: tuple[MetricChange, ...]
    notes: tuple[str, ...] = ()


class SearchResult(_Document):
    """The highest load that held every gate (`highest`, None: none did), and the lowest that did not."""

    variable: Literal["rate", "concurrency"]
    highest: float | None
    lowest_missed: float | None
    stopped_by: Literal["precision", "limit", "floor", "client", "budget"]
    explanation: str


class Target(_Document):
    """What was measured: the endpoint and the model, with what `chart --capacity` needs to recognise it."""

    url: str
    protocol: Literal["http", "grpc"]
    model: str
    model_version: str
    server_version: str
    platform: str
    max_batch_size: int
    model_config_sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    instances: int | None = None


class LoadTestReport(_Document):
    """A whole run: one or many points, each perhaps repeated.

    `ended_by` says what cut an incomplete run short: Ctrl-C, or a server that does not answer any more.
    """

    format_version: int = FORMAT_VERSION
    tool_version: str
    kind: Literal["single", "sweep", "find", "merged"]
    target: Target
    complete: bool
    interrupted_reason: str | None = None
    ended_by: Literal["interrupt", "server"] | None = None
    points: tuple[Point, ...]
    gates: tuple[GateResult, ...] = ()
    baseline: BaselineComparison | None = None
    search: SearchResult | None = None
    merged_from: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def intervals(self) -> tuple[LoadIntervals, ...]:
        """How sure each figure is of every load that was repeated; worked out from the points."""
        from serve_deploy.loadtest.judging.intervals import estimate_intervals

        return estimate_intervals(self.points)


class NamedReport(_Document):
    """A saved report by the name that tells it from its neighbours."""

    name: str
    report: LoadTestReport


class ReportSet(_Document):
    """Several runs side by side."""

    reports: tuple[NamedReport, ...]
