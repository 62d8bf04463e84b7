"""The simulation: what a server does under a load, event by event."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from serve_deploy.arrivals.mixing import interleave
from serve_deploy.arrivals.shapes import ClosedLoop, LoadShape
from serve_deploy.errors import UsageError
from serve_deploy.twin.batcher import make_station
from serve_deploy.twin.clock import Action, Clock, Requests
from serve_deploy.twin.ensembles import EnsembleNode
from serve_deploy.twin.instances import SharedCores
from serve_deploy.twin.results import Durations, ModelResult, Presence, Simulated, StreamResult
from serve_deploy.twin.server import ServerModel, Stream
from serve_deploy.twin.stations import Node, Shared, Station
from serve_deploy.twin.streams import ClosedStream, OpenStream, Span, Way

Seconds = NDArray[np.float64]


def simulate(
    server: ServerModel,
    load: LoadShape | Sequence[Stream],
    *,
    seconds: float = math.inf,
    requests: int | None = None,
    warmup_seconds: float = 0.0,
    seed: int = 0,
) -> Simulated:
    """Serve a load from an idle start until all that was sent has ended; the same seed gives the same result.

    Each stream sends for so many seconds, or so many requests. What happens before `warmup_seconds` is not counted.
    A single load calls the only model, or the only ensemble. UsageError where the server cannot be asked so.
    """
    if math.isinf(seconds) and requests is None:
        raise UsageError("a simulation needs seconds or requests")
    streams = load if isinstance(load, Sequence) else (Stream(load=load, model=_only_target(server)),)
    run = Run(server, streams, Span(seconds, requests), seed)
    run.go()
    end = seconds if math.isfinite(seconds) else math.nextafter(run.last_end, math.inf)
    return Simulated(
        start_seconds=warmup_seconds,
        end_seconds=end,
        streams=tuple(run.stream_result(index, warmup_seconds, end) for index in range(len(streams))),
        models=tuple(run.model_result(station, warmup_seconds, end) for station in run.stations.values()),
    )


def _only_target(server: ServerModel) -> str:
    targets = [each.name for each in server.ensembles or server.models]
    if len(targets) != 1:
        raise UsageError(f"the server has {', '.join(targets)}: say which streams call them")
    return targets[0]


class Run:
    """One simulation: its stations, streams and clock; `go` once, then ask for results."""

    def __init__(self, server: ServerModel, streams: Sequence[Stream], span: Span, seed: int) -> None:
        self._clock, self.requests = Clock(), Requests()
        rows = _rows_by_model(server, streams)
        shared = Shared(self._clock, self.requests, SharedCores(server.cores), seed)
        self.stations = {model.name: make_station(model, rows[model.name], shared) for model in server.models}
        self._nodes: dict[str, Node] = dict(self.stations)
        self._ensembles = {each.name: EnsembleNode(each, self._nodes, self.requests) for each in server.ensembles}
        self._nodes |= self._ensembles
        self._names = [stream.model for stream in streams]
        way = Way(server.outside, np.random.default_rng([seed, 1 << 20]))
        self._streams = [self._make_stream(stream, span, way, seed + index) for index, stream in enumerate(streams)]
        self._targets = [_targets(*pair, seed) for pair in zip(streams, self._streams, strict=True)]
        self._way = way

    def _make_stream(self, stream: Stream, span: Span, way: Way, seed: int) -> OpenStream | ClosedStream:
        if not isinstance(stream.load, ClosedLoop):
            return OpenStream(stream.load, stream.priority, span, seed)
        nodes, users = [self._nodes[name] for name in _turns(stream)], stream.load.concurrency
        return ClosedStream(users, stream.priority, span, nodes, way, self._clock, self.requests)

    def go(self) -> None:
        """Let everything happen, and note when each request ended."""
        arrivals = list(self._open_arrivals())
        for stream in self._streams:
            if isinstance(stream, ClosedStream):
                stream.start()
        self._clock.run(_in_order(arrivals))
        ended: Seconds = np.full(len(self.requests.entered), np.nan)
        for station in self.stations.values():
            instances = station.instances
            sizes = np.fromiter(map(len, instances.batches), np.int64, len(instances.batches))
            ended[_flatten(instances.batches)] = np.repeat(np.array(instances.ends, np.float64), sizes)
        for ensemble in self._ensembles.values():
            for at, request in ensemble.ends:
                ended[request] = at
        self._gone = ended.copy()
        rejecting = [each.rejected for each in (self.stations | self._ensembles).values()]
        for at, request in chain.from_iterable(rejecting):
            self._gone[request] = at
        for request, at in self.requests.answered.items():
            self._gone[request] = at
        # What was rejected has no end.
        self._ended = np.where(np.isnan(ended), ended, self._gone)
        self.last_end = float(np.max(self._gone, initial=0.0))

    def stream_result(self, index: int, start: float, end: float) -> StreamResult:
        """What a stream saw."""
        stream, targets = self._streams[index], self._targets[index]
        called = np.resize(targets, len(stream.numbers))
        names = np.unique(targets).tolist()
        parts = [self._requests_result(name, stream, called == name, start, end) for name in names]
        if len(parts) == 1:
            return replace(parts[0], model=self._names[index])
        whole = self._requests_result(self._names[index], stream, np.ones(len(called), np.bool_), start, end)
        return replace(whole, parts=tuple(parts))

    def _requests_result(
        self, name: str, stream: OpenStream | ClosedStream, which: NDArray[np.bool_], start: float, end: float
    ) -> StreamResult:
        numbers, sent = stream.numbers[which], stream.sent[which]
        ended = self._ended[numbers]
        counted = (sent >= start) & (sent < end)
        succeeded = counted & ~np.isnan(ended)
        answered = (ended >= start) & (ended <= end)
        presence = Presence(np.sort(sent), np.sort(self._gone[numbers]))
        return StreamResult(
            model=name,
            sent=int(counted.sum()),
            succeeded=int(succeeded.sum()),
            rejected=int(counted.sum() - succeeded.sum()),
            throughput=float(answered.sum()) / (end - start) if end > start else 0.0,
            response=Durations(np.sort((ended - sent)[succeeded])),
            mean_in_flight=presence.mean(start, end),
            presence=presence,
        )

    def model_result(self, station: Station, start: float, end: float) -> ModelResult:
        """What a model did."""
        instances = station.instances
        starts, ends = np.array(instances.starts, np.float64), np.array(instances.ends, np.float64)
        sizes = np.fromiter(map(len, instances.batches), np.int64, len(instances.batches))
        entered = np.array(self.requests.entered, np.float64)[_flatten(instances.batches)]
        began = np.repeat(starts, sizes)
        counted = (entered >= start) & (entered < end)
        inside = (starts >= start) & (starts < end)
        found, counts = np.unique(sizes[inside] * station.rows, return_counts=True)
        busy = Presence(np.sort(starts), np.sort(ends)).mean(start, end)
        rejected_at = np.array([at for at, _ in station.rejected], np.float64)
        rejected_in = np.array([self.requests.entered[n] for _, n in station.rejected], np.float64)
        came = np.sort(np.concatenate([entered, rejected_in]))
        presence = Presence(came, np.sort(np.concatenate([np.repeat(ends, sizes), rejected_at])))
        waiting = Presence(came, np.sort(np.concatenate([began, rejected_at])))
        return ModelResult(
            model=station.model.name,
            executions=int(inside.sum()),
            batch_sizes=dict(zip(found.tolist(), counts.tolist(), strict=True)),
            queue=Durations(np.sort((began - entered)[counted])),
            rejected=int(((rejected_in >= start) & (rejected_in < end)).sum()),
            utilisation=busy / station.model.instances,
            mean_busy=busy,
            mean_in_flight=presence.mean(start, end),
            mean_waiting=waiting.mean(start, end),
            presence=presence,
        )

    def _open_arrivals(self) -> Iterator[tuple[Seconds, NDArray[np.int64], Action]]:
        for stream, targets in zip(self._streams, self._targets, strict=True):
            if isinstance(stream, OpenStream):
                times = stream.enter(self._way, self.requests)
                for name in np.unique(targets).tolist():
                    yield times[targets == name], stream.numbers[targets == name], self._nodes[name].arrive


def _targets(stream: Stream, sent: OpenStream | ClosedStream, seed: int) -> NDArray[np.str_]:
    """What each arrival calls; of users, the turns, which start again when the last one is over."""
    if isinstance(sent, ClosedStream):
        return np.array(_turns(stream))
    # Each model's arrivals are as independent of the others' as in a load test.
    mix = stream.mix or {stream.model: 1.0}
    shares = np.array(list(mix.values())) / sum(mix.values())
    return np.random.default_rng([seed, 1 << 21]).choice(list(mix), size=len(sent.sent), p=shares)


def _turns(stream: Stream) -> list[str]:
    if not stream.mix:
        return [stream.model]
    names = list(stream.mix)
    return [names[turn] for turn in interleave(list(stream.mix.values()))]


def _in_order(arrivals: Sequence[tuple[Seconds, NDArray[np.int64], Action]]) -> Iterator[tuple[float, int, Action]]:
    """All streams' arrivals, ascending by time."""
    if not arrivals:
        return
    times = np.concatenate([times for times, _, _ in arrivals])
    numbers = np.concatenate([numbers for _, numbers, _ in arrivals])
    targets = np.repeat(np.arange(len(arrivals)), [len(times) for times, _, _ in arrivals])
    order = np.argsort(times, kind="stable")
    actions = [action for _, _, action in arrivals]
    yield from zip(
        times[order].tolist(),
        numbers[order].tolist(),
        [actions[target] for target in targets[order].tolist()],
        strict=True,
    )


def _rows_by_model(server: ServerModel, streams: Sequence[Stream]) -> dict[str, int]:
    """The rows of each model's requests, one number for all of them."""
    members = {ensemble.name: {step.model for step in ensemble.steps} for ensemble in server.ensembles}
    rows = {model.name: 1 for model in server.models}
    asked: dict[str, int] = {}
    for stream in streams:
        for name in set().union(*(members.get(target, {target}) for target in _turns(stream))):
            if name not in rows:
                raise UsageError(f"the server has no {name}")
            if asked.setdefault(name, stream.rows) != stream.rows:
                raise UsageError(f"the requests to {name} differ in their rows")
    return rows | asked


def _flatten(batches: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(batches), np.int64)
