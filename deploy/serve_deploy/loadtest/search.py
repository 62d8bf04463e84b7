"""Find the highest load that meets every gate: double until one does not, then halve the gap.

The measuring is a parameter, so that the search can be tried on a simulated server. A load is held when its repeats,
pooled, pass every gate, and an open loop also kept up its rate. Noise near the limit is met by measuring the winner
once more: if both measurements together miss, the search goes on below it. A load at which the generator was the
limit is an upper bound of the search, and is never reported as the server's limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from serve_deploy.loadtest.options import Search
from serve_deploy.reports.figures import format_plainly
from serve_deploy.reports.gates import Gate, evaluate_gate
from serve_deploy.reports.point import Point
from serve_deploy.reports.pooling import pool_repeats
from serve_deploy.reports.report import SearchResult

Measure = Callable[[float], Sequence[Point]]
Verdict = Literal["held", "missed", "client"]
StoppedBy = Literal["precision", "limit", "floor", "client", "budget", "interrupted"]

_LEAST_SHARE_OF_RATE = 0.95


class OutOfBudget(Exception):
    """No further load may be measured."""


class CutShort(Exception):
    """The run ended while a load was measured, which the search then leaves out."""


def search_load(measure: Measure, gates: Sequence[Gate], asked: Search) -> tuple[SearchResult, tuple[Point, ...]]:
    """Search, and return what was found with every point judged; `measure` may raise CutShort to end it."""
    search = _Progress(measure, gates, asked)
    stopped_by: StoppedBy
    try:
        stopped_by = search.run()
    except OutOfBudget:
        stopped_by = "budget"
    except CutShort:
        stopped_by = "interrupted"
    return search.conclude(stopped_by), tuple(search.points)


@dataclass
class _Progress:
    measure: Measure
    gates: Sequence[Gate]
    asked: Search
    measured: dict[float, list[Point]] = field(default_factory=dict)
    verdicts: dict[float, Verdict] = field(default_factory=dict)
    probes: int = 0

    @property
    def points(self) -> list[Point]:
        return [point for points in self.measured.values() for point in points]

    @property
    def highest(self) -> float | None:
        """The highest load that held, of those below every load that did not."""
        missed = self.lowest_missed
        return max((load for load in self.verdicts if missed is None or load < missed), default=None)

    @property
    def lowest_missed(self) -> float | None:
        return min((load for load, verdict in self.verdicts.items() if verdict != "held"), default=None)

    def run(self) -> StoppedBy:
        self._bracket()
        while True:
            while (load := self._between()) is not None:
                self._probe(load)
            highest = self.highest
            if highest is None:
                return "client" if "client" in self.verdicts.values() else "floor"
            if self._probe(highest) == "held":
                break
        if self.lowest_missed is None:
            return "limit"
        return "client" if self.verdicts[self.lowest_missed] == "client" else "precision"

    def _bracket(self) -> None:
        """Double or halve the start until both a held load and one that is not are known, or the bounds are."""
        load = self._settle(self.asked.start)
        up = self._probe(load) == "held"
        while (self.lowest_missed is None) if up else (self.highest is None):
            following = self._settle(load * 2 if up else load / 2)
            if following in self.verdicts:
                return
            load = following
            self._probe(load)

    def _settle(self, load: float) -> float:
        """A round load within the bounds."""
        whole = self.asked.variable == "concurrency"
        rounded = float(round(load)) if whole else float(f"{load:.3g}")
        return min(max(rounded, self.asked.floor), self.asked.limit)

    def _between(self) -> float | None:
        """The middle of the gap; None where it is narrow enough, or where there is none."""
        low, high = self.highest, self.lowest_missed
        if high is None or (low is None and high <= self.asked.floor):
            return None
        bottom = self.asked.floor if low is None else low
        if low is not None and high <= low * (1 + self.asked.precision):
            return None
        middle = self._settle(math.sqrt(bottom * high))
        if low is None and middle in self.verdicts:
            middle = bottom
        return None if middle in self.verdicts else middle

    def _probe(self, load: float) -> Verdict:
        if self.probes >= self.asked.budget:
            raise OutOfBudget
        points = self.measure(load)
        self.probes += 1
        known = self.measured.setdefault(load, [])
        for point in points:
            known.append(point.model_copy(update={"repeat": len(known)}))
        self.verdicts[load] = self._judge(pool_repeats(known)) if known else "missed"
        return self.verdicts[load]

    def _judge(self, point: Point) -> Verdict:
        if all(evaluate_gate(gate, point).passed for gate in self.gates) and _kept_up(point):
            return "held"
        return "client" if point.client_bound else "missed"

    def conclude(self, stopped_by: StoppedBy) -> SearchResult:
        highest, missed = self.highest, self.lowest_missed
        return SearchResult(
            variable=self.asked.variable,
            highest=highest,
            lowest_missed=missed,
            stopped_by=stopped_by,
            explanation=self._explain(stopped_by, highest, missed),
            judged_points=len(self.points),
        )

    def _explain(self, stopped_by: StoppedBy, highest: float | None, missed: float | None) -> str:
        gates = " and ".join(gate.expression for gate in self.gates)
        upper = "" if missed is None else self._name(missed)
        if highest is not None:
            found = f"{self._name(highest)} meets {gates}"
        elif stopped_by == "interrupted":
            found = f"No {self.asked.variable} is known to meet {gates}"
        else:
            found = f"No {self.asked.variable} meets {gates}"
        reasons: dict[StoppedBy, str] = {
            "precision": f"{upper} does not",
            "floor": f"not even {upper}",
            "limit": f"the search was not allowed a higher {self.asked.variable}: the true limit may be higher",
            "client": f"at {upper} the load generator was the limit, the server's may be higher: use more processes",
            "budget": "the search ended before the gap was closed" + (f" ({upper} does not)" if upper else ""),
            "interrupted": "the run ended before the search did" + (f" ({upper} does not)" if upper else ""),
        }
        effort = {0: "No load was measured to the end", 1: "1 measurement"}.get(
            self.probes, f"{self.probes} measurements"
        )
        return f"{found[0].upper()}{found[1:]}; {reasons[stopped_by]}. {effort}."

    def _name(self, load: float) -> str:
        name = format_plainly(load)
        return f"{name}/s" if self.asked.variable == "rate" else f"concurrency {name}"


def _kept_up(point: Point) -> bool:
    """Whether an open loop reached the rate asked for, give or take the chance in Poisson arrivals."""
    asked = point.load.request_rate
    if asked is None or not point.sent:
        return point.sent > 0
    return point.sent / point.duration_seconds >= asked * (_LEAST_SHARE_OF_RATE - 2 / math.sqrt(point.sent))
