"""Products of matrices: MatMul, Gemm, Einsum and their quantised forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.rules.elementwise import align, baked_in
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.values import (
    MixesError,
    NotUnderstoodError,
    Rows,
    Value,
    broadcast_shape,
    fixed,
    on_axis,
    rows_of,
)


def multiply(left: Value, right: Value) -> Value:
    """MatMul with its broadcasting; raises where it sums over the rows or pairs them."""
    if left.rows is None and right.rows is None and (left.shape is None or right.shape is None):
        return fixed()
    vector_left, vector_right = left.rank == 1, right.rank == 1
    left = replace(left, shape=(1, *left.known_shape), rows=_shift(left, 1)) if vector_left else left
    right = replace(right, shape=(*right.known_shape, 1)) if vector_right else right
    for value, summed in ((left, left.rank - 1), (right, right.rank - 2)):
        if value.rows is not None and value.rows.axis == summed:
            raise MixesError("sums over the batch axis")
    stacks = broadcast_shape([left.known_shape[:-2], right.known_shape[:-2]])
    shape = (*stacks, left.known_shape[-2], right.known_shape[-1])
    # What is broadcast against what: the axis that an operand lacks in the product is 1 in it.
    one = replace(left, shape=(*left.known_shape[:-1], 1))
    other = replace(right, shape=(*right.known_shape[:-2], 1, right.known_shape[-1]))
    present = [value for value in (one, other) if value.rows is not None]
    result = Value(shape, align([one, other], shape)) if present else fixed(shape)
    if vector_left or vector_right:
        return _drop(result, ([result.rank - 2] if vector_left else []) + ([result.rank - 1] if vector_right else []))
    return result


def _shift(value: Value, by: int) -> Rows | None:
    return None if value.rows is None else replace(value.rows, axis=value.rows.axis + by)


def _drop(value: Value, axes: Sequence[int]) -> Value:
    shape = tuple(size for axis, size in enumerate(value.known_shape) if axis not in axes)
    if value.rows is None:
        return fixed(shape)
    if value.rows.axis in axes:
        raise MixesError("sums over the batch axis")
    return Value(shape, on_axis(value, value.rows.axis - sum(axis < value.rows.axis for axis in axes)))


def matmul(call: Call) -> Value:
    """MatMul, and MatMulInteger with its zero points."""
    call.needs_fixed(2, 3)
    return multiply(call[0], call[1])


def transposed(value: Value, *, swap: bool) -> Value:
    """The last two axes swapped."""
    if not swap:
        return value
    shape = value.known_shape
    order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    rows = None if value.rows is None else replace(value.rows, axis=order.index(value.rows.axis))
    return Value(tuple(shape[axis] for axis in order), rows, causes=value.causes)


def gemm(call: Call) -> Value:
    """Gemm: A and B may be transposed, C is broadcast onto the product."""
    left = transposed(call[0], swap=bool(call.attribute("transA", 0)))
    right = transposed(call[1], swap=bool(call.attribute("transB", 0)))
    result = multiply(left, right)
    addend = call.get(2)
    if addend is None or (result.rows is None and addend.rows is None):
        return result
    return Value(result.shape, align([result, addend], result.known_shape))


def fused_matmul(call: Call) -> Value:
    """ONNX Runtime's FusedMatMul: a MatMul with transposed operands."""
    if call.attribute("transBatchA", 0) or call.attribute("transBatchB", 0):
        raise NotUnderstoodError("transposes the batch inside a product")
    left = transposed(call[0], swap=bool(call.attribute("transA", 0)))
    return multiply(left, transposed(call[1], swap=bool(call.attribute("transB", 0))))


def packed_matmul(call: Call) -> Value:
    """A product with packed weights of N columns (MatMulNBits, MatMulBnb4)."""
    call.needs_fixed(*range(1, len(call.inputs)))
    value = call[0]
    weights = fixed((value.known_shape[-1], call.attribute("N")))
    return multiply(value, weights)


def quantised_matmul(call: Call) -> Value:
    """QLinearMatMul: a, its scale and zero point, b, its scale and zero point, those of the result."""
    call.needs_fixed(1, 2, 4, 5, 6, 7)
    return multiply(call[0], call[3])


def integer_to_float(call: Call) -> Value:
    """ONNX Runtime's MatMulIntegerToFloat: two scales, two zero points, and a bias."""
    call.needs_fixed(2, 3, 4, 5, 6)
    return multiply(call[0], call[1])


def einsum(call: Call) -> Value:
    """Einsum: the letter of the batch stands in every batched operand and in the result."""
    left, _, right = call.attribute("equation").replace(" ", "").partition("->")
    terms = left.split(",")
    if "..." in left or not _:
        raise NotUnderstoodError("uses a form of Einsum that is not understood")
    sizes = {
        letter: size
        for term, value in zip(terms, call.present, strict=True)
        for letter, size in zip(term, value.known_shape, strict=True)
    }
    shape = tuple(sizes[letter] for letter in right)
    batched = [(term, value) for term, value in zip(terms, call.present, strict=True) if value.rows is not None]
    if not batched:
        return fixed(shape)
    letters = {term[rows_of(value).axis] for term, value in batched}
    if len(letters) > 1:
        raise MixesError("combines each row of the batch with every other row")
    (letter,) = letters
    if letter not in right:
        raise MixesError("sums over the batch axis")
    if any(term.count(letter) > 1 for term in (*terms, right)):
        raise NotUnderstoodError("takes a diagonal over the batch")
    for term, value in zip(terms, call.present, strict=True):
        if value.rows is None and letter in term and value.known_shape[term.index(letter)] != 1:
            raise baked_in(value.known_shape[term.index(letter)])
    if len({replace(rows_of(value), axis=0) for _, value in batched}) > 1:
        raise NotUnderstoodError("combines rows that lie in a different order")
    return Value(tuple(sizes[each] for each in right), replace(rows_of(batched[0][1]), axis=right.index(letter)))


RULES: dict[str, Rule] = {
    "Einsum": einsum,
    "Gemm": gemm,
    "MatMul": matmul,
    "MatMulInteger": matmul,
    "QLinearMatMul": quantised_matmul,
    "com.microsoft.FusedMatMul": fused_matmul,
    "com.microsoft.FusedGemm": gemm,
    "com.microsoft.TransposeMatMul": fused_matmul,
    "com.microsoft.MatMulIntegerToFloat": integer_to_float,
    "com.microsoft.MatMulNBits": packed_matmul,
    "com.microsoft.MatMulBnb4": packed_matmul,
}
