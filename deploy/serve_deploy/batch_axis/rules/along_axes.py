"""Operators that work along axes: reductions, softmax, normalisation, sorting and running sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serve_deploy.batch_axis.calls import Call, with_size
from serve_deploy.batch_axis.folding import FOLDS
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import ROWS, UNKNOWN, UndecidedError
from serve_deploy.batch_axis.values import (
    MixesError,
    NotUnderstoodError,
    Shape,
    SortedError,
    Value,
    fixed,
    known,
    normal_axis,
    on_axis,
    plain_size,
)

REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""
_FOLDED: dict[str, Callable[..., Any]] = {
    "ReduceProd": np.multiply,
    "ReduceSum": np.add,
    "ReduceMax": FOLDS["Max"],
    "ReduceMin": FOLDS["Min"],
}


def forbid(value: Value, axes: Sequence[int], what: str, next_step: str | None = None) -> None:
    """Raise where the rows lie on one of these axes: the operator works along it."""
    if value.rows is not None and value.rows.axis in axes:
        raise MixesError(f"{what} the batch axis", next_step)


def reduced(value: Value, axes: Sequence[int], *, keepdims: bool) -> Value:
    """What is left of a tensor after a reduction over axes that the rows do not lie on."""
    shape: Shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.known_shape))
    if not keepdims:
        shape = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    if value.rows is None:
        return fixed(shape, counted=value.counted)
    axis = value.rows.axis
    return Value(shape, on_axis(value, axis if keepdims else axis - sum(other < axis for other in axes)))


def reduce(call: Call) -> Value:
    """Reductions; without axes they take in everything."""
    value = call[0]
    given = call.integers(1, "axes")
    if not given and call.attribute("noop_with_empty_axes", 0):
        return value
    axes = [normal_axis(int(axis), value.rank) for axis in given] if given else list(range(value.rank))
    keepdims = bool(call.attribute("keepdims", 1))
    forbid(value, axes, "reduces over")
    if value.content is not None and call.operator in _FOLDED and value.rank == 1:
        folded = _fold(call.operator, value.content)
        if folded is not None:
            call.read.add(0)
            return known(np.array([folded] if keepdims else folded, dtype=object))
    return reduced(value, axes, keepdims=keepdims)


def _fold(operator: str, content: Any) -> Any:
    try:
        result = content[0]
        for number in content[1:]:
            result = _FOLDED[operator](np.asarray(result, object), np.asarray(number, object))
            result = result.item() if isinstance(result, np.ndarray) else result
    except (UndecidedError, IndexError, TypeError):
        return None
    return result


def arg_reduce(call: Call) -> Value:
    """ArgMax and ArgMin."""
    axis = call.axis()
    forbid(call[0], [axis], "looks for the largest or smallest along")
    result = reduced(call[0], [axis], keepdims=bool(call.attribute("keepdims", 1)))
    size = plain_size(call[0].known_shape[axis])
    return replace(result, span=(0, size - 1) if isinstance(size, int) else None)


def softmax(call: Call) -> Value:
    """Softmax and its kin; before opset 13 over all axes from the given one on."""
    axis = call.axis(-1 if call.opset >= 13 else 1)
    axes = [axis] if call.opset >= 13 else range(axis, call[0].rank)
    forbid(call[0], axes, "normalises over", "normalise over another axis: at batch 1 this one has a single entry")
    return Value(call[0].shape, call[0].rows)


def normalise_from(call: Call) -> list[Value]:
    """LayerNormalization and RMSNormalization: over all axes from the given one on."""
    value = call[0]
    axis = call.axis(-1)
    forbid(value, range(axis, value.rank), "normalises over")
    call.needs_fixed(1, 2)
    statistics = reduced(value, list(range(axis, value.rank)), keepdims=True)
    return [Value(value.shape, value.rows), statistics, statistics]


def lp_norm(call: Call) -> Value:
    """LpNormalization: along one axis."""
    forbid(call[0], [call.axis(-1)], "normalises over")
    return Value(call[0].shape, call[0].rows)


def cumulate(call: Call) -> Value:
    """CumSum and CumProd: the axis is an input."""
    (axis,) = call.needed(1)
    forbid(call[0], [normal_axis(int(axis), call[0].rank)], "sums up along")
    return Value(call[0].shape, call[0].rows)


def top_k(call: Call) -> list[Value]:
    """TopK: the k largest along an axis."""
    value, axis = call[0], call.axis(-1)
    k = call.attribute("k") if call.opset < 10 else _count(call)
    if value.rows is not None and value.rows.axis == axis:
        if k == ROWS:
            raise SortedError("sorts the rows of the batch")
        raise MixesError("takes the largest or smallest along the batch axis")
    result = Value(with_size(value.known_shape, axis, k), value.rows)
    return [result, result]


def _count(call: Call) -> Any:
    value = call[1]
    if value.rows is not None:
        raise MixesError("takes one number for the whole batch from its rows")
    call.read.add(1)
    return UNKNOWN if value.content is None else value.content.item()


def unique(call: Call) -> list[Value]:
    """Unique: how much is left, and where, depends on all that is there."""
    if call[0].rows is not None:
        raise MixesError("removes what occurs twice in the batch")
    return [fixed()] * 4


def within_samples(what: str) -> Rule:
    """A rule for an operator that works over all axes but the first, each sample by itself."""

    def rule(call: Call) -> Value:
        value = call[0]
        forbid(value, range(1, value.rank), what)
        call.needs_fixed(*range(1, len(call.inputs)))
        return Value(value.shape, value.rows)

    return rule


def mean_variance(call: Call) -> Value:
    """MeanVarianceNormalization: over the axes [0, 2, 3] unless it says others."""
    axes = [normal_axis(axis, call[0].rank) for axis in call.attribute("axes", [0, 2, 3])]
    forbid(call[0], axes, "normalises over")
    return Value(call[0].shape, call[0].rows)


def neighbours(call: Call) -> Value:
    """LRN: over neighbouring channels, on axis 1."""
    forbid(call[0], [1], "normalises over")
    return Value(call[0].shape, call[0].rows)


def loss(call: Call) -> list[Value]:
    """NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: one loss for each target, or one for all."""
    scores, targets = call[0], call[1]
    call.needs_fixed(2)
    if scores.rows is None and targets.rows is None:
        return [fixed(), fixed()]
    if call.attribute("reduction", "mean") != "none":
        raise MixesError("sums or averages over the batch axis")
    if scores.rows != targets.rows or scores.rows is None or scores.rows.axis:
        raise NotUnderstoodError("compares scores with targets of other rows")
    return [Value(targets.shape, targets.rows), Value(scores.shape, scores.rows)]


def of_matrices(what: str, *, kept: bool) -> Rule:
    """A rule for an operator on the matrices of the last two axes; `kept` where it keeps their shape."""

    def rule(call: Call) -> Value:
        value = call[0]
        call.needs_fixed(*range(1, len(call.inputs)))
        forbid(value, [value.rank - 2, value.rank - 1], what)
        return Value(value.shape if kept else value.known_shape[:-2], value.rows)

    return rule


def fourier(call: Call) -> Value:
    """DFT: along one axis, an attribute in opset 17 and an input since."""
    value, length, given = call[0], call.get(1), call.numbers(2)
    axis = call.axis(1) if call.opset < 20 else normal_axis(-2 if given is None else int(given.item()), value.rank)
    forbid(value, [axis, value.rank - 1], "transforms along")
    size = value.known_shape[axis] if length is None and not call.attribute("onesided", 0) else UNKNOWN
    return Value((*with_size(value.known_shape, axis, size)[:-1], 2), value.rows)


def fourier_windows(call: Call) -> Value:
    """STFT of a signal [sample, time, …]."""
    value = call[0]
    call.needs_fixed(1, 2, 3)
    forbid(value, range(1, value.rank), "transforms along")
    return Value((value.known_shape[0], UNKNOWN, UNKNOWN, 2), value.rows)


RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCTIONS.split(), reduce),
    "ArgMax": arg_reduce,
    "ArgMin": arg_reduce,
    "CumProd": cumulate,
    "CumSum": cumulate,
    "GroupNormalization": within_samples("normalises over"),
    "DFT": fourier,
    "Det": of_matrices("computes determinants over", kept=False),
    "Hardmax": softmax,
    "InstanceNormalization": within_samples("normalises over, or has a scale for each entry of,"),
    "LRN": neighbours,
    "LayerNormalization": normalise_from,
    "LogSoftmax": softmax,
    "LpNormalization": lp_norm,
    "MeanVarianceNormalization": mean_variance,
    "RMSNormalization": normalise_from,
    "SimplifiedLayerNormalization": normalise_from,
    "NegativeLogLikelihoodLoss": loss,
    "STFT": fourier_windows,
    "Softmax": softmax,
    "SoftmaxCrossEntropyLoss": loss,
    "TopK": top_k,
    "Trilu": of_matrices("cuts a triangle out of", kept=True),
    "Unique": unique,
    "com.microsoft.Inverse": of_matrices("inverts matrices over", kept=True),
    "com.microsoft.Trilu": of_matrices("cuts a triangle out of", kept=True),
}
