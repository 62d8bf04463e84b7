"""Where a twin is off from what was measured, and why, as far as the measurement tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from serve_deploy.calibration.fit import Executed, mean_rows
from serve_deploy.reports.figures import format_change, format_time_us
from serve_deploy.reports.point import Point
from serve_deploy.twin import ServiceTimes

# What is off by less is as good as a simulation gets.
LIMITS = {"throughput": 0.10, "p50": 0.15, "p99": 0.20}
_DIFFERENT_TIMES, _DIFFERENT_BATCHES, _UNSTEADY = 0.10, 0.15, 1.4
_LATE = 0.05
# Waiting that is another by so much of the p50 shows in it.
_WAITED = 0.05
# The p99 of fewer requests is one of the slowest five.
_FEW = 500


@dataclass(frozen=True)
class Reached:
    """What a load had: inferences/s, and response times in µs."""

    throughput: float
    p50_us: float
    p99_us: float

    def __getitem__(self, figure: str) -> float:
        return {"p50": self.p50_us, "p99": self.p99_us}.get(figure, self.throughput)


@dataclass(frozen=True)
class ModelAtWork:
    """What one model executed under a load, and what its twin was told and did; `name` is "" where it is the only one.

    The twin is told execution times with so many instances `busy`, and had batches of `simulated_batch` rows. A request
    waited for so long on average before it was executed, and on the twin for `simulated_wait_us`.
    """

    executed: Sequence[Executed]
    times: ServiceTimes
    busy: int
    simulated_batch: float
    name: str = ""
    wait_us: float = 0.0
    simulated_wait_us: float = 0.0

    @property
    def slower(self) -> float:
        """How many times as long executions took as the twin was told; 0 where there were none."""
        told = sum(each.count * self.times.execution_seconds(each.batch_size, self.busy) for each in self.executed)
        return sum(each.count * each.mean_seconds for each in self.executed) / told if told else 0.0


def list_misses(simulated: Reached, measured: Reached) -> tuple[str, ...]:
    """Such as "p99 +25 %": what was simulated, against what was measured, where that is beyond the limits."""
    changes = {figure: simulated[figure] / measured[figure] - 1 for figure in LIMITS if measured[figure]}
    return tuple(f"{figure} {format_change(off)}" for figure, off in changes.items() if abs(off) > LIMITS[figure])


def explain(point: Point, models: Iterable[ModelAtWork], p99s_us: Sequence[float], when: str) -> tuple[str, ...]:
    """The reasons for misses; `p99s_us` are those of parts of the time, and `when` says of which."""
    models = tuple(models)
    reasons = [*_explain_client(point), *_explain_models(models)] or list(_explain_waits(point, models))
    if p99s_us and max(p99s_us) > _UNSTEADY * min(p99s_us):
        low, high = (format_time_us(each) for each in (min(p99s_us), max(p99s_us)))
        reasons.append(f"the measured p99 varied from {low} to {high} {when}")
    return tuple(reasons) or ("the models ran as measured; the time outside of them differed",)


def _explain_client(point: Point) -> Iterator[str]:
    if point.client_bound:
        yield "the load generator was the limit"
    elif point.load.mode == "open" and point.client.slip_p50_us > _LATE * point.response.p50_us:
        yield f"the load generator sent {format_time_us(point.client.slip_p50_us)} late, which times include"


def _explain_models(models: Iterable[ModelAtWork]) -> Iterator[str]:
    for each in models:
        said = f" of {each.name}" if each.name else ""
        if each.slower and abs(each.slower - 1) > _DIFFERENT_TIMES:
            yield f"executions{said} took {each.slower:.2f} times as long as when they were measured"
        rows = mean_rows(each.executed)
        if rows and abs(each.simulated_batch / rows - 1) > _DIFFERENT_BATCHES:
            yield f"batches{said} had {rows:.1f} rows, and not {each.simulated_batch:.1f}"


def _explain_waits(point: Point, models: Iterable[ModelAtWork]) -> Iterator[str]:
    for each in models:
        if abs(each.wait_us - each.simulated_wait_us) > _WAITED * point.response.p50_us:
            waited, simulated = map(format_time_us, (each.wait_us, each.simulated_wait_us))
            said = f" for {each.name}" if each.name else ""
            yield f"requests waited {waited}{said}, and not {simulated}: executions and mean batches hardly differed"
    if point.ended < _FEW:
        yield f"only {point.ended} requests were measured"
