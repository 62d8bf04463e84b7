"""Traces of requests to language models: when each arrived, how long question and answer were. They hold no text."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serve_deploy.errors import UsageError
from serve_deploy.prompts.records import locate, read_records, read_value
from serve_deploy.prompts.shapes import ShapeError, read_token_count, show
from serve_deploy.prompts.synthetic import BLOCK_TOKENS

MOST_REQUESTS = 1_000_000
_TIMES = ("timestamp",)
_INPUTS = ("input_length", "contexttokens", "request tokens", "input_tokens")
_OUTPUTS = ("output_length", "generatedtokens", "response tokens", "output_tokens")
_HINT = (
    "give Mooncake's JSON lines (timestamp in ms, input_length, output_length), "
    "or Azure's CSV (TIMESTAMP, ContextTokens, GeneratedTokens)"
)


@dataclass(frozen=True)
class Trace:
    """Arrivals in seconds from the first one, lengths in tokens, and hash ids: empty where a request has none."""

    arrivals: array[float] = field(default_factory=lambda: array("d"))
    input_tokens: array[int] = field(default_factory=lambda: array("q"))
    output_tokens: array[int] = field(default_factory=lambda: array("q"))
    blocks: list[array[int]] = field(default_factory=list)


def read_trace(
    path: Path, *, speed: float = 1.0, duration_seconds: float | None = None, requests: int | None = None
) -> Trace:
    """Read a trace up to so many requests, and so many seconds at that speed; UsageError names line and field.

    A number is a time in milliseconds in JSON, and in seconds in CSV; a text is a date and time.
    """
    trace, first = Trace(), math.nan
    most = MOST_REQUESTS + 1 if requests is None else requests
    for line, row in _read_rows(path):
        try:
            request = _read_request(row)
        except ShapeError as error:
            raise UsageError(f"{locate(path, 'trace', line)} {error}", hint=error.hint) from error
        first = first if trace.arrivals else request.seconds
        arrival = (request.seconds - first) / speed
        if trace.arrivals and arrival < trace.arrivals[-1]:
            raise UsageError(f"{locate(path, 'trace', line)} the time goes back", hint="sort the trace by time")
        if len(trace.arrivals) == most or arrival >= (duration_seconds or math.inf):
            break
        trace.arrivals.append(arrival)
        trace.input_tokens.append(request.input_tokens)
        trace.output_tokens.append(request.output_tokens)
        trace.blocks.append(request.blocks)
    if not trace.arrivals:
        raise UsageError(f"`trace={path}` has no requests", hint=_HINT)
    if len(trace.arrivals) > MOST_REQUESTS:
        raise UsageError(
            f"`trace={path}` has more than {MOST_REQUESTS:,} requests",
            hint="limit it by `duration_seconds` or `requests`",
        )
    return trace


@dataclass(frozen=True, slots=True)
class _Request:
    seconds: float
    input_tokens: int
    output_tokens: int
    blocks: array[int]


def _read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line and fields of each request."""
    header: Sequence[str] = ()
    for record in read_records(path, "trace"):
        if record.is_json:
            value = read_value(path, "trace", record)
            if not isinstance(value, dict):
                raise UsageError(f"{locate(path, 'trace', record.line)} not a request", hint=_HINT)
            yield record.line, value
        elif not header:
            header = next(csv.reader([record.text], skipinitialspace=True))
        else:
            cells = next(csv.reader([record.text], skipinitialspace=True))
            yield record.line, dict(zip(header, cells, strict=False))


def _read_request(row: Mapping[str, Any]) -> _Request:
    fields = {key.strip().lower(): (key, value) for key, value in row.items()}
    inputs, outputs = (
        read_token_count(key, _number(value)) for key, value in (_find(fields, _INPUTS), _find(fields, _OUTPUTS))
    )
    return _Request(_read_time(*_find(fields, _TIMES)), inputs, outputs, _read_blocks(row.get("hash_ids"), inputs))


def _find(fields: Mapping[str, tuple[str, Any]], names: Sequence[str]) -> tuple[str, Any]:
    for name in names:
        if name in fields:
            return fields[name]
    raise ShapeError(f"there is no {names[0]}", _HINT)


def _number(value: Any) -> Any:
    """A number that a table holds as text; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _read_time(key: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    seconds = value / 1000 if is_number else _number(value)
    if isinstance(seconds, str):
        try:
            moment = datetime.fromisoformat(seconds)
        except ValueError:
            raise ShapeError(f"{key} is {show(value)}, which is not a time", _HINT) from None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not isinstance(seconds, float) or not math.isfinite(seconds):
        raise ShapeError(f"{key} is {show(value)}, which is not a time", _HINT)
    return seconds


def _read_blocks(ids: Any, input_tokens: int) -> array[int]:
    """As many hash ids as the input has blocks."""
    try:
        blocks = array("q", ids or ())
    except (TypeError, OverflowError):
        blocks = array("q", [-1])
    if any(number < 0 for number in blocks):
        raise ShapeError("hash_ids is not a list of whole numbers from 0 on")
    return blocks[: -(-input_tokens // BLOCK_TOKENS)]
