"""Call a plain function with named arrays, and name, type and check what it returns.

Written beside each function, and used by serve itself: it knows neither Triton nor serve.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]


class RefusedError(Exception):
    """Why there is no answer, in words for whoever asked, and whether the fault is one of the request.

    That is a ValueError of the function, Python's word for an argument that will not do; all else is a fault of its
    own.
    """

    of_request = False


class BadInputError(RefusedError):
    """The function, or the type of an input, does not take what was sent."""

    of_request = True


class BadResultError(RefusedError):
    """The function did not return what it says it returns."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A name, numpy's name of the type (`bytes` and `str` for strings), and the whole shape with -1 for free dims."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Caller:
    """A function between named arrays; `batched` says that axis 0 of every tensor is the batch."""

    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batched: bool

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        """Run it once; RefusedError says what it raised, or what is wrong with what it returned."""
        types = {tensor.name: tensor.type for tensor in self.inputs}
        arguments = {name: _take(types[name], name, array) for name, array in arrays.items()}
        try:
            returned = self.function(**arguments)
        except (Exception, SystemExit) as error:
            raise (BadInputError if isinstance(error, ValueError) else RefusedError)(_say(error)) from error
        rows = len(next(iter(arrays.values()))) if self.batched and arrays else None
        return {
            tensor.name: _give(tensor, value, rows)
            for tensor, value in zip(self.outputs, self._in_order(returned), strict=True)
        }

    def _in_order(self, returned: Any) -> Sequence[Any]:
        if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
            returned = {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
        if isinstance(returned, Mapping):
            missing = [tensor.name for tensor in self.outputs if tensor.name not in returned]
            if missing:
                raise BadResultError(f"the function did not return '{missing[0]}'")
            return [returned[tensor.name] for tensor in self.outputs]
        values = returned if isinstance(returned, tuple) else (returned,)
        if len(values) != len(self.outputs):
            raise BadResultError(f"the function returned {len(values)} arrays instead of {len(self.outputs)}")
        return values


def answer_requests(
    call: Callable[[Arrays], dict[str, Array]], asked: Sequence[Arrays], *, merges: bool
) -> list[dict[str, Array] | RefusedError]:
    """The outputs of each request, or the error that it makes alone.

    With `merges`, requests with the same inputs of the same shapes share a call, their rows stacked on axis 0.
    """
    groups: dict[Any, list[int]] = {}
    for index, arrays in enumerate(asked):
        key = tuple(sorted((name, array.shape[1:]) for name, array in arrays.items())) if merges else index
        groups.setdefault(key, []).append(index)
    answers: dict[int, dict[str, Array] | RefusedError] = {}
    for group in groups.values():
        answers.update(zip(group, _answer(call, [asked[index] for index in group]), strict=True))
    return [answers[index] for index in range(len(asked))]


def _answer(
    call: Callable[[Arrays], dict[str, Array]], asked: Sequence[Arrays]
) -> list[dict[str, Array] | RefusedError]:
    if len(asked) == 1:
        try:
            return [call(asked[0])]
        except RefusedError as error:
            return [error]
    try:
        outputs = call({name: np.concatenate([arrays[name] for arrays in asked]) for name in asked[0]})
    except RefusedError:
        return [answer for arrays in asked for answer in _answer(call, [arrays])]
    ends = np.cumsum([len(next(iter(arrays.values()))) for arrays in asked])[:-1]
    parts = {name: np.split(array, ends) for name, array in outputs.items()}
    return [{name: part[index] for name, part in parts.items()} for index in range(len(asked))]


def load_function(folder: Path, file: str, name: str) -> Callable[..., Any]:
    """Import a function from a file of a folder, whose other files it can import."""
    path = folder / file
    module_name = f"serve_function_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, name)
    return function


def _take(type_name: str, name: str, array: Array) -> Array:
    if type_name not in ("bytes", "str"):
        return array
    items: list[Any] = [
        item if isinstance(item, bytes) else item.encode("utf-8", "surrogateescape") for item in array.flat
    ]
    if type_name == "str":
        try:
            items = [item.decode() for item in items]
        except UnicodeDecodeError as error:
            raise BadInputError(f"'{name}' is not UTF-8 text: {error.reason} at byte {error.start}") from None
    return _objects(items, array.shape)


def _objects(items: Sequence[Any], shape: tuple[int, ...]) -> Array:
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made.reshape(shape)


def _give(tensor: Tensor, value: Any, rows: int | None) -> Array:
    if not isinstance(value, np.ndarray | np.generic):
        raise BadResultError(f"'{tensor.name}' is {_a(type(value).__name__)}, not an array")
    array = np.asarray(value)
    if tensor.type in ("bytes", "str"):
        array = _give_strings(tensor, array)
    elif array.dtype.name != tensor.type:
        raise BadResultError(f"'{tensor.name}' is {array.dtype.name} instead of {tensor.type}")
    else:
        array = np.ascontiguousarray(array, dtype=tensor.type)  # in this machine's byte order
    fits = len(array.shape) == len(tensor.shape) and all(
        dim in (-1, size) for dim, size in zip(tensor.shape, array.shape, strict=True)
    )
    if not fits:
        raise BadResultError(f"'{tensor.name}' has shape {list(array.shape)} instead of {list(tensor.shape)}")
    if rows is not None and len(array) != rows:
        raise BadResultError(f"'{tensor.name}' has {len(array)} row{'s' * (len(array) != 1)} for {rows} given")
    return array


def _give_strings(tensor: Tensor, array: Array) -> Array:
    items = array.ravel().tolist()
    wrong = next((item for item in items if not isinstance(item, str | bytes)), None)
    if array.dtype.kind not in "OUS" or wrong is not None:
        what = array.dtype.name if array.dtype.kind not in "OUS" else _a(type(wrong).__name__)
        raise BadResultError(f"'{tensor.name}' has {what} where strings are declared")
    return _objects(
        [item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item for item in items], array.shape
    )


def _say(error: BaseException) -> str:
    """What went wrong in one line; the kind where the message alone says too little."""
    message = " ".join(str(error).split())
    plain = isinstance(error, ValueError) and type(error) is ValueError
    return message if plain and message else f"{type(error).__name__}: {message}" if message else type(error).__name__


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
