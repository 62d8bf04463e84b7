"""If, Loop and Scan: their bodies are walked as the graph is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import UNKNOWN
from serve_deploy.batch_axis.values import MixesError, NotUnderstoodError, Value, fixed, normal_axis

_ROUNDS = 6  # bodies after which what the carried values are must have settled


def branch(call: Call) -> list[Value]:
    """If: the branch that is taken where that is known, else what both say."""
    condition = call[0]
    call.read.add(0)
    if condition.rows is not None:
        raise MixesError("takes one branch for the whole batch by a condition on its rows")
    then, other = call.attributes["then_branch"], call.attributes["else_branch"]
    if condition.content is not None:
        return call.trace(then if condition.content.item() else other, ())
    results = [_joined(one, two) for one, two in zip(call.trace(then, ()), call.trace(other, ()), strict=True)]
    if condition.counted and not any(value.causes for value in results):
        raise NotUnderstoodError("takes another branch in a batch of another size")
    return results


def _joined(one: Value, other: Value) -> Value:
    """What is known of a value that is one of two."""
    if one.causes or other.causes:
        return Value(causes=one.causes | other.causes)
    if one.steps != other.steps:
        raise NotUnderstoodError("gives one of two results that number rows in another way")
    if one == other:
        same = one.content is not None and other.content is not None and np.array_equal(one.content, other.content)
        return one if same else replace(one, content=None, span=None)
    if one.rows is None and other.rows is None:
        counted = one.counted or other.counted
        return fixed(_common_shape(one, other), counted=counted)
    if one.rows != other.rows or one.shape is None or other.shape is None or one.rank != other.rank:
        raise NotUnderstoodError("gives one of two results whose rows lie in different places")
    return Value(_common_shape(one, other), one.rows, steps=one.steps)


def _common_shape(one: Value, other: Value) -> tuple[object, ...] | None:
    if one.shape is None or other.shape is None or one.rank != other.rank:
        return None
    return tuple(a if a == b else UNKNOWN for a, b in zip(one.shape, other.shape, strict=True))


def loop(call: Call) -> list[Value]:
    """Loop: the same number of rounds for every row, or none is like its single run."""
    trips, condition, *carried = call.inputs
    call.read.update((0, 1))
    for value in (trips, condition):
        if value is not None and value.rows is not None:
            raise MixesError("runs as many rounds for the whole batch as one of its rows asks for")
        if value is not None and value.counted:
            raise NotUnderstoodError("runs as many rounds as there are rows")
    values = [value or fixed() for value in carried]
    for _ in range(_ROUNDS):
        again, *results = call.trace(call.attributes["body"], [fixed(()), fixed(()), *values])
        if again.causes:
            return [Value(causes=again.causes)] * call.output_count
        if again.counted:
            raise NotUnderstoodError("runs as many rounds as there are rows")
        if again.rows is not None:
            raise MixesError("goes on for the whole batch until a condition on its rows holds")
        after = [_joined(one, other) for one, other in zip(values, results, strict=False)]
        if _settled(after, values):
            return [*after, *(_stacked(value, 0) for value in results[len(values) :])]
        values = after
    raise NotUnderstoodError("carries values whose shape changes from round to round")


def _settled(after: Sequence[Value], before: Sequence[Value]) -> bool:
    return all(
        (one.shape, one.rows, one.counted, one.causes) == (other.shape, other.rows, other.counted, other.causes)
        for one, other in zip(after, before, strict=True)
    )


def _stacked(value: Value, axis: int) -> Value:
    if value.causes:
        return Value(causes=value.causes)
    if value.shape is None:
        return fixed(counted=value.counted)
    axis = normal_axis(axis, value.rank + 1)
    shape = (*value.shape[:axis], UNKNOWN, *value.shape[axis:])
    if value.rows is None:
        return fixed(shape, counted=value.counted)
    return Value(shape, replace(value.rows, axis=value.rows.axis + (value.rows.axis >= axis)))


def scan(call: Call) -> list[Value]:
    """Scan: along one axis of some inputs, with states that are carried on."""
    count = call.attributes["num_scan_inputs"]
    values = [value or fixed() for value in call.inputs]
    states, scanned = values[:-count], values[-count:]
    axes = call.attribute("scan_input_axes") or [0] * count
    elements = [_element(value, axis) for value, axis in zip(scanned, axes, strict=True)]
    for _ in range(_ROUNDS):
        results = call.trace(call.attributes["body"], [*states, *elements])
        after = [_joined(one, other) for one, other in zip(states, results, strict=False)]
        if _settled(after, states):
            break
        states = after
    else:
        raise NotUnderstoodError("carries values whose shape changes from round to round")
    outputs = results[len(states) :]
    places = call.attribute("scan_output_axes") or [0] * len(outputs)
    return [*states, *(_stacked(value, axis) for value, axis in zip(outputs, places, strict=True))]


def _element(value: Value, axis: int) -> Value:
    if value.shape is None:
        return fixed(counted=value.counted)
    axis = normal_axis(axis, value.rank)
    shape = (*value.shape[:axis], *value.shape[axis + 1 :])
    if value.rows is None:
        return fixed(shape, counted=value.counted)
    if value.rows.axis == axis:
        raise MixesError("scans along the batch axis")
    return Value(shape, replace(value.rows, axis=value.rows.axis - (value.rows.axis > axis)))


RULES: dict[str, Rule] = {"If": branch, "Loop": loop, "Scan": scan}
