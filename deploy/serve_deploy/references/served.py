"""What a served model answers, without Triton: the model run here, between arrays as its clients see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serve_deploy.model_config.ensemble_graph import order_steps
from serve_deploy.tensors.wire import encode_text

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]
    Run = Callable[[Arrays], Mapping[str, Array]]


def run_ensemble(config: Any, members: Mapping[str, Run]) -> Run:
    """An ensemble's steps one after the other, each member as its clients see it."""
    ordered, _stuck = order_steps(config)

    def run(inputs: Arrays) -> Mapping[str, Array]:
        tensors = dict(inputs)
        for _index, step in ordered:
            given = {own: tensors[name] for own, name in step.input_map.items() if name in tensors}
            returned = members[step.model_name](given)
            tensors |= {name: returned[own] for own, name in step.output_map.items()}
        return {tensor.name: tensors[tensor.name] for tensor in config.output}

    return run


def run_as_served(config: Any, run: Run, *, is_onnx: bool) -> Run:
    """A model as clients of its configuration see it: in other ranks; with ONNX strings are text, up to a NUL."""

    def served(inputs: Arrays) -> Mapping[str, Array]:
        batch = config.max_batch_size
        given = {each.name: _to_own(inputs[each.name], each, batch) for each in config.input if each.name in inputs}
        returned = run({name: _as_text(array) for name, array in given.items()} if is_onnx else given)
        answer = {each.name: _to_client(np.asarray(returned[each.name]), each, batch) for each in config.output}
        return {name: _cut(array) for name, array in answer.items()} if is_onnx else answer

    return served


def own_shape(shape: Sequence[int], tensor: Any, max_batch_size: int) -> tuple[int, ...]:
    """What the model itself has for the shape that clients see: another where the configuration reshapes it."""
    return (*shape[: int(max_batch_size > 0)], *tensor.reshape.shape) if tensor.HasField("reshape") else tuple(shape)


def _to_own(array: Array, tensor: Any, max_batch_size: int) -> Array:
    return _reshape(array, tensor.dims, tensor.reshape.shape, max_batch_size) if tensor.HasField("reshape") else array


def _to_client(array: Array, tensor: Any, max_batch_size: int) -> Array:
    if tensor.HasField("reshape"):
        return _reshape(array, tensor.reshape.shape, tensor.dims, max_batch_size)
    # Triton has no rank 0: it serves a scalar as [1].
    return array.reshape((1,)) if array.ndim == 0 else array


def _reshape(array: Array, here: Sequence[int], there: Sequence[int], max_batch_size: int) -> Array:
    """From one of a tensor's shapes to the other: their free sizes follow each other in the same order."""
    rows = array.shape[:1] if max_batch_size else ()
    free = iter(size for size, dim in zip(array.shape[len(rows) :], here, strict=True) if dim == -1)
    return array.reshape((*rows, *(next(free) if dim == -1 else dim for dim in there)))


def _as_text(array: Array) -> Array:
    if array.dtype != object:
        return array
    return _each(array, lambda item: item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item)


def _cut(array: Array) -> Array:
    return array if array.dtype != object else _each(array, lambda item: encode_text(item).split(b"\0")[0])


def _each(array: Array, change: Callable[[Any], object]) -> Array:
    changed = np.empty(array.shape, dtype=object)
    changed.reshape(-1)[:] = [change(item) for item in array.flat]
    return changed
