"""A bench whose servers are simulated: the truth is known, measurements are noisy, and a tuning takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.model_config import parse_config
from serve_deploy.tuning.candidates import BATCH, DELAY, INSTANCES, PREFERRED, Candidate, join_path
from serve_deploy.tuning.joint import rank_together
from serve_deploy.tuning.measured import Executions, Measured
from serve_deploy.tuning.objective import Goal, find_concurrency
from serve_deploy.tuning.options import TuneOptions
from serve_deploy.tuning.parts import choose_rate, make_twins, measure_parts
from serve_deploy.tuning.racing import Contestant, Racing
from serve_deploy.tuning.ranking import choose_finalists
from serve_deploy.tuning.subject import Part, Subject, Target
from serve_deploy.tuning.together import fullest, measure_together
from serve_deploy.tuning.twins import simulated_point
from serve_deploy.twin import (
    Batching,
    Ensemble,
    Outside,
    ServedModel,
    ServerModel,
    ServiceTimes,
    Step,
    Stream,
    Times,
    simulate,
)

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

    def model(self, candidate: Candidate, noise: float = 1.0, name: str = "m") -> ServedModel:
        """What a candidate makes of it."""
        times = {}
        for busy in (1, 2, 4, 8):
            slower = 1 + (self.contention - 1) * (busy - 1)
            for size in (1, self.largest):
                spread = Times.of(np.random.default_rng(0).lognormal(0, 0.05, 1000))
                times[size, busy] = spread.times((self.base + self.row * size) * slower * noise)
        if self.contention == 1.0:
            times = {(size, busy): each for (size, busy), each in times.items() if busy == 1}
        preferred = candidate[PREFERRED]
        return ServedModel(
            name=name,
            service=ServiceTimes(times),
            max_batch_size=candidate.number(BATCH),
            instances=candidate.number(INSTANCES),
            batching=Batching(
                max_queue_delay_seconds=candidate.number(DELAY) / 1e6,
                preferred_sizes=preferred if isinstance(preferred, tuple) else (),
            ),
            exclusive=self.exclusive,
            cores_used=1.0,
        )


@dataclass(frozen=True)
class Truths:
    """Models on one server: an ensemble "e" of one after the other, or, with `weights`, a mixed load on each.

    A single one is called "m". More executions than `cores` slow each other.
    """

    models: Mapping[str, Truth]
    weights: Mapping[str, float] = field(default_factory=dict)
    cores: float | None = None

    @classmethod
    def of(cls, truth: Truth) -> Truths:
        """One model."""
        return cls({"m": truth}, {"m": 1.0})

    @property
    def ensembles(self) -> tuple[Ensemble, ...]:
        """The ensemble, if there is one."""
        steps = (Step(name, () if index == 0 else (index - 1,)) for index, name in enumerate(self.models))
        return () if self.weights else (Ensemble("e", tuple(steps)),)

    @property
    def targets(self) -> Mapping[str, float]:
        """What is called."""
        return self.weights or {"e": 1.0}

    @property
    def prefixes(self) -> Mapping[str, str]:
        """What stands before each model's paths."""
        return {name: name if len(self.models) > 1 else "" for name in self.models}

    @property
    def baseline(self) -> Candidate:
        """The same for each."""
        return Candidate.join(BASELINE.placed(prefix) for prefix in self.prefixes.values())

    def server(self, candidate: Candidate, noise: float = 1.0) -> ServerModel:
        """The server that a candidate makes: of those models that it says something of."""
        told = {name: candidate.of_model(prefix) for name, prefix in self.prefixes.items()}
        models = tuple(self.models[name].model(own, noise, name) for name, own in told.items() if own.values)
        outside = Outside(times=Times.constant(max(truth.outside for truth in self.models.values())))
        whole = len(models) == len(self.models)
        return ServerModel(models=models, ensembles=self.ensembles if whole else (), outside=outside, cores=self.cores)

    def stream(self, server: ServerModel, load: Any, rows: int = 1) -> Stream:
        """The requests to it."""
        mix = self.targets if len(server.models) == len(self.models) else {server.models[0].name: 1.0}
        return Stream(load=load, model=", ".join(mix), mix=mix, rows=rows)

    def point(
        self, candidate: Candidate, users: int, *, requests: int = 3000, noise: float = 1.0, seed: int = 0
    ) -> Any:
        """What a long measurement of it would say."""
        server, load = self.server(candidate, noise), ClosedLoop(users)
        result = simulate(server, [self.stream(server, load)], requests=max(requests, users * 20), seed=seed)
        return simulated_point(result, load, None)

    def subject(self) -> Subject:
        """As the tuning knows it."""
        flows = tuple(SimpleNamespace(ensemble=each) for each in self.ensembles)
        parts = tuple(
            Part(_folder(name), BASELINE, truth.largest, self.prefixes[name]) for name, truth in self.models.items()
        )
        subject = Subject(parts, tuple(Target(*pair) for pair in self.targets.items()))
        subject.__dict__["flows"] = flows
        return subject


