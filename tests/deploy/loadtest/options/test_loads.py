"""The loads of a test: what texts and recordings say becomes load shapes or a search, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.loadtest import ClosedLoop, ConstantRate, PoissonRate, Ramp, Search, parse_loads


@pytest.mark.parametrize(
    ("asked", "loads"),
    [
        ({}, (ClosedLoop(1),)),
        ({"concurrency": "1..4"}, (ClosedLoop(1), ClosedLoop(2), ClosedLoop(4))),
        ({"rate": "200"}, (ConstantRate(200),)),
        ({"rate": "100,200", "poisson": True}, (PoissonRate(100), PoissonRate(200))),
        ({"ramp": "0..50"}, (Ramp(0, 50),)),
    ],
)
def test_loads(asked: dict[str, Any], loads: tuple[Any, ...]) -> None:
    """Each way to ask for a load becomes the points to measure."""
    assert parse_loads(**asked) == loads


@pytest.mark.parametrize(
    ("text", "values"),
    [("8", (8,)), ("1,4,16", (1, 4, 16)), ("1..64", (1, 2, 4, 8, 16, 32, 64)), ("1..6", (1, 2, 4, 6)),
     ("10..50:20", (10, 30, 50)), ("1..6:2", (1, 3, 5, 6))],
)  # fmt: skip
def test_concurrency_sweeps(text: str, values: tuple[int, ...]) -> None:
    """A sweep of concurrencies doubles, or goes in the steps given, and always ends at its end."""
    assert parse_loads(concurrency=text) == tuple(map(ClosedLoop, values))


@pytest.mark.parametrize(
    ("text", "values"),
    [("0.5", (0.5,)), ("100..1000", tuple(range(100, 1001, 100))), ("100..250:50", (100, 150, 200, 250))],
)
def test_rate_sweeps(text: str, values: tuple[float, ...]) -> None:
    """A sweep of rates has ten even steps, or the steps given."""
    assert parse_loads(rate=text) == tuple(map(ConstantRate, values))


@pytest.mark.parametrize("text", ["x", "0", "-1", "1.5", "4..2", "1..", "..", "1..8:0", "nan", "inf", "1,,2"])
def test_nonsense_concurrency_is_refused(text: str) -> None:
    """What is not a sweep is a usage error that quotes it."""
    with pytest.raises(UsageError, match="`concurrency="):
        parse_loads(concurrency=text)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"concurrency": "1", "rate": "2"}, "`concurrency` and `rate` exclude each other"),
        ({"concurrency": "1", "poisson": True}, "`poisson` needs `rate`"),
        ({"ramp": "5"}, "`ramp=5` is not a ramp"),
        ({"find": "rate", "ramp": "1..9"}, "`find` and `ramp` exclude each other"),
        ({"find": "rate", "concurrency": "1..4"}, "`find=rate` searches for a rate"),
        ({"find": "rate", "rate": "10"}, "needs room to search"),
        ({"rate": "1..1e9:1"}, "more than 1000 loads"),
    ],
)
def test_contradicting_loads_are_refused(asked: dict[str, Any], message: str) -> None:
    """Two loads at once, a distribution without a rate, a search without room are usage errors."""
    with pytest.raises(UsageError, match=message):
        parse_loads(**asked)


@pytest.mark.parametrize(
    ("asked", "search"),
    [
        ({"find": "rate"}, Search(variable="rate", start=10, limit=1_000_000)),
        ({"find": "rate", "poisson": True}, Search(variable="rate", start=10, limit=1_000_000, poisson=True)),
        ({"find": "concurrency", "concurrency": "4..64"}, Search(variable="concurrency", start=4, limit=64, floor=4)),
    ],
)
def test_searches(asked: dict[str, Any], search: Search) -> None:
    """A search goes from 1 up to far beyond what a server can do, or stays within the bounds given."""
    assert parse_loads(**asked) == search


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        ("5\n5.5\n6.25\n", (0.0, 0.5, 1.25)),
        ("# recorded\n\n2\n1\n", (0.0, 1.0)),
        ("[10, 11.5]", (0.0, 1.5)),
        ("2026-01-31T12:00:00.5\n2026-01-31T12:00:02\n", (0.0, 1.5)),
        ("2026-01-31T12:00:00+00:00\n2026-01-31T14:00:01+02:00\n", (0.0, 1.0)),
    ],
)
def test_recorded_arrivals(tmp_path: Path, text: str, offsets: tuple[float, ...]) -> None:
    """Seconds, dates or JSON, in any order: the first arrival is the start."""
    path = tmp_path / "arrivals"
    path.write_text(text)
    (replay,) = parse_loads(replay=path)
    assert replay.offsets == pytest.approx(offsets)
    assert replay.source == "arrivals"


@pytest.mark.parametrize(
    ("text", "message"), [("", "no arrivals"), ("1\nsoon\n", "'soon'"), ("[1,", "cannot be read"), ("nan", "nan")]
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A line that is not a time is quoted, and the hint says what is one."""
    path = tmp_path / "arrivals"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        parse_loads(replay=path)
    assert "a line" in (caught.value.hint or "")
