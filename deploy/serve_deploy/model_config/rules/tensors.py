"""Rules on inputs and outputs (core: ValidateIOShape; onnxruntime_backend: ValidateInputs)."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from serve_deploy.model_config.problem import Problem, did_you_mean, is_onnx
from serve_deploy.tensors.types import ModelSignature, TensorSpec


def _each_tensor(config: Any) -> Iterator[tuple[str, str, Any]]:
    """Its kind, its place such as input[0], and the tensor."""
    for kind in ("input", "output"):
        for index, tensor in enumerate(getattr(config, kind)):
            yield kind, f"{kind}[{index}]", tensor


def check_names(config: Any) -> Iterator[Problem]:
    seen = set()
    for kind, where, tensor in _each_tensor(config):
        if not tensor.name:
            yield Problem(f"{where}.name", f"the {kind} has no name", "write the name that the model gives it")
        elif (kind, tensor.name) in seen:
            yield Problem(f"{where}.name", f"'{tensor.name}' is listed twice", "list each tensor once")
        seen.add((kind, tensor.name))


def check_tensors(config: Any) -> Iterator[Problem]:
    for _kind, where, tensor in _each_tensor(config):
        if tensor.data_type == 0:
            yield Problem(f"{where}.data_type", f"'{tensor.name}' has no data_type", "write it, such as TYPE_FP32")
        if not tensor.dims:
            fix = "write dims: [1] for a scalar, and with batching reshape { shape: [] } where the model is [N]"
            yield Problem(f"{where}.dims", f"'{tensor.name}' has no dims", fix)
        if _has_bad_dim(tensor):
            message = f"'{tensor.name}' has a dim below 1"
            yield Problem(f"{where}.dims", message, "write dims of 1 or more, or -1 for any size")


def _has_bad_dim(tensor: Any) -> bool:
    return any(dim < 1 and dim != -1 for dim in (*tensor.dims, *tensor.reshape.shape))


def check_reshapes(config: Any) -> Iterator[Problem]:
    for _kind, where, tensor in _each_tensor(config):
        dims, shape = list(tensor.dims), list(tensor.reshape.shape)
        if not tensor.HasField("reshape") or _has_bad_dim(tensor):
            continue
        if not shape and config.max_batch_size == 0:
            message = f"'{tensor.name}' has an empty reshape without batching"
            yield Problem(f"{where}.reshape", message, "remove reshape: dims: [1] is enough for a scalar")
        elif _element_counts(dims) != _element_counts(shape):
            message = f"'{tensor.name}': {dims} cannot become {shape}"
            yield Problem(f"{where}.reshape", message, "both must have the same number of elements")


def _element_counts(dims: list[int]) -> list[int]:
    """Elements between the free dims: [2, 4, -1, 6] and [8, -1, 1, 6] are both [8, 6]."""
    free = [index for index, dim in enumerate(dims) if dim == -1]
    bounds = zip([-1, *free], [*free, len(dims)], strict=True)
    return [prod(dims[start + 1 : end]) for start, end in bounds]


def check_formats(config: Any) -> Iterator[Problem]:
    """What only TensorRT's engines have, and image layouts that need three dims."""
    for kind, where, tensor in _each_tensor(config):
        for field in ("is_shape_tensor", "is_non_linear_format_io"):
            if getattr(tensor, field) and "tensorrt" not in (config.backend, config.platform.removesuffix("_plan")):
                yield Problem(f"{where}.{field}", f"'{tensor.name}': only TensorRT has it", "remove the line")
        if kind == "input" and tensor.format and len(tensor.dims) != 3:
            layout = type(tensor).Format.Name(tensor.format)
            message = f"'{tensor.name}' has {layout} and the dims {list(tensor.dims)}"
            yield Problem(f"{where}.format", message, "write three dims without the batch, or remove format")


def check_optional(config: Any) -> Iterator[Problem]:
    for index, tensor in enumerate(config.input):
        if tensor.optional and config.max_batch_size and is_onnx(config):
            message = f"'{tensor.name}' is optional in a model that batches"
            yield Problem(f"input[{index}].optional", message, "remove the input, or write max_batch_size: 0")


def check_against_model(config: Any, signature: ModelSignature) -> Iterator[Problem]:
    """What Triton's ONNX Runtime backend would find different between the configuration and the session.

    `signature` is what ONNX Runtime reports of the loaded session, not what the file declares. An empty list of
    inputs or outputs is left to Triton's auto-complete.
    """
    needed = sum(not spec.optional for spec in signature.inputs)
    sequences = config.sequence_batching
    listed = sum(not tensor.optional for tensor in config.input) + len(sequences.control_input) + len(sequences.state)
    if config.input and listed != needed:
        message = f"the configuration lists {listed}, the model needs {needed}"
        yield Problem("input", message, _list_names(signature.inputs))
    for kind, where, tensor in _each_tensor(config):
        specs = signature.inputs if kind == "input" else signature.outputs
        spec = next((spec for spec in specs if spec.name == tensor.name), None)
        if spec is None:
            fix = did_you_mean(tensor.name, (spec.name for spec in specs)) or _list_names(specs)
            yield Problem(f"{where}.name", f"the model has no {kind} '{tensor.name}'", fix)
        else:
            yield from _compare_type(where, tensor, spec)
            yield from _compare_dims(where, tensor, spec, batched=config.max_batch_size > 0, exact=kind == "output")


def _list_names(specs: tuple[TensorSpec, ...]) -> str:
    return "the model has: " + ", ".join(f"'{spec.name}'" for spec in specs)


def _compare_type(where: str, tensor: Any, spec: TensorSpec) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    here, wanted = DataType.Name(tensor.data_type), spec.data_type.config_name
    if here != wanted:
        yield Problem(f"{where}.data_type", f"'{tensor.name}' is {here} here, {wanted} in the model", f"write {wanted}")


def _compare_dims(where: str, tensor: Any, spec: TensorSpec, *, batched: bool, exact: bool) -> Iterator[Problem]:
    dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
    wanted = list(spec.shape[1:] if batched else spec.shape)
    if batched and (not spec.shape or spec.shape[0] != -1):
        message = f"'{tensor.name}' is {list(spec.shape)} in the model: its first dimension is not a free batch"
        fix = "write max_batch_size: 0 and complete dims, or export the model with that dimension in dynamic_axes"
    elif not spec.shape:
        if all(dim == 1 for dim in dims):
            return
        message, fix = f"'{tensor.name}' is a scalar in the model", "write dims: [1]"
    elif _fits(dims, wanted, exact=exact):
        return
    else:
        message = f"'{tensor.name}' is {dims} here, {wanted}{' without the batch' * batched} in the model"
        fix = f"write dims: {wanted}" if wanted else "write dims: [1] reshape { shape: [] }"
    yield Problem(f"{where}.dims", message, fix)


def _fits(dims: list[int], shape: list[int], *, exact: bool) -> bool:
    same_rank = len(dims) == len(shape)
    return same_rank and all(ours == own or (own == -1 and not exact) for ours, own in zip(dims, shape, strict=True))
