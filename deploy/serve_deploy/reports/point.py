"""One measurement of a load test: a point, what it consists of, what was sent, and a gate's verdict on it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serve_deploy.reports.document import Document, LatencySummary, TimeSlice
from serve_deploy.reports.generation import Generation


class ErrorKind(Document):
    """Requests that failed alike: kind is timeout, connect, reset, http_503, grpc_unavailable, wrong_output …"""

    kind: str
    count: int
    example: str


class Load(Document):
    """What was asked of the generator at one point: a concurrency (closed loop) or a rate (open loop).

    Of a ramp and of a replay, `request_rate` is the mean over the period. Where `shared_by` is set, the users of the
    closed loop call so many models by turns, and this is one of them.
    """

    mode: Literal["closed", "open"]
    concurrency: int | None = None
    shared_by: int | None = None
    request_rate: float | None = None
    distribution: Literal["constant", "poisson", "ramp", "replay"] | None = None
    batch_size: int = 1
    ramp_from: float | None = None
    ramp_to: float | None = None
    replay_of: str | None = None


class RequestData(Document):
    """What the requests held: samples kept with the package, a file's, or random values made from the metadata.

    Of a language model: a file's prompts, synthetic ones, or a trace's; `description` says more of them. `path` is that
    of the samples or of the file, `seed` that of the random values.
    """

    origin: Literal["package", "file", "random", "prompts", "synthetic", "trace"]
    samples: int
    path: str | None = None
    seed: int | None = None
    description: str | None = None


class Interval(Document):
    """A mean over repeats with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


class LoadIntervals(Document):
    """Every figure of a load over its repeats, by the name it has in a point."""

    load: Load
    repeats: int
    figures: dict[str, Interval]


class ClientCost(Document):
    """The generator itself; slip is the actual minus the intended send."""

    cpu_fraction: float
    cpu_us_per_request: float
    slip_p50_us: float
    slip_p99_us: float
    slip_max_us: float


class BatchStatistics(Document):
    """The executions of one batch size: how many, and the mean time of one."""

    batch_size: int
    executions: int
    compute_us: float


class ModelStatistics(Document):
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
    batches: tuple[BatchStatistics, ...] = ()

    @property
    def inside_us(self) -> float:
        """From a request's arrival at the model until it has been executed."""
        return self.queue_us + self.compute_input_us + self.compute_infer_us + self.compute_output_us


class TimelineBucket(TimeSlice):
    """One slice of the measurement period, by the end of the request."""

    succeeded: int
    failed: int
    in_flight: int
    response_p50_us: float
    response_p99_us: float
    response_max_us: float


class Point(Document):
    """One measurement at one load. sent = succeeded + failed + timed_out + in_flight_at_end.

    Requests belong to the period by their intended send, and are waited for until they end or time out.
    `never_sent` were due as well, but were given up before they could be sent: after the timeout, or when the backlog
    had been worked off for as long as the load lasted. They are errors, and in `response` with the time they waited.
    `response` (from the intended send) and `service` (from the actual send) hold every reply, and every timeout at the
    time that it was given up; `failures` holds, from the intended send, what failed: never counted as a fast success.
    Of streamed requests, `first_response` is the time to the first of their `responses`; `response` ends with the last.
    Throughput is in inferences/s (successful requests × batch size) over `duration_seconds`: from the start to the last
    end, and at least as long as was asked for.
    server holds the target model first, then what it is composed of.
    mean_in_flight is measured: the time integral of requests in flight, not rate × latency.
    server_cpu_cores is what the server's processes used of the CPU, in cores, where it runs on the generator's machine.
    `generation` holds what was measured by token where token streams were asked for.
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
    never_sent: int = 0
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
    server_metrics: dict[str, float] = Field(default_factory=dict)
    server_cpu_cores: float | None = None
    pending: float | None = None
    timeline: tuple[TimelineBucket, ...] = ()
    generation: Generation | None = None

    @property
    def ended(self) -> int:
        """Requests that have an outcome: all that were due, but for those in flight at the end."""
        return self.succeeded + self.unsuccessful

    @property
    def unsuccessful(self) -> int:
        """Requests that failed, timed out or were never sent."""
        return self.failed + self.timed_out + self.never_sent


class GateResult(Document):
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
