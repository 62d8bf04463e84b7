"""A bench whose servers are simulated: the truth is known, measurements are noisy, and a whole tuning takes seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.model_config import parse_config
from serve_deploy.progress import silent
from serve_deploy.tuning.candidates.candidate import BATCH, DELAY, INSTANCES, PREFERRED, Candidate, join_path
from serve_deploy.tuning.candidates.fields import read_candidate
from serve_deploy.tuning.measured import Executions, Measured
from serve_deploy.tuning.measuring.bench import Bench
from serve_deploy.tuning.measuring.checkpoint import Checkpoint
from serve_deploy.tuning.prediction.twins import simulated_point
from serve_deploy.tuning.results.result import TuningResult
from serve_deploy.tuning.task.objective import Goal, find_concurrency
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.tuning.task.subject import Part, Subject, Target
from serve_deploy.tuning.tune import run_tuning
from serve_deploy.twin import (
    Batching,
    Ensemble,
    ModelResult,
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
NOISE, INSTANCE_BYTES = 0.03, 50_000_000
_PATHS = tuple(path for path, _ in BASELINE.values)
_SPREAD = Times.of(np.random.default_rng(0).lognormal(0, 0.05, 1000))


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
                times[size, busy] = _SPREAD.times((self.base + self.row * size) * slower * noise)
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

    A single one is called "m". More executions than `cores` slow each other. The files say `instances`.
    """

    models: Mapping[str, Truth]
    weights: Mapping[str, float] = field(default_factory=dict)
    cores: float | None = None
    instances: int = 1

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
        return Candidate.join(self._own.placed(prefix) for prefix in self.prefixes.values())

    @property
    def _own(self) -> Candidate:
        return BASELINE.changed({INSTANCES: self.instances})

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
            Part(_folder(name, self.instances), self._own, truth.largest, self.prefixes[name])
            for name, truth in self.models.items()
        )
        subject = Subject(parts, tuple(Target(*pair) for pair in self.targets.items()))
        subject.__dict__["flows"] = flows
        return subject


def _folder(name: str, instances: int) -> Any:
    config = parse_config(CONFIG)
    config.instance_group[0].count = instances
    return SimpleNamespace(name=name, config=config)


@dataclass
class SimulatedServed:
    """A simulated server."""

    candidate: Candidate
    bytes: int
    endpoint: Any = None
    start_seconds: float = 1.0

    def is_alive(self) -> bool:
        """What goes wrong on the bench is the end of a server."""
        return False

    def require_unchanged(self) -> None:
        """Nobody else speaks to it."""

    def memory_bytes(self) -> int:
        """A process, and one for each instance."""
        return self.bytes

    def close(self) -> None:
        """Nothing runs."""


@dataclass
class SimulatedServers:
    """Serve every configuration of a truth; `fail` may raise what a server that does not start raises."""

    truths: Truths
    fail: Callable[[Candidate], None] = lambda _: None
    description: str = "a simulated Triton"
    staging: Path = Path()
    are_parallel: bool = True

    def serve(self, configs: Mapping[str, Any]) -> SimulatedServed:
        """Start at once."""
        own = {name: read_candidate(config, _PATHS) for name, config in configs.items()}
        candidate = Candidate.join(each.placed(self.truths.prefixes[name]) for name, each in own.items())
        self.fail(candidate)
        return SimulatedServed(candidate, INSTANCE_BYTES * (1 + sum(each.number(INSTANCES) for each in own.values())))


