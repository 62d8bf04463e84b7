"""Operators that pick elements by index, by condition or by score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.positions import points_within, span_of
from serve_deploy.batch_axis.rules.elementwise import align, baked_in
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import UNKNOWN, Size, counts_rows
from serve_deploy.batch_axis.values import (
    MixesError,
    NotUnderstoodError,
    Rows,
    Value,
    fixed,
    known,
    normal_axis,
    plain_size,
    rows_of,
)


def gather(call: Call) -> Value:
    """Gather: entries of one axis, by index."""
    data, indices = call[0], call[1]
    call.read.update((0, 1))
    if data.content is not None and indices.content is not None:
        axis = call.axis(0)
        places = [plain_size(index) for index in indices.content.flat]
        if None not in places:
            taken = np.take(data.content, np.array(places, dtype=int).reshape(indices.content.shape), axis)
            return known(np.asarray(taken, dtype=object))
    if data.shape is None and data.rows is None and indices.rows is None:
        return fixed(counted=data.counted or indices.counted)
    axis = call.axis(0)
    if data.rows is not None and data.rows.axis == axis:
        return _gather_own_row(data, indices, axis)
    if data.counted or indices.counted:
        raise NotUnderstoodError("picks by the size of the batch")
    if indices.steps:
        raise MixesError("looks up the number of the row in its batch")
    shape = (*data.known_shape[:axis], *indices.known_shape, *data.known_shape[axis + 1 :])
    if data.rows is not None and indices.rows is not None:
        raise MixesError("picks for each row from every row of the batch")
    if indices.rows is not None:
        return Value(shape, replace(indices.rows, axis=indices.rows.axis + axis))
    if data.rows is None:
        return fixed(shape)
    moved = data.rows.axis + (indices.rank - 1 if data.rows.axis > axis else 0)
    steps = data.steps
    if len(set(steps)) > 1:
        if axis != data.rank - 1 or indices.content is None or indices.rank:
            raise NotUnderstoodError("picks from a list of positions")
        steps = (steps[int(indices.content.item())],)
    return Value(shape, replace(data.rows, axis=moved), steps=steps, span=data.span)


def _gather_own_row(data: Value, indices: Value, axis: int) -> Value:
    """Gather on the axis of the rows, by an index that points into each row's own entries."""
    rows = rows_of(data)
    if not indices.steps:
        raise _picked_rows(indices)
    whole = data.known_shape[axis] == Size(0, rows.after)
    if not whole or indices.rows is None or indices.rows.after != 1 or not points_within(indices, rows.after):
        raise NotUnderstoodError("picks by numbers of rows, which may point into another row")
    shape = (*data.known_shape[:axis], *indices.known_shape, *data.known_shape[axis + 1 :])
    return Value(shape, replace(indices.rows, axis=indices.rows.axis + axis))


def _picked_rows(indices: Value) -> MixesError:
    if indices.rows is not None or indices.content is None:
        return MixesError("picks rows of the batch by computed numbers")
    places = list(indices.content.flat)
    text = ", ".join(map(str, places[:4])) + (", …" if len(places) > 4 else "")
    return MixesError(f"takes row {text} of the batch" if len(places) == 1 else f"takes rows {text} of the batch")


def gather_elements(call: Call) -> Value:
    """GatherElements: along one axis, by an index for each element."""
    return _elements(call[0], [call[1]], call.axis(0))


def scatter_elements(call: Call) -> Value:
    """ScatterElements: like GatherElements, the other way round."""
    result = _elements(call[0], [call[1], call[2]], call.axis(0))
    return replace(result, shape=call[0].shape)


def _elements(data: Value, others: Sequence[Value], axis: int) -> Value:
    shape = others[0].shape
    batched = [value for value in (data, *others) if value.rows is not None]
    if not batched:
        return fixed(shape)
    places = {rows_of(value) for value in batched}
    if any(place.axis == axis for place in places):
        raise MixesError("picks along the batch axis")
    if len(places) > 1:
        raise NotUnderstoodError("picks from rows that lie in a different order")
    (place,) = places
    for value in (data, *others):
        size = value.known_shape[place.axis]
        if value.rows is None and not counts_rows(size):
            raise MixesError(f"takes row 0 of the batch: an operand has {size} entries on the batch axis")
    return Value(shape, place)


def gather_nd(call: Call) -> Value:
    """GatherND: by lists of indices, one for each of the first axes."""
    data, indices, batch_dims = call[0], call[1], call.attribute("batch_dims", 0)
    depth = indices.known_shape[-1]
    if isinstance(depth, Size):
        raise NotUnderstoodError("picks by lists of unknown length")
    last = batch_dims + depth
    shape = (*indices.known_shape[:-1], *data.known_shape[last:])
    if indices.rows is not None and indices.rows.axis == indices.rank - 1:
        raise MixesError("uses a row of the batch as an index")
    if data.rows is None:
        if indices.steps:
            raise MixesError("looks up the number of the row in its batch")
        return Value(shape, indices.rows) if indices.rows is not None else fixed(shape)
    if indices.rows is None:
        if data.rows.axis < last:
            raise MixesError("takes rows of the batch by their numbers")
        return Value(shape, replace(data.rows, axis=data.rows.axis - last + indices.rank - 1))
    _require_own_row(data.rows, indices, depth, batch_dims)
    return Value(shape, indices.rows)


