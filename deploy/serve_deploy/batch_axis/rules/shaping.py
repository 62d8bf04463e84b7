"""Operators that move, cut, join and repeat axes without computing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serve_deploy.batch_axis.calls import Call, with_size
from serve_deploy.batch_axis.folding import LARGEST
from serve_deploy.batch_axis.rules.elementwise import baked_in
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import UNKNOWN, Size, UndecidedError, counts_rows, divide, product
from serve_deploy.batch_axis.values import (
    MixesError,
    NotUnderstoodError,
    Rows,
    Shape,
    Value,
    fixed,
    known,
    normal_axis,
    on_axis,
    plain_size,
    repeated,
    row_stride,
    rows_of,
)

_FREE_BATCH = "export the model again with a batch axis that is free (dynamic)"


def reshaped(value: Value, shape: Shape) -> Value:
    """The same elements in the same order under another shape."""
    if value.content is not None and not any(isinstance(size, Size) for size in shape):
        return known(value.content.reshape([int(size) for size in shape]))
    if value.rows is None:
        return replace(value, shape=shape, content=None)
    counting = [axis for axis, size in enumerate(shape) if counts_rows(size)]
    if not counting:
        raise MixesError("is made for a batch of a fixed size: it reshapes the rows to a fixed shape", _FREE_BATCH)
    if len(counting) > 1:
        raise NotUnderstoodError("reshapes to a shape in which the size of the batch is more than once")
    return Value(shape, _regroup(value, shape, counting[0]))


def _regroup(value: Value, shape: Shape, axis: int) -> Rows:
    """Where the rows lie after a reshape, from their stride in memory."""
    try:
        stride, inner = row_stride(value), plain_size(product(shape[axis + 1 :]))
        size = shape[axis]
        if inner and not stride % inner and not size.constant and not size.per_row % (stride // inner):
            return Rows(axis, stride // inner, _numbers(value, shape))
    except UndecidedError:
        pass
    if product(value.known_shape) != product(shape):
        raise NotUnderstoodError("reshapes to a shape that is not understood")
    sizes = ", ".join("N" if counts_rows(size) else str(plain_size(size)) for size in shape)
    raise MixesError(f"reshapes across the rows of the batch, to [{sizes}]", _FREE_BATCH)


def _numbers(value: Value, shape: Shape) -> tuple[bool, ...]:
    numbers = rows_of(value).numbers
    if len(set(numbers)) > 1 and shape[-1:] != value.known_shape[-1:]:
        raise NotUnderstoodError("reshapes a list of positions")
    return numbers


def target_shape(value: Value, target: Sequence[Any], *, allow_zero: bool = False) -> Shape:
    """The shape that Reshape is asked for, with its 0 and -1 replaced."""
    shape = [value.known_shape[axis] if _is(size, 0) and not allow_zero else size for axis, size in enumerate(target)]
    if not any(_is(size, -1) for size in shape):
        return tuple(shape)
    free = next(axis for axis, size in enumerate(shape) if _is(size, -1))
    try:
        rest = product(size for axis, size in enumerate(shape) if axis != free)
        shape[free] = divide(product(value.known_shape), rest)
        if value.rows is not None and not counts_rows(shape[free]) and not any(map(counts_rows, shape)):
            raise UndecidedError
    except UndecidedError:
        raise NotUnderstoodError("reshapes to a shape that is not understood") from None
    return tuple(shape)


def _is(size: Any, number: int) -> bool:
    return not isinstance(size, Size) and size == number


def reshape(call: Call) -> Value:
    """Reshape, whose target may be an attribute in old opsets."""
    call.read.add(0)
    if call[0].rows is None and call.get(1) is not None and call[1].content is None and not call[1].counted:
        return fixed(counted=call[0].counted)
    target = call.needed(1, "shape")
    shape = target_shape(call[0], target, allow_zero=bool(call.attribute("allowzero", 0)))
    return reshaped(call[0], shape)


def flatten(call: Call) -> Value:
    """Flatten to two axes."""
    axis, shape = call.axis(1), call[0].known_shape
    call.read.add(0)
    return reshaped(call[0], (product(shape[:axis]), product(shape[axis:])))


def transpose(call: Call) -> Value:
    """Transpose."""
    value = call[0]
    order = call.attribute("perm") or list(range(value.rank))[::-1]
    shape = tuple(value.known_shape[axis] for axis in order)
    if value.rows is None:
        call.read.add(0)
        return known(value.content.transpose(order)) if value.content is not None else fixed(shape)
    if len(set(value.rows.numbers)) > 1:
        raise NotUnderstoodError("transposes a list of positions")
    return Value(shape, on_axis(value, order.index(value.rows.axis)))


def squeeze(call: Call) -> Value:
    """Squeeze; without axes it drops every axis of size 1, which the batch axis is in a batch of 1."""
    value = call[0]
    call.read.add(0)
    given = call.integers(1, "axes")
    if given is None:
        axes = [axis for axis, size in enumerate(value.known_shape) if _is(size, 1)]
        if value.rows is not None and value.known_shape[value.rows.axis] == Size(0, 1):
            raise NotUnderstoodError("drops every axis of size 1, so also the batch axis of a single row")
    else:
        axes = [normal_axis(int(axis), value.rank) for axis in given]
    if value.rows is not None and value.rows.axis in axes:
        raise MixesError("is made for a batch of 1: it drops the batch axis", _FREE_BATCH)
    shape = tuple(size for axis, size in enumerate(value.known_shape) if axis not in axes)
    if value.content is not None:
        return known(value.content.reshape(shape))
    return replace(_without_axes(value, axes), shape=shape)


def _without_axes(value: Value, axes: Sequence[int]) -> Value:
    if value.rows is None:
        return value
    return replace(value, rows=on_axis(value, value.rows.axis - sum(axis < value.rows.axis for axis in axes)))


def unsqueeze(call: Call) -> Value:
    """Unsqueeze."""
    value, given = call[0], call.integers(1, "axes")
    call.read.add(0)
    if given is None:
        raise NotUnderstoodError("adds axes that are not known")
    rank = value.rank + len(given)
    axes = sorted(normal_axis(int(axis), rank) for axis in given)
    sizes = iter(value.known_shape)
    shape = tuple(1 if axis in axes else next(sizes) for axis in range(rank))
    if value.content is not None:
        return known(value.content.reshape(shape))
    if value.rows is None:
        return replace(value, shape=shape)
    kept = [axis for axis in range(rank) if axis not in axes]
    rows = replace(value.rows, axis=kept[value.rows.axis])
    if len(set(rows.numbers)) > 1 and rank - 1 in axes:
        raise NotUnderstoodError("adds an axis to a list of positions")
    return Value(shape, rows)


def expand(call: Call) -> Value:
    """Expand: broadcast to a shape."""
    value = call[0]
    target = call.needed(1, "shape")
    rank = max(value.rank, len(target))
    old = (1,) * (rank - value.rank) + value.known_shape
    new = [1] * (rank - len(target)) + list(target)
    shape = tuple(b if _is(a, 1) else a for a, b in zip(old, new, strict=True))
    if value.content is not None:
        call.read.add(0)
        plain = [size for size in shape if not isinstance(size, Size)]
        if len(plain) == rank and product(plain) <= LARGEST:
            return known(np.broadcast_to(value.content, [int(size) for size in shape]))
        if value.counted:
            return fixed(shape, counted=True)
    if value.rows is None:
        return repeated(shape)
    axis = value.rows.axis + rank - value.rank
    if any(counts_rows(size) for position, size in enumerate(shape) if position != axis):
        raise NotUnderstoodError("repeats the rows once for each row")
    if new[axis] != 1 and new[axis] != old[axis]:
        raise baked_in(new[axis])
    return Value(shape, replace(value.rows, axis=axis))


def tile(call: Call) -> Value:
    """Tile: repeat along axes."""
    value, repeats = call[0], call.needed(1, "repeats")
    if value.content is not None and not any(isinstance(number, Size) for number in repeats):
        call.read.add(0)
        return known(np.tile(value.content, [int(number) for number in repeats]))
    try:
        shape = tuple(size * number for size, number in zip(value.known_shape, repeats, strict=True))
    except UndecidedError:
        raise NotUnderstoodError("repeats the rows once for each row") from None
    if value.rows is not None:
        if any(map(counts_rows, repeats)):
            raise NotUnderstoodError("repeats the rows once for each row")
        return Value(shape, value.rows)
    result = repeated(shape)
    if result.rows is not None and not _is(value.known_shape[result.rows.axis], 1):
        return replace(result, rows=replace(result.rows, after=value.known_shape[result.rows.axis]))
    return result


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
    rows = {replace(rows_of(part), numbers=()) for part in batched}
    if len(rows) > 1:
        raise NotUnderstoodError("joins rows that lie in a different order")
    place = rows.pop()
    for part in parts:
        if part.rows is None and not counts_rows(part.known_shape[place.axis]):
            raise baked_in(part.known_shape[place.axis])
    kept = replace(batched[0], shape=with_size(batched[0].known_shape, axis, total))
    return replace(kept, rows=replace(place, numbers=_join_numbers(parts, axis)), content=None)


def _join_numbers(parts: Sequence[Value], axis: int) -> tuple[bool, ...]:
    """Which columns of the last axis hold row numbers."""
    marks = [part.rows.numbers if part.rows is not None else () for part in parts]
    if not any(marks):
        return ()
    columns: list[bool] = []
    for part, mark in zip(parts, marks, strict=True):
        width = part.known_shape[-1]
        if axis != part.rank - 1 or isinstance(width, Size):
            raise NotUnderstoodError("joins numbers of rows with other values")
        columns += mark * width if len(mark) == 1 else mark or [False] * width
    return tuple(columns)


def _stack_batches(parts: Sequence[Value], shape: Shape, axis: int) -> Value:
    if any(part.rows is None or part.rows.axis != axis for part in parts):
        raise NotUnderstoodError("joins the rows of the batch with something else")
    if len({rows_of(part) for part in parts}) > 1:
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
    block = Size(0, value.rows.after)
    if _is_multiple(start, block) and counts_rows(length) and _is_multiple(length, block):
        return replace(value, shape=shape)
    if counts_rows(length):
        raise MixesError("takes some rows of the batch only")
    raise MixesError(f"takes rows {start} to {end} of the batch" if length != 1 else f"takes row {start} of the batch")


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
        if not isinstance(bound, Size) and bound >= 2**31 - 1:
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
        if value.rows is not None and value.rows.axis == axis and not (_is(before, 0) and _is(after, 0)):
            raise MixesError("adds rows to the batch, or takes some away")
        shape[axis] = shape[axis] + before + after
    return Value(tuple(shape), value.rows)


RULES: dict[str, Rule] = {
    "Concat": concat,
    "Expand": expand,
    "Flatten": flatten,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
