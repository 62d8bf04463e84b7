"""The twins of what is tuned: what each candidate would reach under the goal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from serve_deploy.arrivals.shapes import ClosedLoop, LoadShape, PoissonRate
from serve_deploy.reports.histogram import Histogram
from serve_deploy.reports.latencies import summarize
from serve_deploy.reports.point import ClientCost, Load, ModelStatistics
from serve_deploy.tuning.candidates.candidate import BATCH, DELAY, INSTANCES, PREFERRED, Candidate, Setting
from serve_deploy.tuning.measured import MixedPoint
from serve_deploy.tuning.prediction.service import Service
from serve_deploy.tuning.task.objective import Goal, find_concurrency
from serve_deploy.twin import (
    Batching,
    Ensemble,
    Outside,
    ServedModel,
    ServerModel,
    Simulated,
    Stream,
    StreamResult,
    simulate,
)

_REQUESTS = 1200
_REQUESTS_A_USER = 10
# Arrivals at random need more, or the p99 is chance.
_OPEN_REQUESTS = 5000


@dataclass(frozen=True)
class Prediction:
    """What the twin says of a candidate: users (0: an open loop), the point, its score, and whether the gates hold."""

    candidate: Candidate
    concurrency: int
    point: MixedPoint
    score: float
    meets: bool


@dataclass(frozen=True)
class PartTwin:
    """One tuned model: what was measured of its settings, and what an executing instance uses of the shared cores.

    `prefix` stands before its paths in a candidate.
    """

    name: str
    prefix: str
    services: Mapping[Setting, Service]
    cores_used: float = 0.0

    def service(self, candidate: Candidate) -> Service:
        """Of the candidate's setting; KeyError where that was not measured."""
        return self.services[candidate.of_model(self.prefix).setting]

    def execution_seconds(self, candidate: Candidate) -> float:
        """The mean time of a full batch's execution, while no other executes."""
        return self.service(candidate).times.at(max(candidate.of_model(self.prefix).number(BATCH), 1)).mean

    def serve(self, candidate: Candidate) -> ServedModel:
        """The model as the candidate configures it."""
        own, service = candidate.of_model(self.prefix), self.service(candidate)
        largest, preferred = own.number(BATCH), own[PREFERRED]
        batching = Batching(
            max_queue_delay_seconds=own.number(DELAY) / 1e6,
            preferred_sizes=tuple(size for size in preferred if size <= largest)
            if isinstance(preferred, tuple)
            else (),
        )
        return ServedModel(
            name=self.name,
            service=service.times,
            max_batch_size=max(largest, 1),
            instances=max(own.number(INSTANCES), 1),
            batching=batching if largest > 1 and own[DELAY] is not None else None,
            cores_used=self.cores_used,
            dispatch_seconds=service.dispatch_seconds,
        )


