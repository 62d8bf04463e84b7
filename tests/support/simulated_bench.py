"""A bench whose servers are simulated: the truth is known, measurements are noisy, and a tuning takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.model_config import parse_config
from serve_deploy.tuning.candidates import BATCH, DELAY, INSTANCES, PREFERRED, Candidate
from serve_deploy.tuning.measured import Executions, Measured
from serve_deploy.tuning.measuring import Measuring
from serve_deploy.tuning.objective import Goal, find_concurrency
from serve_deploy.tuning.options import TuneOptions
from serve_deploy.tuning.racing import Contestant, Racing
from serve_deploy.tuning.ranking import choose_finalists, make_space, rank, simulated_point
from serve_deploy.tuning.subject import Subject
from serve_deploy.tuning.tune import make_twins
from serve_deploy.twin import Batching, Outside, ServedModel, ServerModel, ServiceTimes, Stream, Times, simulate

BASELINE = Candidate.of({BATCH: 4, DELAY: 0, PREFERRED: None, INSTANCES: 1})
CONFIG = 'name: "m" backend: "python" max_batch_size: 4 dynamic_batching { } instance_group { count: 1 }'


@dataclass(frozen=True)
class Truth:
    """A model: base + row × rows seconds an execution; `contention`: how much slower each is with two at work."""

    base: float
    row: float
    exclusive: bool = False
    contention: float = 1.0
    largest: int = 32
    outside: float = 0.0002

    def server(self, candidate: Candidate, noise: float = 1.0) -> ServerModel:
        """The server that a candidate makes of it."""
        times = {}
        for busy in (1, 2, 4, 8):
            slower = 1 + (self.contention - 1) * (busy - 1)
            for size in (1, self.largest):
                spread = Times.of(np.random.default_rng(0).lognormal(0, 0.05, 1000))
                times[size, busy] = spread.times((self.base + self.row * size) * slower * noise)
        if self.contention == 1.0:
            times = {(size, busy): each for (size, busy), each in times.items() if busy == 1}
        preferred = candidate[PREFERRED]
        model = ServedModel(
            name="m",
            service=ServiceTimes(times),
            max_batch_size=candidate.number(BATCH),
            instances=candidate.number(INSTANCES),
            batching=Batching(
                max_queue_delay_seconds=candidate.number(DELAY) / 1e6,
                preferred_sizes=preferred if isinstance(preferred, tuple) else (),
            ),
            exclusive=self.exclusive,
        )
        return ServerModel(models=(model,), outside=Outside(times=Times.constant(self.outside)))

    def point(
        self, candidate: Candidate, users: int, *, requests: int = 3000, noise: float = 1.0, seed: int = 0
    ) -> Any:
        """What a long measurement of it would say."""
        result = simulate(
            self.server(candidate, noise), ClosedLoop(users), requests=max(requests, users * 20), seed=seed
        )
        return simulated_point(result, ClosedLoop(users), None)


@dataclass
class SimulatedBench:
    """Measures a truth with noise from run to run; counts what it was asked for."""

    truth: Truth
    seed: int
    noise: float = 0.03
    measurements: int = 0
    expected: Path | None = None
    known: dict[tuple[Candidate, str], Measured] = field(default_factory=dict)

    def measure(self, candidate: Candidate, shape: Any, purpose: str, *, rows: int = 1, **_: object) -> Measured:
        """One noisy measurement."""
        self.measurements += 1
        drawn = float(np.random.default_rng([self.seed, self.measurements]).lognormal(0, self.noise))
        server = self.truth.server(candidate, drawn)
        users = shape.concurrency
        result = simulate(
            server, [Stream(load=shape, model="m", rows=rows)], requests=max(1500, users * 30), seed=self.measurements
        )
        point = simulated_point(result, shape, None)
        point = point.model_copy(update={"load": point.load.model_copy(update={"batch_size": rows})})
        (model,) = server.models
        busy = 1 if users == 1 else candidate.number(INSTANCES)
        waits = candidate.number(INSTANCES) if self.truth.exclusive and users > 1 else 1
        return Measured(
            point=point,
            executions=tuple(
                Executions(batch_size=size, count=count, mean_seconds=model.service.at(size, busy).mean * waits)
                for size, count in result.model.batch_sizes.items()
            ),
        )

    def plan(self, _further: int) -> None:
        """No estimate."""

    def stop(self, _candidate: Candidate) -> None:
        """Nothing runs."""

    def stop_all(self) -> None:
        """Nothing runs."""


@dataclass(frozen=True)
class Tuned:
    """What a simulated tuning chose, and at how many users."""

    candidate: Candidate
    concurrency: int
    measurements: int
    won: bool


def tune_simulated(truth: Truth, options: TuneOptions, goal: Goal, seed: int, noise: float = 0.03) -> Tuned:
    """The whole of a tuning but for the servers: measure, simulate, race."""
    subject: Any = Subject(SimpleNamespace(name="m", config=parse_config(CONFIG)), BASELINE, truth.largest)  # type: ignore[arg-type]
    bench: Any = SimulatedBench(truth, seed, noise)
    settings = Measuring(bench, subject, options, goal).measure_settings()
    twins = make_twins(options, subject, goal, settings.services)
    ranked = rank(twins, make_space(options, BASELINE, truth.largest, settings.counts))
    predictions = (twins.predict(BASELINE), *choose_finalists(ranked, BASELINE, options.finalists))
    racing = Racing(bench, subject, options, goal, twins.rate, settings.failed)
    baseline, *runners = racing.qualify([Contestant(each.candidate, each) for each in predictions])
    winner = racing.pick(baseline, runners, racing.race(baseline, runners))
    chosen = winner or baseline
    return Tuned(chosen.candidate, chosen.concurrency, bench.measurements, winner is not None)


def find_best(truth: Truth, goal: Goal, limit: int, space: Mapping[str, tuple[Any, ...]]) -> tuple[float, int]:
    """The best score that meets the goal, over every configuration and doubling users; and how many that were."""
    best, count = 0.0, 0
    for values in product(*space.values()):
        candidate = Candidate.of(dict(zip(space, values, strict=True)))
        users = 1
        while users <= limit:
            point = truth.point(candidate, users)
            count += 1
            if goal.is_met(point):
                best = max(best, goal.score(point))
            users *= 2
    return best, count


def reached(truth: Truth, goal: Goal, candidate: Candidate, concurrency: int, limit: int) -> float:
    """What a configuration truly reaches under the goal, at the best number of users about that of its race."""
    _, point = find_concurrency(
        lambda users: truth.point(candidate, users), goal, start=concurrency, limit=limit, budget=8
    )
    return goal.score(point) if goal.is_met(point) else 0.0
