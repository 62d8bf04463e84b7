"""A recorded load from a CSV file: one arrival a row, or the rate in each interval; told apart by the header."""

from __future__ import annotations

import csv
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve_deploy.errors import UsageError

# As often as the autoscaler looks.
_BIN_SECONDS = 15.0
_LULL_SECONDS = 300.0
_LONGEST_SECONDS = 31 * 86_400.0
_SMALLEST_BASE = 0.01
_TIMES = ("timestamp", "time", "arrival", "start")
_RATES = ("requests_per_second", "rate", "rps")
_COUNTS = ("requests", "count")
_HINT = (
    "give a header: timestamp for one arrival a row, or timestamp,requests_per_second (or timestamp,requests) for"
    " intervals; times in seconds or such as 2026-01-31T12:00:00"
)
Times = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """A load over time: from each of `starts`, in seconds from 0 on, the rate beside it in requests/s holds."""

    name: str
    starts: tuple[float, ...]
    rates: tuple[float, ...]
    seconds: float

    def rate(self, second: float) -> float:
        """Requests/s at that time."""
        return self.rates[max(0, bisect_right(self.starts, second) - 1)]

    @property
    def base_rate(self) -> float:
        """The lowest rate over five minutes, but at least a hundredth of the highest: a fleet cannot grow from none."""
        return max(min(self._means()), _SMALLEST_BASE * self.peak_rate)

    @property
    def peak_rate(self) -> float:
        """The highest rate over five minutes."""
        return max(self._means())

    def _means(self) -> list[float]:
        """Of every five minutes, whenever they begin; of all of a shorter trace."""
        span = min(_LULL_SECONDS, self.seconds)
        begins = np.append(np.arange(0.0, self.seconds - span, _BIN_SECONDS), self.seconds - span)
        bounds = np.append(self.starts, self.seconds)
        passed = _count_until(begins + span, bounds, self.rates) - _count_until(begins, bounds, self.rates)
        return [float(mean) for mean in passed / span]


def _count_until(times: Times, bounds: Times, rates: Sequence[float] | Times) -> Times:
    """Requests until each of the times, where the rates hold between the bounds."""
    passed = np.concatenate(([0.0], np.cumsum(np.diff(bounds) * rates)))
    return np.interp(times, bounds, passed)


