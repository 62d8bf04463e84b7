"""The tensors of a function, from its annotations: `Annotated[NDArray[np.float32], "batch", 3, 224, 224]`."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

BATCH = "batch"
_EXAMPLE = 'write it as Annotated[NDArray[np.float32], "batch", 3, 224, 224]'
_SERVED = {data_type.numpy_name: data_type for data_type in DataType if data_type is not DataType.BF16}
_STRINGS = ("bytes_", "str_")


@dataclass(frozen=True)
class FunctionSignature:
    """A function's tensors, whether their first axis is the batch, and which inputs it takes as `str`, not `bytes`.

    `symbols` names the free dims of each input.
    """

    tensors: ModelSignature
    batched: bool
    text_inputs: tuple[str, ...]
    symbols: Mapping[str, tuple[str | None, ...]]


def read_annotations(function: Callable[..., Any], where: str) -> FunctionSignature:
    """Read a function's tensors; InvalidModelError names the one that is not annotated, or not as an array."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise InvalidModelError(f"{where}: its annotations cannot be read: {error}") from error
    inputs = [_read_parameter(parameter, hints, where) for parameter in inspect.signature(function).parameters.values()]
    if not inputs:
        raise InvalidModelError(f"{where} takes no inputs", hint="Triton's models take at least one")
    if "return" not in hints:
        raise InvalidModelError(f"{where} does not say what it returns", hint=f"annotate it: {_EXAMPLE}")
    outputs = list(_read_outputs(hints["return"], where))
    batches = {tensor.batched for tensor in (*inputs, *outputs)}
    if len(batches) > 1:
        some, others = (next(t.spec.name for t in (*inputs, *outputs) if t.batched is kind) for kind in (True, False))
        raise InvalidModelError(
            f"{where}: '{some}' has a batch as its first dimension and '{others}' has not",
            hint='write "batch" first in every tensor, or in none',
        )
    signature = ModelSignature(tuple(tensor.spec for tensor in inputs), tuple(tensor.spec for tensor in outputs))
    text = tuple(tensor.spec.name for tensor in inputs if tensor.is_text)
    return FunctionSignature(signature, batches.pop(), text, {t.spec.name: t.symbols for t in inputs})


@dataclass(frozen=True)
class _Tensor:
    spec: TensorSpec
    symbols: tuple[str | None, ...]
    is_text: bool

    @property
    def batched(self) -> bool:
        return self.symbols[:1] == (BATCH,)


def _read_parameter(parameter: inspect.Parameter, hints: Mapping[str, Any], where: str) -> _Tensor:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise InvalidModelError(
            f"{where}: '{parameter.replace(annotation=parameter.empty)}' is no input",
            hint="name every input, and take it by its name",
        )
    if name not in hints:
        raise InvalidModelError(f"{where}: input '{name}' is not annotated", hint=_EXAMPLE)
    hint = hints[name]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not types.NoneType]
        hint = parts[0] if len(parts) == 1 else hint
    if parameter.default not in (parameter.empty, None):
        raise InvalidModelError(
            f"{where}: input '{name}' has a default of its own", hint="an input that may be left out has None"
        )
    return _read_tensor(name, hint, f"{where}: input '{name}'", optional=parameter.default is None)


def _read_outputs(hint: Any, where: str) -> Iterator[_Tensor]:
    """One tensor, or the fields of a NamedTuple, dataclass or TypedDict."""
    named = isinstance(hint, type) and (
        hasattr(hint, "_fields") or dataclasses.is_dataclass(hint) or typing.is_typeddict(hint)
    )
    if not named:
        if typing.get_origin(hint) is tuple:
            raise InvalidModelError(
                f"{where} returns a tuple, whose outputs have no names", hint="return a NamedTuple, which names them"
            )
        yield _read_tensor("output", hint, f"{where}: what it returns", optional=False)
        return
    for name, field in typing.get_type_hints(hint, include_extras=True).items():
        yield _read_tensor(name, field, f"{where}: output '{name}'", optional=False)


def _read_tensor(name: str, hint: Any, what: str, *, optional: bool) -> _Tensor:
    if typing.get_origin(hint) is not typing.Annotated:
        raise InvalidModelError(f"{what} has no shape", hint=_EXAMPLE)
    array, *dims = typing.get_args(hint)
    element = _element(array, what)
    symbols = tuple(dim if isinstance(dim, str) else None for dim in dims)
    shape = tuple(_read_dim(dim, what) for dim in dims)
    data_type = DataType.BYTES if element in _STRINGS else _SERVED[element]
    return _Tensor(TensorSpec(name, data_type, shape, optional), symbols, element == "str_")


def _element(array: Any, what: str) -> str:
    """numpy's name of an array's element."""
    import numpy as np

    if array is np.ndarray or typing.get_origin(array) is not np.ndarray:
        raise InvalidModelError(f"{what} is not an array with a type", hint=_EXAMPLE)
    element = next(iter(typing.get_args(typing.get_args(array)[1])), None)
    if isinstance(element, type) and element.__name__ in _STRINGS:
        return element.__name__
    try:
        name = np.dtype(element).name if isinstance(element, type) and issubclass(element, np.generic) else str(element)
    except TypeError:
        name = str(element)
    if name == "object":
        raise InvalidModelError(
            f"{what} is an array of objects", hint="strings are np.str_, or np.bytes_ for raw bytes"
        )
    if name not in _SERVED:
        raise InvalidModelError(f"{what} is an array of {name}, which Triton does not serve", hint=_EXAMPLE)
    return name


def _read_dim(dim: Any, what: str) -> int:
    """A size, or -1 for a name."""
    if isinstance(dim, str):
        return -1
    if isinstance(dim, int) and not isinstance(dim, bool) and (dim > 0 or dim == -1):
        return dim
    raise InvalidModelError(f"{what} has the dimension {dim}", hint="write sizes of 1 or more, or names for free ones")
