"""Operators that compute each element from the elements at the same place, with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.folding import cast, fold
from serve_deploy.batch_axis.positions import with_positions
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import ROWS, Number, Size, counts_rows
from serve_deploy.batch_axis.values import (
    MixesError,
    NotUnderstoodError,
    Rows,
    Shape,
    Value,
    broadcast_shape,
    fixed,
    known,
)

UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish
    Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal RegexFullMatch Relu Round Selu Shrink Sigmoid Sign Sin
    Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu
    ai.onnx.ml.Binarizer ai.onnx.ml.LabelEncoder ai.onnx.ml.CategoryMapper
    com.microsoft.Gelu com.microsoft.QuickGelu com.microsoft.ScaledSiLU
"""
BROADCAST = """
    Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean
    Min Mod Mul Or PRelu Pow StringConcat Sub Sum Where Xor
    com.microsoft.BiasGelu com.microsoft.FastGelu
"""


def elementwise(call: Call) -> Value:
    """Every element from those at its place: the rows stay where they are, if they lie at the same place."""
    inputs = call.present
    call.read.update(range(len(call.inputs)))
    content = fold(call.operator, inputs)
    if content is not None:
        return known(content)
    batched = [value for value in inputs if value.rows is not None]
    if not batched:
        shapes = [value.shape for value in inputs if value.shape is not None]
        shape = broadcast_shape(shapes) if len(shapes) == len(inputs) else None
        return with_positions(call.operator, inputs, fixed(shape, counted=any(value.counted for value in inputs)))
    for value in inputs:
        if value.counted and any(map(counts_rows, value.shape or ())):
            raise baked_in(ROWS)
        if value.counted:
            raise MixesError("computes with the number of rows in the batch")
    if "broadcast" in call.attributes:
        raise NotUnderstoodError("is broadcast in the way of opset 6")
    shape = broadcast_shape([value.known_shape for value in inputs])
    return with_positions(call.operator, inputs, Value(shape, align(inputs, shape)))


def align(inputs: Sequence[Value], shape: Shape) -> Rows:
    """Where the rows of tensors that are broadcast against each other lie; raises where they do not match."""
    placed = [
        replace(value.rows, axis=value.rows.axis + len(shape) - value.rank)
        for value in inputs
        if value.rows is not None
    ]
    if len({rows.axis for rows in placed}) > 1:
        raise MixesError("combines each row of the batch with every other row")
    if len(set(placed)) > 1:
        raise NotUnderstoodError("combines rows that lie in a different order")
    axis = placed[0].axis
    for value in inputs:
        position = axis - len(shape) + value.rank
        size = value.known_shape[position] if position >= 0 else 1
        if value.rows is None and size != 1:
            raise baked_in(size)
    sizes = {value.known_shape[axis - len(shape) + value.rank] for value in inputs if value.rows is not None}
    if len(sizes) > 1:
        raise NotUnderstoodError("combines different numbers of rows")
    return placed[0]


def baked_in(size: Number) -> MixesError:
    """The error where a constant has a size on the batch axis."""
    if isinstance(size, Size):
        return NotUnderstoodError("combines the rows with something else that has many entries there")
    return MixesError(
        f"is made for a batch of {size}: a constant has {size} entries on the batch axis",
        "export the model again with a batch axis that is free (dynamic)",
    )


def unary(call: Call) -> Value:
    """Each element of the first input alone; the others are parameters."""
    value = call[0]
    content = fold(call.operator, [value])
    if content is not None:
        call.read.add(0)
        return known(content)
    call.needs_fixed(*range(1, len(call.inputs)))
    call.read.add(0)
    return value if call.operator == "Identity" else Value(value.shape, value.rows, counted=value.counted)


def cast_like(call: Call) -> Value:
    """Another type of the same numbers; of CastLike's second input only the type matters."""
    value = call[0]
    call.read.add(0)
    to = call.attribute("to")
    if value.content is not None and to is not None:
        content = cast(value.content, to)
        if content is not None:
            return known(content)
    keeps_numbers = to in _WIDE
    if value.steps and not keeps_numbers:
        raise NotUnderstoodError("computes with the number of a row in its batch")
    return replace(value, content=None, span=value.span if keeps_numbers else None)


def clip(call: Call) -> Value:
    """Clip: its limits are one number each, for all rows."""
    limits = [value for value in (call.get(1), call.get(2)) if value is not None]
    call.read.update((1, 2))
    if any(value.rows is not None for value in limits):
        raise MixesError("takes one limit for the whole batch from the rows")
    if any(value.counted for value in limits):
        raise MixesError("computes with the number of rows in the batch")
    return unary(Call(call.operator, call.opset, {}, call.inputs[:1], 1, call.trace, call.read))


_WIDE = {6, 7}  # INT32, INT64: types that hold every index

RULES: dict[str, Rule] = {
    **dict.fromkeys(UNARY.split(), unary),
    **dict.fromkeys(BROADCAST.split(), elementwise),
    "Cast": cast_like,
    "CastLike": cast_like,
    "Clip": clip,
    "BitCast": cast_like,
}