@dataclass
class SimulatedBench(Bench):
    """Measures a truth, with noise that depends on nothing but the seed, the candidate and the purpose.

    `interrupt` is called with the number of each measurement before it is made.
    """

    seed: int = 0
    noise: float = NOISE
    interrupt: Callable[[int], None] = lambda _: None
    _doing: str = ""

    def prepare(self, _options: TuneOptions, _note: Callable[[str], None]) -> None:
        """Answers are always right."""

    def measure(self, candidate: Candidate, shape: Any, purpose: str, **how: Any) -> Measured:
        """One measurement, or what the checkpoint has."""
        self._doing = f"{self.seed} {candidate.values} {purpose}"
        return super().measure(candidate, shape, purpose, **how)

    def _measure(self, served: Any, about: Any, shape: Any, *, seconds: float, rows: int, **_how: Any) -> Measured:
        self.interrupt(self.measurements)
        truths: Truths = self.servers.truths  # type: ignore[attr-defined]
        seed = int.from_bytes(hashlib.sha256(self._doing.encode()).digest()[:4])
        server = truths.server(served.candidate, float(np.random.default_rng(seed).lognormal(0, self.noise)))
        users = shape.concurrency if isinstance(shape, ClosedLoop) else 100
        result = simulate(server, [truths.stream(server, shape, rows)], requests=max(1500, users * 30), seed=seed)
        point = simulated_point(result, shape, None)
        point = point.model_copy(update={"load": point.load.model_copy(update={"batch_size": rows})})
        seconds = result.end_seconds - result.start_seconds
        return Measured(
            point=point,
            executions=tuple(
                Executions(
                    model=truths.prefixes[model.name],
                    batch_size=size,
                    count=count,
                    mean_seconds=model.service.at(size, 1).mean * _stretch(model, found, seconds),
                )
                for model, found in zip(server.models, result.models, strict=True)
                for size, count in found.batch_sizes.items()
            ),
            memory_bytes=served.memory_bytes(),
        )


def _stretch(model: ServedModel, found: ModelResult, seconds: float) -> float:
    """How many times as long executions took as one alone: with others beside them, or waiting for a lock."""
    alone = sum(count * model.service.at(size, 1).mean for size, count in found.batch_sizes.items())
    return found.mean_busy * seconds / alone if alone else 1.0


@dataclass
class Tuning:
    """A whole tuning of a truth, but for the servers, as often as it is called."""

    truths: Truths
    options: TuneOptions
    goal: Goal
    checkpoint: Path
    noise: float = NOISE
    interrupt: Callable[[int], None] = lambda _: None
    fail: Callable[[Candidate], None] = lambda _: None
    notes: list[str] = field(default_factory=list)

    def __call__(self) -> TuningResult:
        """Go on from the checkpoint."""
        bench = SimulatedBench(
            self.truths.subject(), SimulatedServers(self.truths, self.fail),
            Checkpoint(self.checkpoint, note=self.notes.append), None, silent, seed=self.options.seed,
            noise=self.noise, interrupt=self.interrupt,
        )  # type: ignore[arg-type]  # fmt: skip
        return run_tuning(self.options, bench.subject, self.goal, bench, self.notes)


@dataclass(frozen=True)
class Tried:
    """A configuration with so many users, and its score; 0 where a gate is missed."""

    candidate: Candidate
    users: int
    score: float


def search_all(truths: Truths, goal: Goal, limit: int, space: Mapping[str, tuple[Any, ...]]) -> list[Tried]:
    """Every configuration with one user, two, four …"""
    found = []
    paths = [join_path(prefix, path) for prefix in truths.prefixes.values() for path in space]
    for values in product(*(tuple(space.values()) * len(truths.models))):
        candidate = Candidate.of(dict(zip(paths, values, strict=True)))
        for users in (1 << power for power in range(limit.bit_length())):
            point = truths.point(candidate, users)
            found.append(Tried(candidate, users, goal.score(point) if goal.is_met(point) else 0.0))
    return found


def reached(truths: Truths, goal: Goal, result: TuningResult, limit: int) -> float:
    """What the configuration found truly reaches under the goal, at the best number of users about that of its race."""
    chosen = result.winner or result.baseline
    raced = chosen.measured or chosen.predicted
    candidate = Candidate.of(chosen.values)
    start = raced.concurrency if raced and raced.concurrency else 1
    _, point = find_concurrency(lambda users: truths.point(candidate, users), goal, start=start, limit=limit, budget=8)
    return goal.score(point) if goal.is_met(point) else 0.0
