"""What tuning found: the result document, as `--json` and a saved .json have it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from serve_deploy.reports.document import Document

Verdict = Literal["better", "nothing better", "not confirmed", "no configuration meets the gates"]


class PartFigures(Document):
    """What one model of a mixed load reached; times in microseconds."""

    model: str
    throughput: float
    p50_us: float
    p99_us: float


class Figures(Document):
    """What a configuration reached: at so many users, or at a rate; times in microseconds.

    `parts` has each model of a mixed load. `memory_bytes` and `server_cpu_cores` are None where the server runs
    elsewhere or was simulated.
    """

    concurrency: int | None = None
    request_rate: float | None = None
    score: float
    throughput: float
    p50_us: float
    p99_us: float
    mean_batch_size: float = 0.0
    server_cpu_cores: float | None = None
    memory_bytes: int | None = None
    meets: bool
    parts: tuple[PartFigures, ...] = ()


class FieldChange(Document):
    """A field that the winner sets otherwise; `effect` is what the twin loses without it: 0.1 is 10 %."""

    path: str
    before: Any
    after: Any
    effect: float | None = None
    reason: str


class TunedCandidate(Document):
    """One configuration: its values by path, what the twin predicted, and what was measured of it.

    `gain` is over the file's configuration in the race, with Student's t interval; `standing` is how the race judged.
    """

    values: dict[str, Any]
    description: str
    predicted: Figures | None = None
    measured: Figures | None = None
    # By the twin, with one user, two, four …
    curve: tuple[Figures, ...] = ()
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    standing: str = ""
    reason: str = ""


class FieldEffect(Document):
    """The best score that the twin finds with each value of a field."""

    path: str
    values: tuple[Any, ...]
    scores: tuple[float, ...]


class SettingMeasured(Document):
    """The evidence behind the twin: mean execution times by instances and batch size, in microseconds.

    `model` is "" where only one is tuned.
    """

    model: str = ""
    setting: dict[str, Any]
    instances: int
    batch_sizes: tuple[int, ...]
    execution_us: tuple[float, ...]
    outside_us: float
    outside_workers: int | None = None
    memory_bytes: int | None = None


class AssuredGate(Document):
    """A gate's figure over the winner's confirming runs: its geometric mean, and what the next run stays within.

    `bound` has a confidence of `confidence`. All are in `unit`; `model` is "" where only one is called.
    """

    model: str = ""
    expression: str
    figure: str
    mean: float
    bound: float
    threshold: float
    unit: str
    confidence: float
    holds: bool


class Confirmation(Document):
    """The winner and the file's configuration once more, each run on a fresh server under fresh load.

    `runs` is how many the winner had; `gates` has what they say of a further one.
    """

    winner: Figures
    baseline: Figures
    gain: float
    runs: int
    holds: bool
    gates: tuple[AssuredGate, ...] = ()


class Effort(Document):
    """Where the time went, in seconds; waiting is all but loads and simulations: mostly starting servers."""

    wall_seconds: float
    measuring_seconds: float
    warming_seconds: float = 0.0
    simulating_seconds: float
    waiting_seconds: float
    measurements: int
    resumed_measurements: int
    servers_started: int
    mean_start_seconds: float | None
    simulated_configurations: int


class TuningResult(Document):
    """Everything that a tuning found. `winner` is None where nothing is better than the file's configuration."""

    tool_version: str
    kind: Literal["tuning"] = "tuning"
    # What is called; several are separated by commas.
    model: str
    # How often each of several is called, in proportion.
    weights: dict[str, float] = Field(default_factory=dict)
    repository: str
    server: str
    objective: str
    gates: tuple[str, ...] = ()
    verdict: Verdict
    explanation: str
    baseline: TunedCandidate
    winner: TunedCandidate | None = None
    changes: tuple[FieldChange, ...] = ()
    race: tuple[TunedCandidate, ...] = ()
    rounds: int = 0
    ranked: tuple[TunedCandidate, ...] = ()
    effects: tuple[FieldEffect, ...] = ()
    measured_settings: tuple[SettingMeasured, ...] = ()
    confirmation: Confirmation | None = None
    failed: tuple[TunedCandidate, ...] = ()
    notes: tuple[str, ...] = ()
    effort: Effort
    applied: bool = False
