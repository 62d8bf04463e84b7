"""Operators that join tensors, cut parts out of them and pad them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serve_deploy.batch_axis.calls import Call, with_size
from serve_deploy.batch_axis.positions import join_steps
from serve_deploy.batch_axis.rules.elementwise import baked_in
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import UNKNOWN, Size, UndecidedError, counts_rows, divide
from serve_deploy.batch_axis.values import (
    MixesError,
    NotUnderstoodError,
    Shape,
    Value,
    fixed,
    known,
    normal_axis,
    plain_size,
    rows_of,
)

_NO_SUCH_BATCH = 10**8  # rows: exporters write such numbers for the end of an axis


def concat(call: Call) -> Value:
    """Concat: along another axis than the rows', or whole batches one after the other."""
    parts = call.present
    axis = call.axis(0)
    call.read.update(range(len(call.inputs)))
    if all(part.content is not None for part in parts):
        return known(np.concatenate([part.content for part in parts if part.content is not None], axis))
    batched = [part for part in parts if part.rows is not None]
    shape = parts[0].known_shape
    total = 0
    for part in parts:
        total = total + part.known_shape[axis]
    shape = with_size(shape, axis, total)
    if not batched:
        return fixed(shape, counted=any(part.counted for part in parts))
    if any(part.counted for part in parts):
        raise MixesError("puts the number of rows beside the rows")
    if any(rows_of(part).axis == axis for part in batched):
        return _stack_batches(parts, shape, axis)
    rows = {rows_of(part) for part in batched}
    if len(rows) > 1:
        raise NotUnderstoodError("joins rows that lie in a different order")
    place = rows.pop()
    for part in parts:
        if part.rows is None and not counts_rows(part.known_shape[place.axis]):
            raise baked_in(part.known_shape[place.axis])
    steps = join_steps(parts, axis) if any(part.steps for part in parts) else ()
    return Value(shape, place, steps=steps)


def _stack_batches(parts: Sequence[Value], shape: Shape, axis: int) -> Value:
    if any(part.rows is None or part.rows.axis != axis for part in parts):
        raise NotUnderstoodError("joins the rows of the batch with something else")
    if len({rows_of(part) for part in parts}) > 1 or any(part.steps for part in parts):
        raise NotUnderstoodError("joins rows that lie in a different order")
    return Value(shape, parts[0].rows)


def split(call: Call) -> list[Value]:
    """Split into parts along an axis."""
    value, axis = call[0], call.axis(0)
    given = call.integers(1, "split")
    call.read.add(0)
    size = value.known_shape[axis]
    if given is None:
        count = call.attribute("num_outputs") or call.output_count
        try:
            part = divide(size, count)
        except UndecidedError:
            raise MixesError(f"splits the batch into {count} parts") from None
        given = [part] * (count - 1) + [size - part * (count - 1)]
    starts = [sum(given[:index], 0) for index in range(len(given))]
    return [cut(value, axis, start, start + length) for start, length in zip(starts, given, strict=True)]


def cut(value: Value, axis: int, start: Any, end: Any) -> Value:
    """The part of a tensor from start to end on one axis; None where these are not known."""
    size = value.known_shape[axis]
    length = UNKNOWN if start is None or end is None else end - start
    shape = with_size(value.known_shape, axis, length)
    if value.content is not None and not isinstance(length, Size):
        index = [slice(None)] * value.rank
        index[axis] = slice(int(start), int(end))
        return known(value.content[tuple(index)])
    if value.rows is None or value.rows.axis != axis:
        return replace(value, shape=shape, content=None)
    if length == size:
        return value
    if length is UNKNOWN:
        raise NotUnderstoodError("takes rows of the batch by bounds that are not understood")
    block = Size(0, value.rows.after)
    if _is_multiple(start, block) and counts_rows(length) and _is_multiple(length, block):
        return replace(value, shape=shape)
    if counts_rows(length):
        raise MixesError("takes some rows of the batch only")
    raise MixesError(
        f"takes rows {start} to {end - 1} of the batch" if length != 1 else f"takes row {start} of the batch"
    )


def _is_multiple(number: Any, block: Size) -> bool:
    return number == 0 or (isinstance(number, Size) and not number.constant and not number.per_row % block.per_row)


def slice_(call: Call) -> Value:
    """Slice: starts, ends, axes and steps are attributes in old opsets and inputs in new ones."""
    value = call[0]
    call.read.add(0)
    axes = call.integers(3, "axes")
    if axes is None:
        count = call[1].known_shape[0] if call.get(1) is not None else len(call.attributes["starts"])
        axes = list(range(count))
    steps = call.integers(4, "steps") or [1] * len(axes)
    starts, ends = (_bounds(call, 1, "starts"), _bounds(call, 2, "ends"))
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        value = _slice_axis(value, normal_axis(int(axis), value.rank), start, end, step)
    return value


def _bounds(call: Call, index: int, name: str) -> list[Any]:
    """The bounds, None for each that is not known."""
    if name in call.attributes or call[index].content is not None:
        return call.needed(index, name)
    value = call[index]
    if value.rows is not None:
        raise MixesError("takes its bounds for the whole batch from the rows")
    if value.counted:
        raise NotUnderstoodError("takes bounds that depend on the size of the batch")
    return [None] * int(value.known_shape[0])


def _slice_axis(value: Value, axis: int, start: Any, end: Any, step: Any) -> Value:
    size = value.known_shape[axis]
    on_batch = value.rows is not None and value.rows.axis == axis
    if step != 1:
        if on_batch:
            raise MixesError("reorders or skips rows of the batch")
        if value.content is not None and not any(isinstance(bound, Size) for bound in (start, end, step)):
            index = [slice(None)] * value.rank
            index[axis] = slice(start, None if end < -size else end, step)
            return known(value.content[tuple(index)])
        length = (
            UNKNOWN if None in (start, end) or isinstance(size, Size) else len(range(size)[slice(start, end, step)])
        )
        return replace(value, shape=with_size(value.known_shape, axis, length), content=None)
    return cut(value, axis, _clamped(start, size), _clamped(end, size))


def _clamped(bound: Any, size: Any) -> Any:
    """A bound counted from the front and within the axis."""
    if bound is None:
        return None
    try:
        plain = bound.constant + bound.per_row if isinstance(bound, Size) else bound
        if plain < 0:
            bound = bound + size
            smallest = bound.constant + bound.per_row if isinstance(bound, Size) else bound
            return 0 if smallest < 0 else bound
        if not isinstance(bound, Size) and bound >= _NO_SUCH_BATCH:
            return size
        if isinstance(size, Size) and size.per_row and not isinstance(bound, Size):
            return bound
        if isinstance(bound, Size) and bound.per_row:
            return bound
        return size if plain_size(bound) > plain_size(size) else bound
    except UndecidedError:
        return None


def pad(call: Call) -> Value:
    """Pad: on axes that the rows do not lie on."""
    value = call[0]
    pads = call.needed(1, "pads")
    axes = call.integers(3, "axes")
    call.needs_fixed(2)
    places = [normal_axis(int(axis), value.rank) for axis in axes] if axes else list(range(value.rank))
    shape = list(value.known_shape)
    for position, axis in enumerate(places):
        before, after = pads[position], pads[position + len(places)]
        if value.rows is not None and value.rows.axis == axis and (before, after) != (0, 0):
            raise MixesError("adds rows to the batch, or takes some away")
        shape[axis] = shape[axis] + before + after
    return Value(tuple(shape), value.rows)


RULES: dict[str, Rule] = {
    "Concat": concat,
    "Pad": pad,
    "Slice": slice_,
    "Split": split,
}
