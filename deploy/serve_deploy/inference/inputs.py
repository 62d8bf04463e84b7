"""Read the inputs that a user gives for one request, and refuse what does not fit the model before sending."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.endpoint.model import Model
from serve_deploy.errors import UsageError
from serve_deploy.inference.image_input import SUFFIXES, find_layout, read_image
from serve_deploy.inference.options import Scale
from serve_deploy.tensors.casting import cast_array
from serve_deploy.tensors.types import DataType, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_LOOKS_LIKE_A_VALUE = tuple('@[{"-+.0123456789')


def read_inputs(model: Model, given: Sequence[str], *, scale: Scale = "auto") -> tuple[dict[str, Array], list[str]]:
    """Read `NAME=VALUE` texts (a single input may leave its name out); also say what was done to pictures.

    A value is @file (.npy, .npz, .json, a picture, or any file where the input takes strings or bytes), JSON, or plain
    text for strings.
    Raises UsageError, with the model's inputs, for whatever does not fit.
    """
    arrays: dict[str, Array] = {}
    notes: list[str] = []
    for text in given:
        tensor, value = _split(model, text)
        if tensor.name in arrays:
            raise UsageError(f"input {tensor.name} is given twice")
        array, note = _read_value(model, tensor, value, scale)
        arrays[tensor.name] = fit_input(model, tensor, array)
        if note:
            notes.append(f"{tensor.name}: {note}")
    return arrays, notes


def _split(model: Model, text: str) -> tuple[TensorSpec, str]:
    # A name may have = in it, so the longest that fits is meant.
    for tensor in sorted(model.inputs, key=lambda tensor: -len(tensor.name)):
        if text.startswith(f"{tensor.name}="):
            return tensor, text.removeprefix(f"{tensor.name}=")
    name, equals, _ = text.partition("=")
    required = [tensor for tensor in model.inputs if not tensor.optional]
    if len(required) == 1 and (not equals or text.startswith(_LOOKS_LIKE_A_VALUE)):
        return required[0], text
    if equals:
        return model.input_named(name), text
    raise UsageError(
        f"`inputs={text}`: which input is it for? {model.name} has {len(model.inputs)}",
        hint=f"write `inputs=NAME=VALUE`; {model.input_list}",
    )


def _read_value(model: Model, tensor: TensorSpec, value: str, scale: Scale) -> tuple[Array, str | None]:
    import numpy as np

    if value.startswith("@"):
        return _read_file(model, tensor, Path(value[1:]), scale)
    is_text = tensor.data_type is DataType.BYTES
    try:
        content = json.loads(value)
    except ValueError as error:
        if is_text:
            return _as_strings(value), None
        raise UsageError(f"input {tensor.name}: '{value}' is not JSON ({error})", hint=model.input_list) from error
    if is_text:
        return _as_strings(content if isinstance(content, (str, list)) else value), None
    try:
        return np.array(content), None
    except ValueError as error:
        raise UsageError(f"input {tensor.name}: the rows differ in length", hint=model.input_list) from error


def _read_file(model: Model, tensor: TensorSpec, path: Path, scale: Scale) -> tuple[Array, str | None]:
    import numpy as np

    if not path.is_file():
        raise UsageError(f"input {tensor.name}: {path} is not a file")
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False), None
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                key = tensor.name if tensor.name in arrays.files or len(arrays.files) != 1 else arrays.files[0]
                return arrays[key], None
        if path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            if tensor.data_type is not DataType.BYTES:
                return np.array(content), None
            if isinstance(content, str | list):
                return _as_strings(content), None
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"input {tensor.name}: {path} cannot be read: {error}", hint=model.input_list) from error
    dims = tensor.shape[1:] if model.max_batch_size else tensor.shape
    if tensor.data_type is DataType.BYTES or (tensor.data_type is DataType.UINT8 and dims == (-1,)):
        content = path.read_bytes()
        array = _as_strings(content) if tensor.data_type is DataType.BYTES else np.frombuffer(content, np.uint8)
        return array, f"{path.name}: {len(content):,} bytes as they are"
    if path.suffix.lower() in SUFFIXES:
        return _read_picture(model, tensor, path, scale)
    raise UsageError(f"input {tensor.name}: {path} is not a .npy, .npz, .json or picture file", hint=model.input_list)


def _read_picture(model: Model, tensor: TensorSpec, path: Path, scale: Scale) -> tuple[Array, str]:
    dims = tensor.shape[1:] if model.max_batch_size else tensor.shape
    layout = find_layout(dims)
    if layout is None:
        raise UsageError(f"input {tensor.name} is not shaped like a picture", hint=model.input_list)
    image, note = read_image(path, layout, tensor.data_type, scale)
    return image.reshape((1,) * (len(dims) - image.ndim) + image.shape), note


def _as_strings(content: Any) -> Array:
    import numpy as np

    if isinstance(content, (str, bytes)):
        array = np.empty((), dtype=object)
        array[()] = content
        return array
    return np.array(content, dtype=object)


def fit_input(model: Model, tensor: TensorSpec, array: Array) -> Array:
    """Give the array the model's type and full shape, where neither changes what it says."""
    try:
        return cast_array(_shape(model, tensor, array), tensor.data_type)
    except ValueError as error:
        raise UsageError(f"input {tensor.name} {error}", hint=model.input_list) from error


def _shape(model: Model, tensor: TensorSpec, array: Array) -> Array:
    served = tensor.shape
    if model.max_batch_size and array.ndim == len(served) - 1 and array.ndim:
        array = array[None]
    if array.ndim == 0 and all(dim in (1, -1) for dim in served):
        array = array.reshape((1,) * len(served))
    if not tensor.fits(array.shape):
        without = " (the batch axis may be left out)" if model.max_batch_size else ""
        raise UsageError(
            f"input {tensor.name} has shape {list(array.shape)}, the model takes {list(served)}{without}",
            hint=model.input_list,
        )
    if model.max_batch_size and array.shape[0] > model.max_batch_size:
        raise UsageError(
            f"a batch of {array.shape[0]}: {model.name} takes at most {model.max_batch_size} in one request"
        )
    return array
