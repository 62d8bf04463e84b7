"""Numbers of rows: an index that a graph computes as step · row + own, and where such an index points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from serve_deploy.batch_axis.sizes import Size
from serve_deploy.batch_axis.values import NotUnderstoodError, Value, plain_size

Span = tuple[int, int]


def span_of(value: Value) -> Span | None:
    """The least and the largest of a value's own numbers, what the row's number adds left aside."""
    if value.content is None:
        return value.span
    numbers = [plain_size(number) for number in value.content.flat]
    if not numbers or not all(isinstance(number, int) for number in numbers):
        return None
    return min(numbers), max(numbers)


def with_positions(operator: str, inputs: Sequence[Value], result: Value) -> Value:
    """The result of an element-wise operator with what is known of it as an index; raises where it was one."""
    spans = [span_of(value) for value in inputs]
    steps = _steps(operator, inputs)
    if steps is None:
        raise NotUnderstoodError("computes with the number of a row in its batch")
    return replace(result, steps=steps, span=_span(operator, spans) if None not in spans else None)


def _steps(operator: str, inputs: Sequence[Value]) -> tuple[int, ...] | None:
    """How much each row adds; () for nothing, None where that is not known."""
    numbered = [value for value in inputs if value.steps]
    if not numbered:
        return ()
    if len(inputs) != 2 or any(len(set(value.steps)) > 1 for value in numbered):
        return None
    left, right = (value.steps[0] if value.steps else 0 for value in inputs)
    factor = _factor(inputs)
    if operator == "Add":
        step = left + right
    elif operator == "Sub":
        step = left - right
    elif operator == "Mul" and factor is not None:
        step = (left + right) * factor
    else:
        return None
    return (step,) if step else ()


def _factor(inputs: Sequence[Value]) -> int | None:
    """The one constant that numbers of rows are multiplied by."""
    for value in inputs:
        if not value.steps and value.content is not None and value.content.size == 1:
            number = value.content.item()
            plain = None if isinstance(number, float) else plain_size(number)
            return plain if isinstance(plain, int) else None
    return None


def _span(operator: str, spans: Sequence[Any]) -> Span | None:
    if len(spans) != 2:
        return None
    (a, b), (c, d) = spans
    if operator == "Add":
        return a + c, b + d
    if operator == "Sub":
        return a - d, b - c
    if operator == "Mul":
        ends = (a * c, a * d, b * c, b * d)
        return min(ends), max(ends)
    return None


def join_steps(parts: Sequence[Value], axis: int) -> tuple[int, ...]:
    """The steps of values that are joined: one for all, or one for each column of the last axis."""
    if len({part.steps for part in parts}) == 1 and len(set(parts[0].steps)) < 2:
        return parts[0].steps
    columns: list[int] = []
    for part in parts:
        width = part.known_shape[-1]
        if axis != part.rank - 1 or isinstance(width, Size):
            raise NotUnderstoodError("joins numbers of rows with other values")
        if part.steps and span_of(part) != (0, 0) and len(part.steps) == 1:
            raise NotUnderstoodError("joins numbers of rows with other values")
        columns += part.steps if len(part.steps) > 1 else (part.steps or (0,)) * width
    return tuple(columns)


def keep_columns(value: Value, rank: int, *, last_stays: bool) -> None:
    """Raise where a list of positions would lose its last axis."""
    if len(set(value.steps)) > 1 and not (last_stays and rank):
        raise NotUnderstoodError("rearranges a list of positions")


def points_within(value: Value, step: int) -> bool:
    """Whether each index points into the `step` entries of its own row."""
    span = span_of(value)
    return value.steps == (step,) and span is not None and span[0] >= 0 and span[1] < step
