"""What is asked of a configuration: the figure to better, and the gates that must hold. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from serve_deploy.reports.gates import Gate, evaluate_gate
from serve_deploy.reports.point import Point
from serve_deploy.tuning.options import Objective

# So far below its threshold a time must lie before it is believed to hold on another day.
MARGIN = 0.9
# Of numbers of users that are as good as equal the largest is taken: by the best of noisy scores, two configurations
# that are the same would run under different loads.
_AS_GOOD = 0.97
_COLLAPSE = 0.9


@dataclass(frozen=True)
class Goal:
    """An objective with its gates. A score is better when it is higher."""

    objective: Objective
    gates: tuple[Gate, ...] = ()

    def score(self, point: Point) -> float:
        """Inferences/s, or 1 / p99 in seconds, or inferences in a second of the server's CPU; 0 where there is none."""
        if self.objective == "throughput":
            return point.throughput
        if self.objective == "latency":
            return 1e6 / point.response.p99_us if point.response.p99_us else 0.0
        return point.throughput / point.server_cpu_cores if point.server_cpu_cores else 0.0

    def is_met(self, point: Point) -> bool:
        """Whether every gate holds; one that the load generator leaves open does not."""
        return point.succeeded > 0 and all(evaluate_gate(gate, point).passed for gate in self.gates)

    def missed(self, point: Point) -> tuple[str, ...]:
        """What the gates say that do not hold."""
        results = [evaluate_gate(gate, point) for gate in self.gates]
        return tuple(f"{result.expression}: {result.explanation}" for result in results if not result.passed)

    @property
    def with_margin(self) -> Goal:
        """The goal with upper bounds of times drawn in, to choose a load by."""
        return self.with_times(MARGIN)

    def with_times(self, factor: float) -> Goal:
        """The goal with upper bounds of times that are so many times as large."""
        return replace(
            self,
            gates=tuple(
                replace(gate, threshold=gate.threshold * factor)
                if gate.quantity == "time" and gate.comparison in ("<", "<=")
                else gate
                for gate in self.gates
            ),
        )


def find_concurrency(
    measure: Callable[[int], Point], goal: Goal, *, start: int, limit: int, budget: int = 6
) -> tuple[int, Point]:
    """The most users at which the gates hold and the score is as good as the best; doubled or halved from `start` on.

    Where the gates hold at no number, the last one tried.
    """
    tried: dict[int, Point] = {}
    users = max(1, min(start, limit))
    while users not in tried and len(tried) < budget:
        tried[users] = measure(users)
        best = max((goal.score(point) for point in tried.values() if goal.is_met(point)), default=0.0)
        falls = goal.score(tried[users]) < _COLLAPSE * best
        following = users // 2 if falls or not goal.is_met(tried[users]) else min(users * 2, limit)
        if following in tried or following < 1:
            middle = round(math.sqrt(users * max(1, following)))
            if middle not in tried and len(tried) < budget:
                tried[middle] = measure(middle)
            break
        users = following
    held = {users: point for users, point in tried.items() if goal.is_met(point)}
    if not held:
        last = next(reversed(tried))
        return last, tried[last]
    best = max(map(goal.score, held.values()))
    chosen = max(users for users, point in held.items() if goal.score(point) >= _AS_GOOD * best)
    return chosen, held[chosen]


def describe_score(objective: Objective, score: float) -> str:
    """A score as the figure that it stands for."""
    from serve_deploy.reports.figures import format_number, format_time_us

    if objective == "throughput":
        return f"{format_number(score, 4)} inferences/s"
    if objective == "latency":
        return f"p99 {format_time_us(1e6 / score)}" if score else "p99 not known"
    return f"{format_time_us(1e6 / score)} of CPU an inference" if score else "cost not known"


def names(gates: Sequence[Gate]) -> str:
    """The gates, as they were given."""
    return " and ".join(gate.expression for gate in gates)