def _folder(name: str) -> Any:
    return SimpleNamespace(name=name, config=parse_config(CONFIG))


@dataclass
class SimulatedBench:
    """Measures a truth with noise from run to run; counts what it was asked for."""

    truths: Truths
    seed: int
    noise: float = 0.03
    measurements: int = 0
    expected: Mapping[str, Path] = field(default_factory=dict)
    known: dict[tuple[Candidate, str], Measured] = field(default_factory=dict)

    def measure(self, candidate: Candidate, shape: Any, purpose: str, *, rows: int = 1, **_: object) -> Measured:
        """One noisy measurement."""
        self.measurements += 1
        drawn = float(np.random.default_rng([self.seed, self.measurements]).lognormal(0, self.noise))
        server = self.truths.server(candidate, drawn)
        users = shape.concurrency
        stream = self.truths.stream(server, shape, rows)
        result = simulate(server, [stream], requests=max(1500, users * 30), seed=self.measurements)
        point = simulated_point(result, shape, None)
        point = point.model_copy(update={"load": point.load.model_copy(update={"batch_size": rows})})
        slower = _slowdown(server, result.models)
        return Measured(
            point=point,
            executions=tuple(
                Executions(
                    model=self.truths.prefixes[model.name],
                    batch_size=size,
                    count=count,
                    mean_seconds=self._execution_seconds(model, size, users) * slower,
                )
                for model, found in zip(server.models, result.models, strict=True)
                for size, count in found.batch_sizes.items()
            ),
        )

    def _execution_seconds(self, model: ServedModel, size: int, users: int) -> float:
        busy = 1 if users == 1 else model.instances
        waits = model.instances if model.exclusive and users > 1 else 1
        return model.service.at(size, busy).mean * waits

    def plan(self, _further: int) -> None:
        """No estimate."""

    def stop(self, _candidate: Candidate) -> None:
        """Nothing runs."""

    def stop_all(self) -> None:
        """Nothing runs."""


def _slowdown(server: ServerModel, found: Sequence[Any]) -> float:
    """How much longer executions took in the mean, by how many there were at a time."""
    busy = sum(model.mean_busy for model in found)
    return max(1.0, busy / server.cores) if server.cores else 1.0


@dataclass(frozen=True)
class Tuned:
    """What a simulated tuning chose, and at how many users."""

    candidate: Candidate
    concurrency: int
    measurements: int
    won: bool


def tune_simulated(truth: Truth | Truths, options: TuneOptions, goal: Goal, seed: int, noise: float = 0.03) -> Tuned:
    """The whole of a tuning but for the servers: measure, simulate, race."""
    truths = truth if isinstance(truth, Truths) else Truths.of(truth)
    subject, bench = truths.subject(), SimulatedBench(truths, seed, noise)
    settings = measure_parts(bench, subject, options, goal)  # type: ignore[arg-type]
    twins = make_twins(options, subject, goal, settings)
    if len(subject.parts) > 1:
        twins, _ = measure_together(
            twins, fullest(settings.spaces), lambda each, users, _: bench.measure(each, ClosedLoop(users), "all")
        )
    twins = choose_rate(twins, options, subject.baseline)
    ranked = rank_together(twins, settings.spaces)
    finalists = choose_finalists(ranked, subject.baseline, options.finalists)
    racing = Racing(bench, subject, options, goal, twins.rate, settings.failed)  # type: ignore[arg-type]
    contestants = [Contestant(each.candidate, each) for each in (twins.predict(subject.baseline), *finalists)]
    baseline, *runners = racing.qualify(contestants)
    winner = racing.pick(baseline, runners, racing.race(baseline, runners))
    chosen = winner or baseline
    return Tuned(chosen.candidate, chosen.concurrency, bench.measurements, winner is not None)


def find_best(truths: Truths, goal: Goal, limit: int, space: Mapping[str, tuple[Any, ...]]) -> tuple[float, int]:
    """The best score that meets the goal, over every configuration and doubling users; and how many that were."""
    best, count = 0.0, 0
    paths = [join_path(prefix, path) for prefix in truths.prefixes.values() for path in space]
    for values in product(*(tuple(space.values()) * len(truths.models))):
        candidate = Candidate.of(dict(zip(paths, values, strict=True)))
        users = 1
        while users <= limit:
            point = truths.point(candidate, users)
            count += 1
            if goal.is_met(point):
                best = max(best, goal.score(point))
            users *= 2
    return best, count


def reached(truths: Truths, goal: Goal, candidate: Candidate, concurrency: int, limit: int) -> float:
    """What a configuration truly reaches under the goal, at the best number of users about that of its race."""
    _, point = find_concurrency(
        lambda users: truths.point(candidate, users), goal, start=concurrency, limit=limit, budget=8
    )
    return goal.score(point) if goal.is_met(point) else 0.0
