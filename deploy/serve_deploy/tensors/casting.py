"""Give an array a tensor's type, where that changes no value beyond rounding a float."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serve_deploy.tensors.types import DataType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_TAKEN_KINDS = {"b": "b", "i": "biuf", "u": "biuf", "f": "biuf"}


def cast_array(array: Array, data_type: DataType) -> Array:
    """The array in the type's numpy form, strings as objects; ValueError says why it does not fit."""
    import numpy as np

    if data_type is DataType.BYTES:
        if array.dtype.kind not in "OUS":
            raise ValueError(f"takes strings, not {array.dtype}")
        return array.astype(object)
    wanted = np.dtype(data_type.numpy_name)
    is_fraction = wanted.kind in "iu" and array.dtype.kind == "f" and not np.array_equal(array, np.trunc(array))
    if array.dtype.kind not in _TAKEN_KINDS[wanted.kind] or is_fraction:
        raise ValueError(f"has type {array.dtype}, the model takes {data_type.value}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(wanted)
    if wanted.kind in "iu" and not np.array_equal(cast, array):
        raise ValueError(f"has values that do not fit {data_type.value}")
    return cast
