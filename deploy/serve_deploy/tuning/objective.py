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
# More users are worth a measurement only where they bring so much more.
_RISE = 1.02


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
        return replace(
            self,
            gates=tuple(
                replace(gate, threshold=gate.threshold * MARGIN)
                if gate.quantity == "time" and gate.comparison in ("<", "<=")
                else gate
                for gate in self.gates
            ),
        )


def find_concurrency(
    measure: Callable[[int], Point], goal: Goal, *, start: int, limit: int, budget: int = 6
) -> tuple[int, Point]:
    """The number of users at which the goal is reached best, and its point: doubled or halved from `start` on.

    Where the gates hold at none, the last one tried.
    """
    tried: dict[int, Point] = {}

    def best() -> int | None:
        held = [users for users, point in tried.items() if goal.is_met(point)]
        return max(held, key=lambda users: goal.score(tried[users]), default=None)

    users = max(1, min(start, limit))
    while users not in tried and len(tried) < budget:
        before = best()
        tried[users] = measure(users)
        if not goal.is_met(tried[users]):
            following = users // 2
        elif before is not None and goal.score(tried[users]) < _RISE * goal.score(tried[before]) and users > before:
            break
        else:
            following = min(users * 2, limit)
        if following in tried or following < 1:
            middle = round(math.sqrt(users * max(1, following)))
            if middle not in tried and len(tried) < budget:
                tried[middle] = measure(middle)
            break
        users = following
    chosen = best()
    last = users if users in tried else min(tried)
    return (last, tried[last]) if chosen is None else (chosen, tried[chosen])


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
