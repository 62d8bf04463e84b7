"""Values of element types that numpy lacks (BF16, FP8, INT4): wider ones in Python, their own bits in ONNX Runtime."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# The type by its name in ONNX Runtime: its bits, and numpy's type that holds all its values.
_NARROW: dict[str, tuple[int, type[np.generic]]] = {
    "bfloat16": (16, np.float32), "float8e4m3fn": (8, np.float32), "float8e4m3fnuz": (8, np.float32),
    "float8e5m2": (8, np.float32), "float8e5m2fnuz": (8, np.float32), "float8e8m0": (8, np.float32),
    "float4e2m1": (4, np.float32), "int4": (4, np.int8), "uint4": (4, np.uint8), "int2": (2, np.int8),
    "uint2": (2, np.uint8),
}  # fmt: skip


def find_narrow_type(session_type: str) -> str | None:
    """The element type of `tensor(float8e5m2)` and the like; None where numpy has it, or it is no tensor."""
    element = session_type.removeprefix("tensor(").removesuffix(")")
    return element if element in _NARROW else None


def round_values(array: Array, element: str) -> Array:
    """Each value rounded to one that the element type has, in numpy's wider type."""
    return _to_narrow(array, element).astype(_NARROW[element][1])


def to_ort_value(array: Array, element: str) -> Any:
    """An OrtValue of the element type with these values, rounded."""
    from onnx import numpy_helper
    from onnxruntime import OrtValue

    value = OrtValue.ortvalue_from_shape_and_type(list(array.shape), _number(element))
    bits = numpy_helper.from_array(_to_narrow(array, element)).raw_data
    ctypes.memmove(value.data_ptr(), bits, len(bits))
    return value


def from_ort_value(value: Any, element: str) -> Array:
    """The values of an OrtValue of the element type, in numpy's wider type."""
    import onnx
    from onnx import numpy_helper

    bits, wide = _NARROW[element]
    shape = value.shape()
    size = math.ceil(math.prod(shape) * bits / 8)
    content = ctypes.string_at(value.data_ptr(), size) if size else b""
    tensor = onnx.TensorProto(data_type=_number(element), dims=shape, raw_data=content)
    return numpy_helper.to_array(tensor).astype(wide)


def _to_narrow(array: Array, element: str) -> Array:
    from onnx import helper

    with np.errstate(all="ignore"):  # NaN and what is out of range have their own places in each type
        narrow: Array = np.asarray(array).astype(helper.tensor_dtype_to_np_dtype(_number(element)))
    return narrow


def _number(element: str) -> int:
    import onnx

    return int(onnx.TensorProto.DataType.Value(element.upper()))
