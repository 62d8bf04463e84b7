"""The two ends of a trace: where the rows lie in the inputs, and whether each output has one result a row."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from serve_deploy.batch_axis.sizes import ROWS, Number, Size, counts_rows
from serve_deploy.batch_axis.values import Rows, Value, fixed
from serve_deploy.batch_axis.witness import Cause, Effect

if TYPE_CHECKING:
    from onnx import NodeProto, ValueInfoProto

_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)
_BATCH_FIRST = "export the model with the batch as first dimension of every input and output, and transpose inside it"
_FREE = "export the model again with its first dimension free (dynamic)"


class FreeSizes:
    """A size for each free dimension, the same for the same name; the name of the batch stands for its rows."""

    def __init__(self, unit: int, first: int, batch_names: Iterable[str]) -> None:
        self._unit, self._primes = unit, itertools.cycle(prime for prime in _PRIMES if prime >= first)
        self._sizes: dict[str, Number] = dict.fromkeys(filter(None, batch_names), ROWS)

    def read(self, dim: Any, axis: int) -> Number:
        """The size of a dimension; unnamed ones are the same on the same axis."""
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            return dim.dim_value
        name = dim.dim_param or f" {axis}"
        if name not in self._sizes:
            self._sizes[name] = Size(self._unit * next(self._primes), 0, assumed=True)
        return self._sizes[name]


def batch_names(inputs: Iterable[ValueInfoProto]) -> set[str]:
    """How the first dimensions of these inputs are called."""
    return {each.type.tensor_type.shape.dim[0].dim_param for each in inputs if each.type.tensor_type.shape.dim}


def fixed_input(info: ValueInfoProto, sizes: FreeSizes) -> Value:
    """An input that is not stacked."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return fixed()
    shape = tuple(sizes.read(dim, axis) for axis, dim in enumerate(tensor.shape.dim))
    return fixed(tuple(Size(1, 0, assumed=True) if counts_rows(size) else size for size in shape))


def batched_input(info: ValueInfoProto, sizes: FreeSizes) -> Value:
    """An input whose axis 0 is the batch, or the reason why it cannot be."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return _refused(info, "unknown", "its rank is not declared", None)
    dims = tensor.shape.dim
    if not dims:
        return _refused(info, "mixes", "it is a scalar, without an axis to stack on", None)
    shape = tuple(sizes.read(dim, axis) for axis, dim in enumerate(dims))
    if dims[0].dim_value > 1:
        elsewhere = next((axis for axis, size in enumerate(shape) if counts_rows(size)), None)
        if elsewhere:
            return _refused(info, "mixes", f"it has its batch on axis {elsewhere}, not on axis 0", _BATCH_FIRST)
        return _refused(info, "mixes", f"its first dimension is fixed to {dims[0].dim_value}", _FREE)
    return Value((ROWS, *shape[1:]), Rows(0))


def _refused(info: ValueInfoProto, effect: Effect, reason: str, next_step: str | None) -> Value:
    return Value(causes=frozenset({Cause(f"input '{info.name}'", "input", effect, reason, (), next_step)}))


def judge_output(name: str, value: Value, maker: NodeProto | None) -> Iterable[Cause]:
    """Why an output does not have one result for each row, as far as it has none."""
    if value.causes:
        return value.causes
    reason, next_step, effect = _fault(value)
    if reason is None:
        return ()
    operator = maker.op_type if maker else "output"
    return (Cause(f"output '{name}'", operator, effect, reason, (), next_step),)


def _fault(value: Value) -> tuple[str | None, str | None, Effect]:
    if value.rows is None:
        if value.shape is None:
            return "its shape is not known", None, "unknown"
        return "it has one result for the whole batch, not one for each row", None, "mixes"
    size = value.known_shape[value.rows.axis]
    if any(counts_rows(other) for axis, other in enumerate(value.known_shape) if axis != value.rows.axis):
        return "the size of its results depends on the size of the batch", None, "unknown"
    if value.rows.axis:
        return f"it has its batch on axis {value.rows.axis}, not on axis 0", _BATCH_FIRST, "mixes"
    if any(value.steps):
        return "it holds the number of each row in its batch", None, "mixes"
    if size != ROWS:
        return f"its axis 0 has {size} entries for {ROWS} rows", None, "mixes"
    return None, None, "unknown"
