"""Recorded loads in CSV files: told apart by their header, and refused with file and line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import UsageError
from serve_deploy.planning.arrival_traces import Trace, read_trace


def read(folder: Path, text: str | bytes) -> Trace:
    path = folder / "trace.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_trace(path)


@pytest.mark.parametrize(
    "text",
    [
        "timestamp\n0\n3\n7.5\n14\n16\n29",
        "Time, user\n100, a\n103, b\n107.5, c\n114, d\n116, e\n129, f\n",
        "0\n3\n7.5\n14\n16\n29\n",
        "# recorded on Monday\n\ntimestamp\n29\n0\n3\n16\n7.5\n14\n",
        "timestamp\n2026-01-31T12:00:00\n2026-01-31T12:00:03Z\n2026-01-31T12:00:07.5\n2026-01-31T13:00:14+01:00\n"
        "2026-01-31T12:00:16\n2026-01-31T12:00:29\n",
    ],
    ids=["seconds", "other columns", "no header", "unsorted, with a remark", "dates"],
)
def test_arrivals_are_counted_in_quarters_of_a_minute(tmp_path: Path, text: str) -> None:
    """Four arrivals in the first 15 s and two in the next are 0.267/s and 0.133/s."""
    trace = read(tmp_path, text)
    assert (trace.seconds, trace.starts) == (30.0, (0.0, 15.0))
    assert trace.rates == pytest.approx((4 / 15, 2 / 15))


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,requests_per_second\n0,10\n60,20\n120,5\n",
        "start,requests\n0,600\n60,1200\n120,300\n",
        "rps,time\n10,2026-01-31T00:00:00\n20,2026-01-31T00:01:00\n5,2026-01-31T00:02:00\n",
        "﻿timestamp,rate\r\n1000,10\r\n1060,20\r\n1120,5\r\n",
    ],
    ids=["rates", "counts", "other order", "from a spreadsheet"],
)
def test_a_rate_holds_until_the_next(tmp_path: Path, text: str) -> None:
    """The last one holds as long as the one before it."""
    trace = read(tmp_path, text)
    assert trace.seconds == 180.0
    assert [trace.rate(second) for second in (0, 59.9, 60, 119, 120, 179)] == [10, 10, 20, 20, 5, 5]


def test_base_and_peak_are_means_of_five_minutes(tmp_path: Path) -> None:
    """A moment of silence is no base, and a burst no peak: after 300 s at 10/s come 100 s at 40/s and 200 s at 10/s."""
    trace = read(tmp_path, "timestamp,rate\n0,10\n300,40\n400,10\n500,10\n")
    assert (trace.base_rate, trace.peak_rate) == pytest.approx((10.0, 20.0))


def test_a_peak_of_five_minutes_counts_whenever_it_begins(tmp_path: Path) -> None:
    """From 150 s to 450 s, and in the last minutes of a trace that ends in between."""
    assert read(tmp_path, "timestamp,rate\n0,10\n150,100\n450,10\n600,10\n").peak_rate == pytest.approx(100)
    assert read(tmp_path, "timestamp,rate\n0,10\n240,100\n390,100\n").peak_rate == pytest.approx(100)


def test_rates_that_change_within_a_step_are_averaged(tmp_path: Path) -> None:
    """A second in five at 1,000/s is 200/s whenever the replay looks."""
    rows = "".join(f"{second},{1000 if second % 5 == 4 else 0}\n" for second in range(60))
    trace = read(tmp_path, f"timestamp,rate\n{rows}")
    assert [trace.rate(second) for second in (0, 5, 10, 15, 55)] == pytest.approx([200] * 5)


def test_a_silent_night_leaves_a_base(tmp_path: Path) -> None:
    """A fleet cannot grow by a share of nothing, so that the base is at least a hundredth of the peak."""
    trace = read(tmp_path, "timestamp,rate\n0,0\n3600,100\n")
    assert (trace.base_rate, trace.peak_rate) == (1.0, 100.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("when,rate\n0,1\n", "line 1: no column is called timestamp or time or arrival or start"),
        ("timestamp\n0\nnoon\n", "line 3: 'noon' is not a time"),
        ("timestamp\n0\nnan\n", "line 3: 'nan' is not a time"),
        ("timestamp,rate\n0,1\n60,many\n", "line 3: 'many' is not a number from 0 on"),
        ("timestamp,rate\n0,1\n60,-1\n", "line 3: '-1' is not a number from 0 on"),
        ("timestamp,rate\n0,1\n60\n", "line 3: too few columns"),
        ("timestamp,rate\n60,1\n0,1\n", "line 3: the time does not go on"),
        ("timestamp,rate\n0,0\n60,0\n", "has no request in it"),
        ("timestamp\n5\n", "fewer than two arrivals"),
        ("timestamp,rate\n5,1\n", "fewer than two intervals"),
        ("timestamp,rate\n0,5\n2,5\n", "lasts 4 s, and 15 are the fewest"),
        ("timestamp\n1767225600000\n1767312000000\n", "lasts 1,000 days, and 31 are the most"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    """The message names the file, the line, and what stands there."""
    with pytest.raises(UsageError) as refused:
        read(tmp_path, text)
    assert "trace.csv" in refused.value.message
    assert message in refused.value.message


def test_clocks_that_are_put_back_are_told_from_disorder(tmp_path: Path) -> None:
    """With their zones the times go on; without, the hint says what may be the matter."""
    with pytest.raises(UsageError) as refused:
        read(tmp_path, "timestamp,rate\n2026-10-25T02:50,1\n2026-10-25T02:00,1\n")
    assert "zone" in (refused.value.hint or "")
    zoned = "timestamp,rate\n2026-10-25T02:50+02:00,1\n2026-10-25T02:00+01:00,1\n"
    assert read(tmp_path, zoned).starts == (0.0, 600.0)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It says that there is none."""
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")


@given(times=st.lists(st.floats(0, 86_400), min_size=2, max_size=50))
def test_no_arrival_is_lost(times: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the times are, and in whatever order, the rates add up to as many arrivals."""
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    text = "timestamp\n" + "".join(f"{start + time!r}\n" for time in times)
    trace = read(tmp_path_factory.mktemp("traces"), text)
    assert sum(trace.rates) * 15 == pytest.approx(len(times))
