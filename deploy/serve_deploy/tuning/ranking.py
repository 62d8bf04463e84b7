"""Every configuration on the twin: what it would reach under the goal, best first. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.arrivals.shapes import ClosedLoop, LoadShape, PoissonRate
from serve_deploy.reports.histogram import Histogram
from serve_deploy.reports.latencies import summarize
from serve_deploy.reports.point import ClientCost, Load, ModelStatistics, Point
from serve_deploy.tuning.candidates import BATCH, DELAY, INSTANCES, PREFERRED, Candidate, Setting, Value
from serve_deploy.tuning.objective import Goal, find_concurrency
from serve_deploy.tuning.options import TuneOptions
from serve_deploy.tuning.service import Service
from serve_deploy.twin import Batching, ServedModel, ServerModel, Simulated, simulate

_REQUESTS = 1200
_REQUESTS_A_USER = 10
# Arrivals at random need more, or the p99 is chance.
_OPEN_REQUESTS = 5000
_DELAYS_US = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
# How many of the best without a delay are tried with delays and preferred sizes.
_REFINED = 12
# Predictions that differ by less are the same.
_SAME = 0.02


@dataclass(frozen=True)
class Prediction:
    """What the twin says of a candidate: users (0: an open loop), the point, its score, and whether the gates hold."""

    candidate: Candidate
    concurrency: int
    point: Point
    score: float
    meets: bool


@dataclass(frozen=True)
class Twins:
    """The twins of a model's settings, by what decides how long an execution takes."""

    name: str
    services: Mapping[Setting, Service]
    goal: Goal
    limit: int
    rate: float | None
    batches: bool
    seed: int = 0

    def predict(self, candidate: Candidate) -> Prediction:
        """What the candidate reaches; KeyError where its setting was not measured."""
        service = self.services[candidate.setting]
        server = self._server(candidate, service)
        if self.rate is not None:
            point = self._simulate(server, service, PoissonRate(self.rate))
            return Prediction(candidate, 0, point, self.goal.score(point), self.goal.is_met(point))
        start = min(self.limit, 2 * max(candidate.number(BATCH), 1) * candidate.number(INSTANCES))
        users, point = find_concurrency(
            lambda users: self._simulate(server, service, ClosedLoop(users)), self.goal, start=start, limit=self.limit
        )
        return Prediction(candidate, users, point, self.goal.score(point), self.goal.is_met(point))

    def curve(self, candidate: Candidate) -> tuple[Prediction, ...]:
        """What more users bring: with 1, 2, 4 … of them; none in an open loop."""
        if self.rate is not None:
            return ()
        service = self.services[candidate.setting]
        server = self._server(candidate, service)
        found = []
        for users in (1 << power for power in range(self.limit.bit_length())):
            point = self._simulate(server, service, ClosedLoop(users))
            found.append(Prediction(candidate, users, point, self.goal.score(point), self.goal.is_met(point)))
        return tuple(found)

    def _server(self, candidate: Candidate, service: Service) -> ServerModel:
        largest = candidate.number(BATCH)
        preferred = candidate[PREFERRED]
        batching = Batching(
            max_queue_delay_seconds=candidate.number(DELAY) / 1e6,
            preferred_sizes=tuple(size for size in preferred if size <= largest)
            if isinstance(preferred, tuple)
            else (),
        )
        model = ServedModel(
            name=self.name,
            service=service.times,
            max_batch_size=max(largest, 1),
            instances=max(candidate.number(INSTANCES), 1),
            batching=batching if largest > 1 and self.batches else None,
        )
        return ServerModel(models=(model,), outside=service.outside)

    def _simulate(self, server: ServerModel, service: Service, load: LoadShape) -> Point:
        if isinstance(load, ClosedLoop):
            requests = max(_REQUESTS, load.concurrency * _REQUESTS_A_USER)
        else:
            requests = _OPEN_REQUESTS
        simulated = simulate(server, load, requests=requests, seed=self.seed)
        return simulated_point(simulated, load, service.cpu_seconds_at(simulated.model.mean_batch_size))


def simulated_point(simulated: Simulated, load: LoadShape, cpu_seconds: float | None) -> Point:
    """What a load test would have said, as far as a simulation knows."""
    stream, model = simulated.stream, simulated.model
    histogram = Histogram()
    histogram.record_seconds(stream.response.seconds)
    latency = summarize(histogram)
    closed = isinstance(load, ClosedLoop)
    return Point(
        load=Load(
            mode="closed" if closed else "open",
            concurrency=load.concurrency if isinstance(load, ClosedLoop) else None,
            request_rate=load.rate if isinstance(load, PoissonRate) else None,
            distribution=None if closed else "poisson",
        ),
        started_at="",
        duration_seconds=simulated.end_seconds - simulated.start_seconds,
        sent=stream.sent,
        succeeded=stream.succeeded,
        failed=stream.rejected,
        timed_out=0,
        in_flight_at_end=0,
        request_rate=stream.throughput,
        throughput=stream.throughput,
        mean_in_flight=stream.mean_in_flight,
        response=latency,
        service=latency,
        client=ClientCost(cpu_fraction=0, cpu_us_per_request=0, slip_p50_us=0, slip_p99_us=0, slip_max_us=0),
        server=(
            ModelStatistics(
                model=model.model,
                requests=stream.succeeded,
                inferences=stream.succeeded,
                executions=model.executions,
                failures=stream.rejected,
                queue_us=model.queue.mean * 1e6,
                compute_input_us=0,
                compute_infer_us=0,
                compute_output_us=0,
                average_batch_size=model.mean_batch_size,
            ),
        ),
        server_cpu_cores=None if cpu_seconds is None else cpu_seconds * stream.throughput,
    )


