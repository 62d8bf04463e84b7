"""What is known of a tensor: its shape, where the rows of the batch are in it, and what small numbers it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from serve_deploy.batch_axis.sizes import Number, Size, UndecidedError, counts_rows, product
from serve_deploy.batch_axis.witness import Cause

Array = np.ndarray[Any, Any]
Shape = tuple[Number, ...]


class MixesError(Exception):
    """The rows of the batch influence each other here."""

    def __init__(self, reason: str, next_step: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_step = next_step


class NotUnderstoodError(MixesError):
    """What becomes of the rows is not known here."""


class SortedError(MixesError):
    """The rows are put into another order here, from which a later operator may put them back."""


class RandomError(NotUnderstoodError):
    """Random numbers are drawn here, whatever the inputs are."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows lie on `axis`, whose index runs over (before, row, after): batch-major blocks where before is 1."""

    axis: int
    after: int = 1


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor. Without `rows` it is the same in every batch, unless it is `counted` from the number of rows.

    `shape` is None where not even the rank is known. `content` holds numbers and Sizes (dtype object). `steps` is what
    the number of a row in its batch adds to an index, () for nothing: one step for all, or one for each column of the
    last axis. `span` is the least and the largest of the whole numbers in it, where that is known.
    """

    shape: Shape | None = None
    rows: Rows | None = None
    content: Array | None = field(default=None, compare=False)
    counted: bool = False
    steps: tuple[int, ...] = ()
    span: tuple[int, int] | None = None
    causes: frozenset[Cause] = frozenset()

    @property
    def rank(self) -> int:
        return len(self.known_shape)

    @property
    def known_shape(self) -> Shape:
        if self.shape is None:
            raise NotUnderstoodError("works on a tensor whose shape is not known")
        return self.shape


def rows_of(value: Value) -> Rows:
    """Where a value's rows lie; raises where it has none."""
    if value.rows is None:
        raise NotUnderstoodError("has no rows where they are expected")
    return value.rows


def on_axis(value: Value, axis: int) -> Rows:
    """The rows of a value, moved to another axis."""
    return replace(rows_of(value), axis=axis)


def fixed(shape: Shape | None = None, *, counted: bool = False) -> Value:
    """A tensor that is the same in every batch, or one that only the number of rows decides."""
    return Value(shape, counted=counted)


def known(content: Array) -> Value:
    """A small tensor whose numbers are known."""
    content = np.asarray(content, dtype=object)
    return Value(tuple(content.shape), content=content, counted=any(counts_rows(number) for number in content.flat))


def repeated(shape: Shape) -> Value:
    """A tensor whose every row is the same, as Expand and ConstantOfShape make them; its shape may count rows."""
    counting = [axis for axis, size in enumerate(shape) if counts_rows(size)]
    if not counting:
        return fixed(shape)
    size = shape[counting[0]]
    if len(counting) > 1 or size.constant:
        raise NotUnderstoodError("makes a tensor whose shape depends on the size of the batch in more than one way")
    return Value(shape, Rows(counting[0], size.per_row))


def row_stride(value: Value) -> Any:
    """How many elements lie between one row and the next in memory; raises UndecidedError where N is in it."""
    rows = rows_of(value)
    stride = product(value.known_shape[rows.axis + 1 :]) * rows.after
    if counts_rows(stride):
        raise UndecidedError
    return plain_size(stride)


def normal_axis(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


def plain_size(number: Number) -> Any:
    """The number itself, that of a free dimension included; None where it depends on the size of the batch."""
    if isinstance(number, Size):
        return None if number.per_row else number.constant
    return number


def broadcast_shape(shapes: Sequence[Shape]) -> Shape:
    """The shape of an element-wise result; free dimensions that differ are taken to be the same."""
    rank = max(map(len, shapes), default=0)
    aligned = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*aligned, strict=True))
