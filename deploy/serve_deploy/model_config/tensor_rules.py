"""Rules on inputs and outputs (core: ValidateIOShape; onnxruntime_backend: ValidateInputs)."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from serve_deploy.model_config.problem import Problem, is_onnx
from serve_deploy.tensors.types import ModelSignature, TensorSpec


def check_tensors(config: Any) -> Iterator[Problem]:
    for kind in ("input", "output"):
        names = [tensor.name for tensor in getattr(config, kind)]
        for index, tensor in enumerate(getattr(config, kind)):
            where = f"{kind}[{index}]"
            if not tensor.name:
                yield Problem(f"{where}.name", "a tensor has no name", "write the name that the model gives it")
            elif tensor.name in names[:index]:
                yield Problem(f"{where}.name", f"{tensor.name!r} is listed twice", "list each tensor once")
            yield from _check_tensor(where, tensor, config.max_batch_size)


def _check_tensor(where: str, tensor: Any, max_batch_size: int) -> Iterator[Problem]:
    if tensor.data_type == 0:
        yield Problem(f"{where}.data_type", f"{tensor.name!r} has no data_type", "write its type, such as TYPE_FP32")
    if not tensor.dims:
        yield Problem(
            f"{where}.dims",
            f"{tensor.name!r} has no dims",
            "write dims: [1] for a scalar, and with batching reshape { shape: [] } where the model is [N]",
        )
    if any(dim < 1 and dim != -1 for dim in (*tensor.dims, *tensor.reshape.shape)):
        yield Problem(f"{where}.dims", f"{tensor.name!r} has a dim below 1", "dims are 1 or more, or -1 for any size")
    elif tensor.HasField("reshape"):
        yield from _check_reshape(where, tensor, max_batch_size)


def _check_reshape(where: str, tensor: Any, max_batch_size: int) -> Iterator[Problem]:
    dims, shape = list(tensor.dims), list(tensor.reshape.shape)
    if not shape and max_batch_size == 0:
        yield Problem(
            f"{where}.reshape",
            f"{tensor.name!r} has an empty reshape without batching",
            "leave reshape out: dims: [1] is enough for a scalar",
        )
    elif _element_counts(dims) != _element_counts(shape):
        yield Problem(
            f"{where}.reshape",
            f"{tensor.name!r}: {dims} cannot become {shape}",
            "both need the same number of elements",
        )


def _element_counts(dims: list[int]) -> list[int]:
    """Elements between the free dims: [2, 4, -1, 6] and [8, -1, 1, 6] are both [8, 6]."""
    free = [index for index, dim in enumerate(dims) if dim == -1]
    bounds = zip([-1, *free], [*free, len(dims)], strict=True)
    return [prod(dims[start + 1 : end]) for start, end in bounds]


def check_optional(config: Any) -> Iterator[Problem]:
    for index, tensor in enumerate(config.input):
        if tensor.optional and config.max_batch_size and is_onnx(config):
            yield Problem(
                f"input[{index}].optional",
                f"{tensor.name!r} is optional in a model that batches",
                "remove the input, or write max_batch_size: 0",
            )


def check_against_model(config: Any, signature: ModelSignature) -> Iterator[Problem]:
    """What Triton's ONNX Runtime backend would find different between the configuration and the session.

    `signature` is what ONNX Runtime reports of the loaded session, not what the file declares. An empty list of
    inputs or outputs is left to Triton's auto-complete.
    """
    batched = config.max_batch_size > 0
    needed = sum(not spec.optional for spec in signature.inputs)
    sequences = config.sequence_batching
    listed = sum(not tensor.optional for tensor in config.input) + len(sequences.control_input) + len(sequences.state)
    if config.input and listed != needed:
        yield Problem("input", f"{listed} inputs listed, the model needs {needed}", _list_names(signature.inputs))
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        known = {spec.name: spec for spec in specs}
        for index, tensor in enumerate(getattr(config, kind)):
            where = f"{kind}[{index}]"
            if tensor.name not in known:
                yield Problem(f"{where}.name", f"the model has no {kind} {tensor.name!r}", _list_names(specs))
            else:
                yield from _compare_tensor(where, tensor, known[tensor.name], batched=batched, exact=kind == "output")


def _list_names(specs: tuple[TensorSpec, ...]) -> str:
    return "the model has: " + ", ".join(repr(spec.name) for spec in specs)


def _compare_tensor(where: str, tensor: Any, spec: TensorSpec, *, batched: bool, exact: bool) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    if DataType.Name(tensor.data_type) != spec.data_type.config_name:
        yield Problem(
            f"{where}.data_type",
            f"{tensor.name!r} is {DataType.Name(tensor.data_type)} here, {spec.data_type.config_name} in the model",
            f"write {spec.data_type.config_name}",
        )
    dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
    if batched and (not spec.shape or spec.shape[0] != -1):
        yield Problem(
            f"{where}.dims",
            f"{tensor.name!r} is {list(spec.shape)} in the model: its first dimension is no free batch",
            "write max_batch_size: 0 and complete dims, or export the model with that dimension in dynamic_axes",
        )
    elif not spec.shape and not batched:
        if any(dim != 1 for dim in dims):
            yield Problem(f"{where}.dims", f"{tensor.name!r} is a scalar in the model", "write dims: [1]")
    elif not _fits(dims, spec.shape[1:] if batched else spec.shape, exact=exact):
        wanted = list(spec.shape[1:] if batched else spec.shape)
        without = " without the batch" if batched else ""
        yield Problem(
            f"{where}.dims",
            f"{tensor.name!r} is {dims} here, {wanted}{without} in the model",
            f"write dims: {wanted}" if wanted else "write dims: [1] reshape { shape: [] }",
        )


def _fits(dims: list[int], shape: tuple[int, ...], *, exact: bool) -> bool:
    same_rank = len(dims) == len(shape)
    return same_rank and all(ours == own or (own == -1 and not exact) for ours, own in zip(dims, shape, strict=True))