@dataclass(frozen=True)
class Space:
    """What is combined: batch sizes (none where the model does not batch), instances and the settings."""

    baseline: Candidate
    batch_sizes: tuple[int, ...]
    instances: Mapping[Setting, tuple[int, ...]]
    max_delay_us: int
    # Instead of those that follow from the execution times.
    delays_us: tuple[int, ...] = ()
    preferred: tuple[Value, ...] = ()

    def plain(self) -> Iterator[Candidate]:
        """Every combination without a delay and without preferred sizes."""
        for setting, counts in self.instances.items():
            for count in counts:
                for size in self.batch_sizes or (None,):
                    batching: dict[str, Value] = {} if size is None else {BATCH: size, DELAY: 0, PREFERRED: None}
                    yield Candidate.of({**dict(self.baseline.values), **dict(setting), INSTANCES: count, **batching})

    def refined(self, candidate: Candidate, execution_seconds: float) -> Iterator[Candidate]:
        """One of these with each delay that is not far beyond an execution, and with preferred sizes."""
        size = candidate.number(BATCH)
        if size < 2:
            return
        longest = min(self.max_delay_us, 4e6 * execution_seconds)
        delays = self.delays_us or tuple(each for each in _DELAYS_US if each <= longest)
        for delay in delays:
            for preferred in self.preferred or (None, (size // 2,), (size // 4, size // 2)):
                if not isinstance(preferred, tuple) or 1 < preferred[0] <= size:
                    yield Candidate.of({**dict(candidate.values), DELAY: delay, PREFERRED: preferred})


def make_space(
    options: TuneOptions, baseline: Candidate, largest_batch: int, counts: Mapping[Setting, tuple[int, ...]]
) -> Space:
    """Powers of two up to the largest batch and the file's own, or the sizes that `vary` names."""
    sizes: set[int] = set()
    if largest_batch:
        sizes = {largest_batch, baseline.number(BATCH)} | {1 << power for power in range(largest_batch.bit_length())}
        asked = next((values for path, values in options.vary if path == BATCH), ())
        sizes = {int(value) for value in asked if isinstance(value, int)} or sizes
    return Space(
        baseline,
        tuple(sorted(size for size in sizes if size <= largest_batch)),
        counts,
        options.max_delay_us,
        delays_us=_numbers(options, DELAY),
        preferred=next((values for path, values in options.vary if path == PREFERRED), ()),
    )


def _numbers(options: TuneOptions, path: str) -> tuple[int, ...]:
    asked = next((values for each, values in options.vary if each == path), ())
    return tuple(int(value) for value in asked if isinstance(value, int))


def rank(twins: Twins, space: Space) -> tuple[Prediction, ...]:
    """All of the space, best first: those that meet the gates, by score; of equals, what changes least."""
    plain = _in_order([twins.predict(each) for each in space.plain()], space.baseline)
    refined = [
        twins.predict(candidate)
        for prediction in plain[:_REFINED]
        for candidate in space.refined(
            prediction.candidate,
            twins.services[prediction.candidate.setting].times.at(max(prediction.candidate.number(BATCH), 1)).mean,
        )
    ]
    return _in_order([*plain, *refined], space.baseline)


def _in_order(predictions: Iterable[Prediction], baseline: Candidate) -> tuple[Prediction, ...]:
    def key(each: Prediction) -> tuple[bool, int, int]:
        # Steps of two per cent, so that of what is as good as equal the least change comes first.
        step = round(math.log(each.score) / _SAME) if each.score > 0 else -(10**9)
        return not each.meets, -step, _changes(each.candidate, baseline)

    return tuple(sorted(predictions, key=key))


def _changes(candidate: Candidate, baseline: Candidate) -> int:
    return sum(1 for path, value in candidate.values if baseline[path] != value)


def choose_finalists(ranked: Sequence[Prediction], baseline: Candidate, most: int) -> tuple[Prediction, ...]:
    """The best few that differ in more than their delay: the twin may be wrong about one kind only."""
    chosen: list[Prediction] = []
    kinds: set[object] = set()
    for each in ranked:
        kind = (each.candidate.setting, each.candidate[BATCH], each.candidate[INSTANCES])
        if each.candidate == baseline or kind in kinds or len(chosen) >= most:
            continue
        kinds.add(kind)
        chosen.append(each)
    return tuple(chosen)