@dataclass(frozen=True)
class Twins:
    """The twins of all candidates: the parts, and how the requests of `targets`, by weight, go through them.

    `outside` and `cores` were measured of all parts together; of a single one `outside` is its service's.
    """

    parts: tuple[PartTwin, ...]
    targets: Mapping[str, float]
    goal: Goal
    limit: int
    rate: float | None = None
    ensembles: tuple[Ensemble, ...] = ()
    outside: Outside | None = None
    cores: float | None = None
    seed: int = 0
    _known: dict[Candidate, Prediction] = field(default_factory=dict, init=False, repr=False, compare=False)

    def knows(self, candidate: Candidate) -> bool:
        """Whether the candidate's settings were measured."""
        return all(candidate.of_model(part.prefix).setting in part.services for part in self.parts)

    def predict(self, candidate: Candidate) -> Prediction:
        """What the candidate reaches; KeyError where one of its settings was not measured."""
        if candidate not in self._known:
            self._known[candidate] = self._predict(candidate)
        return self._known[candidate]

    def _predict(self, candidate: Candidate) -> Prediction:
        server = self.server(candidate)
        if self.rate is not None:
            return self._judge(candidate, 0, self.simulate(candidate, server, PoissonRate(self.rate)))
        # With as many users every instance executes a full batch; with twice as many the next one waits already.
        full = sum(model.max_batch_size * model.instances for model in server.models)
        start = min(self.limit, full if self.goal.is_bound else 2 * full)
        users, point = find_concurrency(
            lambda users: self.simulate(candidate, server, ClosedLoop(users)), self.goal, start=start, limit=self.limit
        )
        return self._judge(candidate, users, point)

    def _judge(self, candidate: Candidate, users: int, point: MixedPoint) -> Prediction:
        return Prediction(candidate, users, point, self.goal.score(point), self.goal.is_met(point))

    def curve(self, candidate: Candidate) -> tuple[Prediction, ...]:
        """What more users bring: with 1, 2, 4 … of them; none in an open loop."""
        if self.rate is not None:
            return ()
        server = self.server(candidate)
        loads = (1 << power for power in range(self.limit.bit_length()))
        return tuple(
            self._judge(candidate, users, self.simulate(candidate, server, ClosedLoop(users))) for users in loads
        )

    def load(self, users: int) -> LoadShape:
        """Independent arrivals at the rate, where there is one; else so many users, who wait for their answers."""
        return PoissonRate(self.rate) if self.rate else ClosedLoop(users)

    def server(self, candidate: Candidate) -> ServerModel:
        """The server that a candidate makes."""
        outside = self.outside or self.parts[0].service(candidate).outside
        models = tuple(part.serve(candidate) for part in self.parts)
        return ServerModel(models=models, ensembles=self.ensembles, outside=outside, cores=self.cores)

    def simulate(self, candidate: Candidate, server: ServerModel, load: LoadShape) -> MixedPoint:
        """What a load test of it would say."""
        if isinstance(load, ClosedLoop):
            requests = max(_REQUESTS, load.concurrency * _REQUESTS_A_USER)
        else:
            requests = _OPEN_REQUESTS
        stream = Stream(load=load, model=", ".join(self.targets), mix=self.targets)
        simulated = simulate(server, [stream], requests=requests, seed=self.seed)
        return simulated_point(simulated, load, self._cpu_seconds(candidate, simulated))

    def _cpu_seconds(self, candidate: Candidate, simulated: Simulated) -> float | None:
        """The server's CPU time for an inference, over all parts; None where it was not to be seen."""
        spent = 0.0
        for part, model in zip(self.parts, simulated.models, strict=True):
            seconds = part.service(candidate).cpu_seconds_at(model.mean_batch_size)
            if seconds is None:
                return None
            spent += seconds * model.executions * model.mean_batch_size
        return spent / max(simulated.stream.succeeded, 1)


def simulated_point(simulated: Simulated, load: LoadShape, cpu_seconds: float | None) -> MixedPoint:
    """What a load test would have said, as far as a simulation knows."""
    stream = simulated.stream
    whole = _stream_point(simulated, stream, load)
    return whole.model_copy(
        update={
            "server_cpu_cores": None if cpu_seconds is None else cpu_seconds * stream.throughput,
            "parts": tuple(_stream_point(simulated, each, load) for each in stream.parts),
        }
    )


def _stream_point(simulated: Simulated, stream: StreamResult, load: LoadShape) -> MixedPoint:
    histogram = Histogram()
    histogram.record_seconds(stream.response.seconds)
    latency = summarize(histogram)
    closed = isinstance(load, ClosedLoop)
    return MixedPoint(
        model=stream.model,
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
        server=tuple(
            ModelStatistics(
                model=model.model,
                requests=round(model.executions * model.mean_batch_size),
                inferences=round(model.executions * model.mean_batch_size),
                executions=model.executions,
                failures=model.rejected,
                queue_us=model.queue.mean * 1e6,
                compute_input_us=0,
                compute_infer_us=0,
                compute_output_us=0,
                average_batch_size=model.mean_batch_size,
            )
            for model in simulated.models
        ),
    )
