"""Operators that make tensors: constants, shapes, ranges and random numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.folding import LARGEST
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import ROWS, UNKNOWN, Size, UndecidedError, counts_rows, divide, product
from serve_deploy.batch_axis.values import (
    NotUnderstoodError,
    RandomError,
    Rows,
    Value,
    fixed,
    known,
    plain_size,
    repeated,
)

_LARGEST_SCALES = 8  # numbers in a tensor of another type than shapes have: scales of Resize, one factor


def constant(call: Call) -> Value:
    """Constant: a tensor, or a number or text of its own attribute."""
    for name in ("value_int", "value_ints", "value_float", "value_floats"):
        if name in call.attributes:
            return known(np.array(call.attributes[name], dtype=object))
    if "value" in call.attributes:
        return read_tensor(call.attributes["value"])
    texts = call.attributes.get("value_strings")
    return fixed(() if texts is None else (len(texts),))


def read_tensor(tensor: Any) -> Value:
    """A constant tensor: its numbers where there are few, its shape alone otherwise."""
    from onnx import TensorProto, numpy_helper

    shape = tuple(tensor.dims)
    most = LARGEST if tensor.data_type in (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL) else _LARGEST_SCALES
    if product(shape) > most or tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return fixed(shape)
    array = numpy_helper.to_array(tensor)
    return Value(shape, content=array.astype(object)) if array.dtype.kind in "biuf" else fixed(shape)


def shape_of(call: Call) -> Value:
    """Shape, with its start and end."""
    shape = call[0].known_shape
    call.read.add(0)
    part = shape[call.attribute("start", 0) : call.attribute("end", len(shape))]
    return known(np.array([*part, None], dtype=object)[:-1])


def size_of(call: Call) -> Value:
    """Size: how many elements there are."""
    call.read.add(0)
    try:
        return known(np.array(product(call[0].known_shape), dtype=object))
    except UndecidedError:
        return fixed((), counted=True)


def constant_of_shape(call: Call) -> Value:
    """ConstantOfShape: one number everywhere."""
    from onnx import numpy_helper

    shape = tuple(call.needed(0))
    sizes = [plain_size(size) for size in shape]
    if None not in sizes and product(sizes) <= LARGEST:
        tensor = call.attributes.get("value")
        value = 0.0 if tensor is None else numpy_helper.to_array(tensor).reshape(-1)[0]
        if np.asarray(value).dtype.kind in "biuf":
            return known(np.full(tuple(map(int, sizes)), np.asarray(value).item(), dtype=object))
    return repeated(shape)


def count_up(call: Call) -> Value:
    """Range; from 0 to the number of rows it is each row's number."""
    first, last, step = (call.needed(index)[0] for index in range(3))
    if first == 0 and step == 1 and last == ROWS:
        return Value((ROWS,), Rows(0), steps=(1,), span=(0, 0))
    try:
        length = divide(last - first, step)
    except UndecidedError:
        return fixed((UNKNOWN,), counted=True) if any(map(counts_rows, (first, last, step))) else fixed()
    if counts_rows(length):
        raise NotUnderstoodError("counts over the rows of the batch")
    if isinstance(length, Size) or length > LARGEST or any(isinstance(each, Size) for each in (first, last, step)):
        ends = [plain_size(number) for number in (first, last - step)]
        return replace(fixed((length,)), span=(min(ends), max(ends)) if step in (1, -1) else None)
    return known(np.arange(first, last, step).astype(object))


def like(call: Call) -> Value:
    """EyeLike and its kin: only the shape of the input matters."""
    call.read.add(0)
    return repeated(call[0].known_shape)


def random(_call: Call) -> Value:
    """Random numbers: no row is the same twice."""
    raise RandomError("draws random numbers")


def dropout(call: Call) -> Value | list[Value]:
    """Dropout: nothing at inference, random in training mode."""
    training = call.get(2)
    if training is not None and (training.content is None or any(training.content.flat)):
        raise RandomError("draws random numbers: it is in training mode", "export the model in evaluation mode")
    value = call[0]
    call.read.add(0)
    return [value, value]


RULES: dict[str, Rule] = {
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Dropout": dropout,
    "Bernoulli": random,
    "Multinomial": random,
    "RandomNormal": random,
    "RandomNormalLike": random,
    "RandomUniform": random,
    "RandomUniformLike": random,
    "Range": count_up,
    "Shape": shape_of,
    "Size": size_of,
}
