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
from serve_deploy.tuning.bench import Bench, RequestSource
from serve_deploy.tuning.candidates import BATCH, DELAY, INSTANCES, PREFERRED, Candidate, read_candidate
from serve_deploy.tuning.checkpoint import Checkpoint
from serve_deploy.tuning.measured import Executions, Measured
from serve_deploy.tuning.objective import Goal, find_concurrency
from serve_deploy.tuning.options import TuneOptions
from serve_deploy.tuning.ranking import simulated_point
from serve_deploy.tuning.result import TuningResult
from serve_deploy.tuning.subject import Subject
from serve_deploy.tuning.tune import run_tuning
from serve_deploy.twin import Batching, Outside, ServedModel, ServerModel, ServiceTimes, Stream, Times, simulate

BASELINE = Candidate.of({BATCH: 4, DELAY: 0, PREFERRED: None, INSTANCES: 1})
CONFIG = 'name: "m" backend: "python" max_batch_size: 4 dynamic_batching { } instance_group { count: 1 }'
_PATHS = tuple(path for path, _ in BASELINE.values)
NOISE = 0.03


@dataclass(frozen=True)
class Truth:
    """A model: base + row × rows seconds an execution; `contention`: how much slower each is with two at work."""

    base: float
    row: float
    exclusive: bool = False
    contention: float = 1.0
    largest: int = 32
    outside: float = 0.0002
    instance_bytes: int = 50_000_000

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
class SimulatedServed:
    """A simulated server."""

    candidate: Candidate
    bytes: int
    endpoint: Any = None
    start_seconds: float = 1.0

    def memory_bytes(self) -> int:
        """A process, and one for each instance."""
        return self.bytes

    def close(self) -> None:
        """Nothing runs."""


@dataclass
class SimulatedServers:
    """Serve every configuration of a truth; `fail` may raise what a server that does not start raises."""

    truth: Truth
    fail: Callable[[Candidate], None] = lambda _: None
    description: str = "a simulated Triton"
    staging: Path = Path()
    are_parallel: bool = True

    def serve(self, config: Any) -> SimulatedServed:
        """Start at once."""
        candidate = read_candidate(config, _PATHS)
        self.fail(candidate)
        return SimulatedServed(candidate, self.truth.instance_bytes * (1 + candidate.number(INSTANCES)))


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

    def _measure(self, served: Any, shape: Any, *, seconds: float, rows: int, validate: bool) -> Measured:
        self.interrupt(self.measurements)
        truth, candidate = self.servers.truth, served.candidate  # type: ignore[attr-defined]
        seed = int.from_bytes(hashlib.sha256(self._doing.encode()).digest()[:4])
        server = truth.server(candidate, float(np.random.default_rng(seed).lognormal(0, self.noise)))
        users = shape.concurrency if isinstance(shape, ClosedLoop) else 100
        load = [Stream(load=shape, model="m", rows=rows)]
        result = simulate(server, load, requests=max(1500, users * 30), seed=seed)
        point = simulated_point(result, shape, None)
        point = point.model_copy(update={"load": point.load.model_copy(update={"batch_size": rows})})
        (model,) = server.models
        busy = 1 if users == 1 else candidate.number(INSTANCES)
        waits = candidate.number(INSTANCES) if truth.exclusive and users > 1 else 1
        return Measured(
            point=point,
            executions=tuple(
                Executions(batch_size=size, count=count, mean_seconds=model.service.at(size, busy).mean * waits)
                for size, count in result.model.batch_sizes.items()
            ),
            memory_bytes=served.memory_bytes(),
        )


@dataclass
class Tuning:
    """A whole tuning of a truth, but for the servers, as often as it is called."""

    truth: Truth
    options: TuneOptions
    goal: Goal
    checkpoint: Path
    noise: float = NOISE
    interrupt: Callable[[int], None] = lambda _: None
    fail: Callable[[Candidate], None] = lambda _: None
    notes: list[str] = field(default_factory=list)

    def __call__(self) -> TuningResult:
        """Go on from the checkpoint."""
        folder: Any = SimpleNamespace(name="m", config=parse_config(CONFIG))
        subject = Subject(folder, BASELINE, self.truth.largest)
        bench = SimulatedBench(
            subject, SimulatedServers(self.truth, self.fail), Checkpoint(self.checkpoint, note=self.notes.append),
            RequestSource(None), None, silent, seed=self.options.seed, noise=self.noise, interrupt=self.interrupt,
        )  # type: ignore[arg-type]  # fmt: skip
        return run_tuning(self.options, subject, self.goal, bench, self.notes)


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


def reached(truth: Truth, goal: Goal, result: TuningResult, limit: int) -> float:
    """What the configuration found truly reaches under the goal, at the best number of users about that of its race."""
    chosen = result.winner or result.baseline
    raced = chosen.measured or chosen.predicted
    candidate = Candidate.of(chosen.values)
    start = raced.concurrency if raced and raced.concurrency else 1
    _, point = find_concurrency(lambda users: truth.point(candidate, users), goal, start=start, limit=limit, budget=8)
    return goal.score(point) if goal.is_met(point) else 0.0
