"""Rules on warm-up requests (core: TritonModelInstance::GenerateWarmupData, then as for any request)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serve_deploy.model_config.problem import Problem, did_you_mean, is_ensemble, is_onnx


def check_warmup(config: Any) -> Iterator[Problem]:
    """Each warm-up is a request that the model would answer; Triton skips those of batch size 0."""
    for index, warmup in enumerate(config.model_warmup):
        where = f"model_warmup[{index}]"
        if 0 < config.max_batch_size < warmup.batch_size and is_onnx(config):
            message = f"{warmup.batch_size} is above max_batch_size ({config.max_batch_size})"
            yield Problem(f"{where}.batch_size", message, f"write {config.max_batch_size} or less")
        if warmup.batch_size and not is_ensemble(config):
            yield from _check_inputs(f"{where}.inputs", warmup.inputs, config)


def _check_inputs(where: str, inputs: Mapping[str, Any], config: Any) -> Iterator[Problem]:
    listed = {tensor.name: tensor for tensor in config.input}
    for name, item in sorted(inputs.items()):
        if any(dim < 0 for dim in item.dims):
            yield Problem(where, f"'{name}' has a dim of -1", "write a size for every dim")
        elif name in listed:
            yield from _compare(where, name, item, listed[name])
        elif listed and not config.HasField("sequence_batching"):
            fix = did_you_mean(name, listed) or "name the model's inputs"
            yield Problem(where, f"the model has no input '{name}'", fix)
        if item.WhichOneof("input_data_type") is None:
            yield Problem(where, f"'{name}' has no data", "set zero_data, random_data or a file")
    for name, tensor in listed.items():
        if name not in inputs and not tensor.optional:
            yield Problem(where, f"it has no input '{name}'", "give every input that the model requires")


def _compare(where: str, name: str, item: Any, tensor: Any) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    if item.data_type != tensor.data_type:
        types = [DataType.Name(each.data_type) for each in (item, tensor)]
        yield Problem(where, f"'{name}' is {types[0]}, the model's input {types[1]}", f"write {types[1]}")
    dims, wanted = list(item.dims), list(tensor.dims)
    fits = len(dims) == len(wanted) and all(own in (-1, dim) for dim, own in zip(dims, wanted, strict=True))
    if not fits and not tensor.allow_ragged_batch:
        yield Problem(where, f"'{name}' has the dims {dims}, the model's input {wanted}", "write sizes that fit")
