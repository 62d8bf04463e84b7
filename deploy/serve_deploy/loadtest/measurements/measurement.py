"""Samples into figures: one period's blocks become histograms, counts and a timeline. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serve_deploy.generation.faults import STALLED as STALLED_NAME
from serve_deploy.loadtest.clients.recorder import STALLED, SUCCEEDED, TIMED_OUT, Kind, SampleBlock
from serve_deploy.loadtest.measurements.answers import AnswerMeasurement
from serve_deploy.reports.histogram import Histogram
from serve_deploy.reports.point import ErrorKind, TimelineBucket

_MOST_SLICES = 240
_TIMEOUTS = {
    TIMED_OUT: Kind(TIMED_OUT, "timeout", "no reply within the timeout"),
    STALLED: Kind(STALLED, STALLED_NAME, "the answer did not end within the timeout"),
}
Seconds = NDArray[np.float64]


@dataclass
class _Slice:
    succeeded: int = 0
    failed: int = 0
    started: int = 0
    ended: int = 0
    response: Histogram = field(default_factory=Histogram)

    def merge(self, other: _Slice) -> None:
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.started += other.started
        self.ended += other.ended
        self.response.merge(other.response)


class Timeline:
    """Slices of the period; their width doubles whenever there would be too many."""

    def __init__(self, start: float, width_seconds: float = 0.1) -> None:
        self._start = start
        self._width = width_seconds
        self._slices: dict[int, _Slice] = {}

    def add(self, sent: Seconds, end: Seconds, codes: NDArray[np.uint8], response: Seconds) -> None:
        """Note requests: by their send, and by their end with its outcome."""
        while end.size and (float(end.max()) - self._start) / self._width >= _MOST_SLICES:
            self._coarsen()
        ends, starts = self._indexes(end), self._indexes(sent)
        for index, count in zip(*np.unique(starts, return_counts=True), strict=True):
            self._slice(int(index)).started += int(count)
        for index in np.unique(ends):
            inside = ends == index
            target = self._slice(int(index))
            succeeded = int(np.count_nonzero(codes[inside] == SUCCEEDED))
            target.ended += int(np.count_nonzero(inside))
            target.succeeded += succeeded
            target.failed += int(np.count_nonzero(inside)) - succeeded
            target.response.record_seconds(response[inside & (codes <= STALLED)])

    def _indexes(self, times: Seconds) -> NDArray[np.int64]:
        return np.clip((times - self._start) // self._width, 0, _MOST_SLICES - 1).astype(np.int64)

    def _slice(self, index: int) -> _Slice:
        return self._slices.setdefault(index, _Slice())

    def _coarsen(self) -> None:
        self._width *= 2
        finer, self._slices = self._slices, {}
        for index, item in finer.items():
            self._slice(index // 2).merge(item)

    def buckets(self) -> tuple[TimelineBucket, ...]:
        """Every slice up to the last that saw something, empty ones included: a stall is a gap."""
        buckets, in_flight = [], 0
        for index in range(max(self._slices, default=-1) + 1):
            item = self._slices.get(index) or _Slice()
            in_flight += item.started - item.ended
            buckets.append(
                TimelineBucket(
                    start_seconds=round(index * self._width, 6),
                    duration_seconds=self._width,
                    succeeded=item.succeeded,
                    failed=item.failed,
                    in_flight=max(in_flight, 0),
                    response_p50_us=item.response.percentile_us(50),
                    response_p99_us=item.response.percentile_us(99),
                    response_max_us=item.response.max_us,
                )
            )
        return tuple(buckets)


@dataclass
class Measurement:
    """Everything that one period's samples say.

    Latencies are those of replies and timeouts, not of failures; response times also of what was never sent.
    """

    start: float
    answers: AnswerMeasurement | None = None
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    unfinished: int = 0
    never_sent: int = 0
    first_sent: float = math.inf
    last_end: float = -math.inf
    in_flight_seconds: float = 0.0
    in_flight: dict[int, int] = field(default_factory=dict)
    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    failures: Histogram = field(default_factory=Histogram)
    slip: Histogram = field(default_factory=Histogram)
    first_response: Histogram = field(default_factory=Histogram)
    responses: int = 0
    recent: Histogram = field(default_factory=Histogram)
    errors: Counter[tuple[int, int]] = field(default_factory=Counter)
    timeline: Timeline = field(init=False)

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.start)

    @property
    def sent(self) -> int:
        """Requests that did not stay behind: each of them ended in one of four ways."""
        return self.succeeded + self.failed + self.timed_out + self.unfinished

    def add(self, worker: int, block: SampleBlock) -> None:
        """Take in what one worker recorded since its last block."""
        self.in_flight[worker] = block.in_flight
        if block.streams:
            first, responses = np.frombuffer(block.streams, np.float64).reshape(-1, 2).T
            self.first_response.record_seconds(first)
            self.responses += int(responses.sum())
        if block.never_sent:
            self._add_never_sent(*np.frombuffer(block.never_sent, np.float64).reshape(-1, 2).T)
        rows = np.frombuffer(block.rows, np.float64).reshape(-1, 4)
        if self.answers:
            self.answers.add(worker, block, rows)
        if not block.rows:
            return
        intended, sent, end, outcomes = rows.T
        codes = outcomes.astype(np.uint8)
        was_sent = ~np.isnan(sent)
        answered = codes <= STALLED
        self._count(worker, codes)
        self.response.record_seconds((end - intended)[answered])
        self.recent.record_seconds((end - intended)[answered])
        self.failures.record_seconds((end - intended)[~answered])
        self.service.record_seconds((end - sent)[answered & was_sent])
        self.slip.record_seconds((sent - intended)[was_sent])
        self.in_flight_seconds += float((end - sent)[was_sent].sum())
        self.first_sent = min(self.first_sent, float(np.where(was_sent, sent, end).min()))
        self.last_end = max(self.last_end, float(end.max()))
        self.timeline.add(np.where(was_sent, sent, end), end, codes, end - intended)

    def _add_never_sent(self, waited: Seconds, requests: NDArray[np.float64]) -> None:
        # They would have taken longer still, so that an overload never looks faster than it was.
        self.never_sent += int(requests.sum())
        for histogram in (self.response, self.recent):
            histogram.record_seconds(waited, requests.astype(np.int64))
        if self.answers:
            self.answers.add_never_sent(waited, requests)

    def _count(self, worker: int, codes: NDArray[np.uint8]) -> None:
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
            if code == SUCCEEDED:
                self.succeeded += int(count)
            elif code in _TIMEOUTS:
                self.timed_out += int(count)
            else:
                self.failed += int(count)
            self.errors[worker, int(code)] += int(count)

    def take_recent(self) -> Histogram:
        """The response times since the last call."""
        recent, self.recent = self.recent, Histogram()
        return recent

    def add_unfinished(self, sent: tuple[float, ...], now: float) -> None:
        """Take in when the requests were sent that had not ended when the period was cut short."""
        self.unfinished += len(sent)
        self.first_sent = min(self.first_sent, *sent, math.inf)
        self.in_flight_seconds += sum(max(now - moment, 0.0) for moment in sent)

    def error_kinds(self, kinds: dict[int, tuple[Kind, ...]]) -> tuple[ErrorKind, ...]:
        """Failures and timeouts by kind, most frequent first; `kinds` is each worker's own code table."""
        names = {(worker, kind.code): kind for worker, table in kinds.items() for kind in table}
        counts: Counter[str] = Counter()
        examples: dict[str, str] = {}
        for (worker, code), count in self.errors.items():
            if code == SUCCEEDED:
                continue
            kind = _TIMEOUTS.get(code) or names[worker, code]
            counts[kind.name] += count
            examples.setdefault(kind.name, kind.example)
        return tuple(ErrorKind(kind=name, count=count, example=examples[name]) for name, count in counts.most_common())
