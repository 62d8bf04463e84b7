"""The result of a load test: one frozen document, saved as JSON and read back by `report`, `chart` and gates."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import computed_field

from serve_deploy.reports.document import Document
from serve_deploy.reports.intervals import estimate_intervals
from serve_deploy.reports.point import GateResult, Load, LoadIntervals, Point, RequestData

FORMAT_VERSION = 1


Metric = Literal[
    "response_p50", "response_p99", "throughput", "error_rate",
    "ttft_p50", "ttft_p99", "itl_p99", "output_tokens", "goodput",
]  # fmt: skip


class MetricChange(Document):
    """One figure now against the baseline; changes are relative (0.1 is 10 % more), or points for errors and goodput.

    What a side did not measure is None; the verdict is then "not_compared", and the explanation says why.
    """

    load: Load
    metric: Metric
    before: float | None
    now: float | None
    change: float | None
    change_low: float | None
    change_high: float | None
    verdict: Literal["worse", "better", "same", "undecided", "not_compared"]
    method: Literal["repeats", "single_run", "requests", "none"]
    explanation: str


class BaselineComparison(Document):
    """Is this run slower than a saved one? Decided at `confidence`, over all changes together."""

    baseline: str
    baseline_started_at: str
    confidence: float
    minimum_effect: float
    regressed: bool
    changes: tuple[MetricChange, ...]
    notes: tuple[str, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def compared(self) -> Literal["in full", "in part", "not"]:
        """How much of it was compared at all; what was not is never called the same."""
        missing = sum(change.verdict == "not_compared" for change in self.changes)
        if missing == len(self.changes):
            return "not"
        return "in part" if missing else "in full"


class SearchResult(Document):
    """The highest load that held every gate (`highest`, None: none did), and the lowest that did not.

    The search judged the first `judged_points` of the report's points (None: all); the others were cut short.
    """

    variable: Literal["rate", "concurrency"]
    highest: float | None
    lowest_missed: float | None
    stopped_by: Literal["precision", "limit", "floor", "client", "budget", "interrupted"]
    explanation: str
    judged_points: int | None = None


class Member(Document):
    """A model that the measured ensemble runs, inner ensembles included, as it was configured."""

    model: str
    model_config_sha256: str
    instances: int | None = None
    scheduling: dict[str, Any] | None = None


class Target(Document):
    """What was measured: the endpoint and the model, with what `chart --capacity` needs to recognise it.

    `scheduling` is what its configuration says of batches and queues, so that a plan can simulate the model.
    """

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
    scheduling: dict[str, Any] | None = None
    members: tuple[Member, ...] = ()


class LoadTestReport(Document):
    """A whole run: one or many points, each perhaps repeated.

    `ended_by` says what cut an incomplete run short: Ctrl-C, or a server that does not answer any more.
    `allow_partial`: its user lets it pass although the run, or its comparison with the baseline, is incomplete.
    """

    format_version: int = FORMAT_VERSION
    tool_version: str
    kind: Literal["single", "sweep", "find", "merged"]
    target: Target
    data: RequestData | None = None
    complete: bool
    interrupted_reason: str | None = None
    ended_by: Literal["interrupt", "server"] | None = None
    points: tuple[Point, ...]
    gates: tuple[GateResult, ...] = ()
    baseline: BaselineComparison | None = None
    allow_partial: bool = False
    search: SearchResult | None = None
    merged_from: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def intervals(self) -> tuple[LoadIntervals, ...]:
        """How sure each figure is of every load that was repeated; worked out from the points."""
        return estimate_intervals(self.points)


class NamedReport(Document):
    """A saved report by the name that tells it from its neighbours."""

    name: str
    report: LoadTestReport


class ReportSet(Document):
    """Several runs side by side."""

    reports: tuple[NamedReport, ...]