def read_trace(path: Path) -> Trace:
    """Read a trace; UsageError names the line that is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _read_rows(file)
            line, header = next(rows, (0, []))
            if not header:
                raise UsageError(f"`trace={path}` is empty", hint=_HINT)
            return _read_body(path, line, header, rows)
    except OSError as error:
        raise UsageError(f"`trace={path}` cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"`trace={path}` is not text in UTF-8", hint=_HINT) from error
    except csv.Error as error:
        raise UsageError(f"`trace={path}` is not CSV: {error}", hint=_HINT) from error


def _read_rows(file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file, skipinitialspace=True)
    for cells in reader:
        if any(cell.strip() for cell in cells) and not cells[0].startswith("#"):
            yield reader.line_num, [cell.strip() for cell in cells]


def _read_body(path: Path, line: int, header: list[str], rows: Iterator[tuple[int, list[str]]]) -> Trace:
    names = [cell.lower() for cell in header]
    time = next((names.index(name) for name in _TIMES if name in names), None)
    if time is None and len(header) == 1 and _is_time(header[0]):
        # As serve loadtest --replay takes it: arrivals without a header.
        return _count_arrivals(path, [_read_time(path, line, header, 0), *_read_times(path, rows, 0)])
    if time is None:
        raise UsageError(f"`trace={path}`, line {line}: no column is called {' or '.join(_TIMES)}", hint=_HINT)
    value = next((names.index(name) for name in (*_RATES, *_COUNTS) if name in names), None)
    if value is None:
        return _count_arrivals(path, _read_times(path, rows, time))
    return _read_intervals(path, rows, time, value, counted=names[value] in _COUNTS)


def _read_times(path: Path, rows: Iterator[tuple[int, list[str]]], column: int) -> array[float]:
    return array("d", (_read_time(path, line, cells, column) for line, cells in rows))


def _count_arrivals(path: Path, times: Sequence[float]) -> Trace:
    if len(times) < 2:
        raise UsageError(f"`trace={path}` has fewer than two arrivals", hint=_HINT)
    arrivals = np.sort(np.asarray(times))
    arrivals -= arrivals[0]
    _check_length(path, arrivals[-1])
    count = max(1, math.ceil(arrivals[-1] / _BIN_SECONDS))
    counts = np.bincount(np.minimum(arrivals // _BIN_SECONDS, count - 1).astype(int), minlength=count)
    starts = tuple(_BIN_SECONDS * index for index in range(count))
    return Trace(path.name, starts, tuple(map(float, counts / _BIN_SECONDS)), _BIN_SECONDS * count)


def _read_intervals(
    path: Path, rows: Iterator[tuple[int, list[str]]], time: int, value: int, *, counted: bool
) -> Trace:
    starts, values = array("d"), array("d")
    for line, cells in rows:
        start = _read_time(path, line, cells, time)
        if starts and start <= starts[-1]:
            raise UsageError(
                f"`trace={path}`, line {line}: the time does not go on",
                hint="sort the trace by time, and give its times their zone where clocks were put back",
            )
        starts.append(start)
        values.append(_read_number(path, line, cells, value))
    if len(starts) < 2:
        raise UsageError(f"`trace={path}` has fewer than two intervals", hint=_HINT)
    offsets = np.asarray(starts) - starts[0]
    lengths = np.append(np.diff(offsets), offsets[-1] - offsets[-2])
    seconds = float(offsets[-1] + lengths[-1])
    _check_length(path, seconds)
    if seconds < _BIN_SECONDS:
        raise UsageError(f"`trace={path}` lasts {seconds:g} s, and 15 are the fewest", hint=_HINT)
    rates = np.asarray(values) / lengths if counted else np.asarray(values)
    if not rates.any():
        raise UsageError(f"`trace={path}` has no request in it")
    return _in_steps(path.name, offsets, rates, seconds)


def _in_steps(name: str, offsets: Times, rates: Times, seconds: float) -> Trace:
    """The mean rate of each step: one that changes within a step would be seen only where the replay looks."""
    if (offsets % _BIN_SECONDS).any():
        bounds = np.append(offsets, seconds)
        edges = np.append(np.arange(0.0, seconds, _BIN_SECONDS), seconds)
        offsets, rates = edges[:-1], np.diff(_count_until(edges, bounds, rates)) / np.diff(edges)
    return Trace(name, tuple(map(float, offsets)), tuple(map(float, rates)), seconds)


def _check_length(path: Path, seconds: float) -> None:
    if seconds > _LONGEST_SECONDS:
        raise UsageError(
            f"`trace={path}` lasts {seconds / 86_400:,.0f} days, and 31 are the most",
            hint="numbers are seconds: divide milliseconds by 1000",
        )


def _read_time(path: Path, line: int, cells: Sequence[str], column: int) -> float:
    text = _cell(path, line, cells, column)
    try:
        return _seconds(text)
    except ValueError:
        raise UsageError(f"`trace={path}`, line {line}: '{text[:60]}' is not a time", hint=_HINT) from None


def _read_number(path: Path, line: int, cells: Sequence[str], column: int) -> float:
    text = _cell(path, line, cells, column)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(f"`trace={path}`, line {line}: '{text[:60]}' is not a number from 0 on", hint=_HINT)
    return value


def _cell(path: Path, line: int, cells: Sequence[str], column: int) -> str:
    if column >= len(cells):
        raise UsageError(f"`trace={path}`, line {line}: too few columns", hint=_HINT)
    return cells[column]


def _is_time(text: str) -> bool:
    try:
        return math.isfinite(_seconds(text))
    except ValueError:
        return False


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(value):
        raise ValueError(text)
    return value
