"""Requests to several models in one stream."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import islice

from serve_deploy.loadtest.clients.exchange import Request
from serve_deploy.loadtest.interleaved import CODES, Interleaved, InterleavedMeasurement, NumberedRequest
from serve_deploy.loadtest.recorder import SampleBlock

SOURCE = Interleaved(
    ((Request(b"a0"), Request(b"a1"), Request(b"a2")), (Request(b"b0"), Request(b"b1"))), order=(0, 0, 1, 0)
)


def _follow(worker: int, count: int) -> list[NumberedRequest]:
    open_slot = SOURCE.open(worker, 2)
    first, second = open_slot(), open_slot()
    pairs = zip(iter(first, None), iter(second, None), strict=False)
    return [each for pair in islice(pairs, count // 2) for each in pair]  # type: ignore[misc]


def test_slots_share_the_ratio_and_samples_rotate() -> None:
    """Three of four requests go to the first model, and each of its samples is sent as often."""
    sent = _follow(0, 24)
    assert Counter(each.model for each in sent) == {0: 18, 1: 6}
    assert Counter(each.data for each in sent) == {b"a0": 6, b"a1": 6, b"a2": 6, b"b0": 3, b"b1": 3}


def test_workers_start_at_different_turns() -> None:
    """So that they do not all call the same model at once."""
    assert [[each.data for each in _follow(worker, 4)] for worker in (0, 1)] == [
        [b"a0", b"a1", b"b0", b"a2"],
        [b"a1", b"b1", b"a2", b"a0"],
    ]


def test_outcomes_belong_to_their_models() -> None:
    """Response times and failures of each, and of all together."""
    rows = [(0.0, 0.0, 0.010, 0), (0.0, 0.0, 0.030, CODES), (0.0, 0.0, 0.020, 3), (0.0, 0.0, 0.050, CODES + 3)]
    measurement = InterleavedMeasurement(0.0, models=2)
    measurement.add(0, SampleBlock(array("d", [figure for row in rows for figure in row]).tobytes(), in_flight=0))
    found = [(each.succeeded, each.failed, round(each.response.max_us / 1e3)) for each in measurement.parts]
    assert found == [(1, 1, 10), (1, 1, 30)]
    assert (measurement.succeeded, measurement.failed, round(measurement.response.max_us / 1e3)) == (2, 2, 30)