def _require_own_row(data: Rows, indices: Value, depth: int, batch_dims: int) -> None:
    """Raise where a list of indices may point to another row than the one that it belongs to."""
    if data.axis < batch_dims:
        if indices.rows == data and not indices.steps:
            return
        raise NotUnderstoodError("picks from rows that lie in a different order")
    steps = indices.steps * depth if len(indices.steps) == 1 else indices.steps or (0,) * depth
    column = data.axis - batch_dims
    if column >= depth:
        raise MixesError("picks for each row from every row of the batch")
    if not steps[column]:
        raise MixesError("picks rows of the batch by computed numbers")
    if len(indices.steps) == 1 and span_of(indices) != (0, 0):
        raise NotUnderstoodError("picks by numbers of rows, which may point into another row")
    if steps[column] != 1 or sum(steps) != 1 or data.after != 1 or rows_of(indices).after != 1:
        raise NotUnderstoodError("picks by numbers of rows in a form that is not understood")


def scatter_nd(call: Call) -> Value:
    """ScatterND: like GatherND, the other way round."""
    data, indices, updates = call[0], call[1], call[2]
    if data.rows is None and indices.rows is None and updates.rows is None:
        return fixed(data.shape)
    depth = indices.known_shape[-1]
    if isinstance(depth, Size) or data.rows is None:
        raise NotUnderstoodError("writes rows into a tensor in a form that is not understood")
    if indices.rows is None:
        if data.rows.axis < depth:
            raise MixesError("writes to rows of the batch by their numbers")
        place = data.rows.axis - depth + indices.rank - 1
        if updates.rows is not None and updates.rows != replace(data.rows, axis=place):
            raise NotUnderstoodError("writes rows that lie in a different order")
        if updates.rows is None and not counts_rows(updates.known_shape[place]):
            raise baked_in(updates.known_shape[place])
        return data
    _require_own_row(data.rows, indices, depth, 0)
    if updates.rows is not None and updates.rows.axis != indices.rows.axis:
        raise NotUnderstoodError("writes rows that lie in a different order")
    return data


def one_hot(call: Call) -> Value:
    """OneHot: a new axis with a one at each index."""
    indices, depth = call[0], call.get(1)
    rank = indices.rank + 1
    axis = normal_axis(call.attribute("axis", -1), rank)
    call.needs_fixed(1, 2)
    size = depth.content.item() if depth is not None and depth.content is not None else UNKNOWN
    shape = (*indices.known_shape[:axis], size, *indices.known_shape[axis:])
    if indices.rows is None:
        return fixed(shape)
    return Value(shape, replace(indices.rows, axis=indices.rows.axis + (indices.rows.axis >= axis)))


def compress(call: Call) -> Value:
    """Compress: keep entries by a condition, which is the same for every row."""
    data, condition = call[0], call[1]
    axis = call.attribute("axis")
    if data.rows is not None and (axis is None or normal_axis(axis, data.rank) == data.rows.axis):
        raise MixesError("keeps some rows of the batch and drops others")
    if condition.rows is not None:
        raise MixesError("keeps or drops entries for the whole batch by a condition on its rows")
    if axis is None or data.rows is None:
        return fixed()
    shape = list(data.known_shape)
    shape[normal_axis(axis, data.rank)] = UNKNOWN
    return Value(tuple(shape), data.rows)


def non_zero(call: Call) -> Value:
    """NonZero: places, of as many elements as there are in the whole batch."""
    if call[0].rows is not None:
        raise NotUnderstoodError("lists places in the whole batch; how many there are depends on every row")
    return fixed()


def non_max_suppression(call: Call) -> Value:
    """NonMaxSuppression: one list of boxes for the whole batch."""
    if any(value.rows is not None for value in call.present):
        raise NotUnderstoodError("lists the boxes of the whole batch together")
    return fixed()


def reverse_sequence(call: Call) -> Value:
    """ReverseSequence: each row to its own length."""
    value, lengths = call[0], call[1]
    if value.rows is None and lengths.rows is None:
        return fixed(value.shape)
    if value.rows is None or value.rows.axis != call.attribute("batch_axis", 1):
        raise MixesError("reverses along the batch axis")
    if lengths.rows is not None:
        moved = replace(lengths, shape=(lengths.known_shape[0],), rows=lengths.rows)
        align(
            [moved, replace(value, shape=(value.known_shape[value.rows.axis],), rows=replace(value.rows, axis=0))],
            (value.known_shape[value.rows.axis],),
        )
    elif not counts_rows(lengths.known_shape[0]):
        raise baked_in(lengths.known_shape[0])
    return Value(value.shape, value.rows)


RULES: dict[str, Rule] = {
    "Compress": compress,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "NonMaxSuppression": non_max_suppression,
    "NonZero": non_zero,
    "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
}
