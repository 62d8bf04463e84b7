"""What is asked of a configuration: the figure to better, and the gates that must hold. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from serve_deploy.errors import UsageError
from serve_deploy.reports.gates import Gate, evaluate_gate, parse_gate
from serve_deploy.reports.point import Point
from serve_deploy.tuning.measured import MixedPoint
from serve_deploy.tuning.task.options import Objective

# So far below its threshold a time must lie, by one measurement, before a load is raced; the rounds show more.
_MARGIN = 0.97
# By the twin, whose times do not vary from run to run, it must lie where most runs of a real server hold the gate.
_ROOM = 0.96
# Of numbers of users that are as good as equal the largest is taken: by the best of noisy scores, two configurations
# that are the same would run under different loads.
_AS_GOOD = 0.97
_COLLAPSE = 0.9
# Numbers of users this close need none between them.
_NEAR = 1.2


@dataclass(frozen=True)
class Goal:
    """An objective with its gates. A score is better when it is higher.

    Of several models under a mixed load, each has to hold the gates, and `own_gates` has further ones by model.
    """

    objective: Objective
    gates: tuple[Gate, ...] = ()
    own_gates: tuple[tuple[str, Gate], ...] = ()

    @property
    def is_bound(self) -> bool:
        """Whether there is any gate."""
        return bool(self.gates or self.own_gates)

    def score(self, point: Point) -> float:
        """Inferences/s, or 1 / p99 in seconds, or inferences in a second of the server's CPU; 0 where there is none."""
        if self.objective == "throughput":
            return point.throughput
        if self.objective == "latency":
            return 1e6 / point.response.p99_us if point.response.p99_us else 0.0
        return point.throughput / point.server_cpu_cores if point.server_cpu_cores else 0.0

    def is_met(self, point: MixedPoint) -> bool:
        """Whether every gate holds; one that the load generator leaves open does not."""
        return point.succeeded > 0 and all(evaluate_gate(gate, part).passed for _, part, gate in self.ask(point))

    def missed(self, point: MixedPoint) -> tuple[str, ...]:
        """What the gates say that do not hold."""
        results = ((model, evaluate_gate(gate, part)) for model, part, gate in self.ask(point))
        return tuple(
            (f"{model}: " if model else "") + f"{result.expression}: {result.explanation}"
            for model, result in results
            if not result.passed
        )

    def ask(self, point: MixedPoint) -> Iterator[tuple[str, MixedPoint, Gate]]:
        """Each model of a mix ("" where only one is called) with what was measured of it, and a gate that it has."""
        for part in point.parts or (point,):
            own = (gate for model, gate in self.own_gates if model == part.model)
            for gate in (*self.gates, *own):
                yield (part.model if point.parts else ""), part, gate

    @property
    def with_margin(self) -> Goal:
        """The goal with upper bounds of times drawn in, to choose a load by."""
        return self.with_times(_MARGIN)

    @property
    def with_room(self) -> Goal:
        """The goal with upper bounds of times drawn in further, to choose configurations by."""
        return self.with_times(_ROOM)

    def with_times(self, factor: float) -> Goal:
        """The goal with upper bounds of times that are so many times as large."""
        return replace(
            self,
            gates=tuple(_scale(gate, factor) for gate in self.gates),
            own_gates=tuple((model, _scale(gate, factor)) for model, gate in self.own_gates),
        )


def _scale(gate: Gate, factor: float) -> Gate:
    if gate.quantity != "time" or gate.comparison not in ("<", "<="):
        return gate
    return replace(gate, threshold=gate.threshold * factor)


def read_goal(objective: Objective, gates: Sequence[str], models: Collection[str]) -> Goal:
    """Read gates such as `p99<50ms`, and, where several models are called, `model:p99<50ms` for one of them."""
    shared, own = list[Gate](), list[tuple[str, Gate]]()
    for text in gates:
        model, separator, rest = text.rpartition(":")
        if separator and model not in models:
            raise UsageError(f"`slo={text}`: {model} is not tuned", hint=f"name one of {', '.join(models)}, or none")
        if separator and len(models) > 1:
            own.append((model, parse_gate(rest)))
        else:
            shared.append(parse_gate(rest if separator else text))
    for gate in (*shared, *(gate for _, gate in own)):
        if gate.needs_tokens:
            raise UsageError(
                f"`slo={gate.expression}` is of token streams, which are not tuned",
                hint="serve loadtest --generate measures them",
            )
    return Goal(objective, tuple(shared), tuple(own))


def find_concurrency(
    measure: Callable[[int], MixedPoint], goal: Goal, *, start: int, limit: int, budget: int = 6
) -> tuple[int, MixedPoint]:
    """The most users at which the gates hold and the score is as good as the best.

    From `start` on they are doubled or halved until the gates hold at one number and not at the next, and then found
    between these. Where the gates hold at no number, the last one tried.
    """
    tried: dict[int, MixedPoint] = {}
    users: int | None = max(1, min(start, limit))
    while users is not None and len(tried) < budget:
        tried[users] = measure(users)
        users = _next_users(tried, goal, limit)
    held = _held(tried, goal)
    if not held:
        last = next(reversed(tried))
        return last, tried[last]
    best = max(map(goal.score, held.values()))
    chosen = max(users for users, point in held.items() if goal.score(point) >= _AS_GOOD * best)
    return chosen, held[chosen]


def _held(tried: Mapping[int, MixedPoint], goal: Goal) -> dict[int, MixedPoint]:
    return {users: point for users, point in tried.items() if goal.is_met(point)}


def _next_users(tried: Mapping[int, MixedPoint], goal: Goal, limit: int) -> int | None:
    """The number of users to try next; None where nothing is left to find."""
    held = _held(tried, goal)
    best = max(map(goal.score, held.values()), default=0.0)
    bears = {users for users, point in held.items() if goal.score(point) >= _COLLAPSE * best}
    too_many = min((users for users in tried if users not in bears and users > min(bears, default=0)), default=None)
    if too_many is None:
        following = min(max(bears) * 2, limit)
        return None if following in tried else following
    if not bears:
        return too_many // 2 or None
    most = max(users for users in bears if users < too_many)
    middle = round(math.sqrt(most * too_many))
    return middle if too_many > _NEAR * most and middle not in tried else None


def describe_score(objective: Objective, score: float) -> str:
    """A score as the figure that it stands for."""
    from serve_deploy.reports.figures import format_number, format_time_us

    if objective == "throughput":
        return f"{format_number(score, 4)} inferences/s"
    if objective == "latency":
        return f"p99 {format_time_us(1e6 / score)}" if score else "p99 not known"
    return f"{format_time_us(1e6 / score)} of CPU an inference" if score else "cost not known"


def names(goal: Goal) -> str:
    """The gates, as they were given."""
    own = (f"{model}:{gate.expression}" for model, gate in goal.own_gates)
    return " and ".join([*(gate.expression for gate in goal.gates), *own])
