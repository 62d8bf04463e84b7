"""Operators that move, add, drop and repeat axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.folding import LARGEST
from serve_deploy.batch_axis.positions import keep_columns, span_of
from serve_deploy.batch_axis.rules.elementwise import baked_in
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import Size, UndecidedError, counts_rows, divide, product
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
    keep_columns(value, len(shape), last_stays=shape[-1:] == value.known_shape[-1:])
    return replace(value, shape=shape, rows=_regroup(value, shape, counting[0]))


def _regroup(value: Value, shape: Shape, axis: int) -> Rows:
    """Where the rows lie after a reshape, from their stride in memory."""
    try:
        stride, inner = row_stride(value), plain_size(product(shape[axis + 1 :]))
        size = shape[axis]
        if inner and not stride % inner and not size.constant and not size.per_row % (stride // inner):
            return Rows(axis, stride // inner)
    except UndecidedError:
        pass
    if product(value.known_shape) != product(shape):
        raise NotUnderstoodError("reshapes to a shape that is not understood")
    sizes = ", ".join(map(str, shape))
    raise MixesError(f"reshapes across the rows of the batch, to [{sizes}]", _FREE_BATCH)


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
    keep_columns(value, value.rank, last_stays=order[-1] == value.rank - 1)
    return replace(value, shape=shape, rows=on_axis(value, order.index(value.rows.axis)))


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
    keep_columns(value, value.rank, last_stays=value.rank - 1 not in axes)
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
    keep_columns(value, rank, last_stays=rank - 1 not in axes)
    return replace(value, shape=shape, rows=on_axis(value, kept[value.rows.axis]))


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
        return replace(repeated(shape), span=span_of(value))
    axis = value.rows.axis + rank - value.rank
    if any(counts_rows(size) for position, size in enumerate(shape) if position != axis):
        raise NotUnderstoodError("repeats the rows once for each row")
    if new[axis] != 1 and new[axis] != old[axis]:
        raise baked_in(new[axis])
    keep_columns(value, rank, last_stays=shape[-1:] == old[-1:])
    return replace(value, shape=shape, rows=on_axis(value, axis))


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


RULES: dict[str, Rule] = {
    "Expand": expand,
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
