"""Rules on tensors that Triton derives from a batch of ragged inputs (core: ValidateBatchIO)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serve_deploy.model_config.problem import Problem, did_you_mean


def check_batch_inputs(config: Any) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    for index, item in enumerate(config.batch_input):
        where = f"batch_input[{index}]"
        yield from _check_kind(where, item)
        yield from _check_source(where, item, config)
        if DataType.Name(item.data_type) not in ("TYPE_INT32", "TYPE_FP32"):
            message = f"{DataType.Name(item.data_type)} is neither TYPE_INT32 nor TYPE_FP32"
            yield Problem(f"{where}.data_type", message, "write the one of the two that the model takes")


def check_batch_outputs(config: Any) -> Iterator[Problem]:
    outputs = [tensor.name for tensor in config.output]
    for index, item in enumerate(config.batch_output):
        where = f"batch_output[{index}]"
        yield from _check_kind(where, item)
        yield from _check_source(where, item, config)
        for place, name in enumerate(item.target_name):
            if name not in outputs:
                fix = did_you_mean(name, outputs) or "name an output that the configuration lists"
                yield Problem(f"{where}.target_name", f"there is no output '{name}'", fix)
            elif name in item.target_name[:place]:
                yield Problem(f"{where}.target_name", f"'{name}' is named twice", "name each output once")


def _check_kind(where: str, item: Any) -> Iterator[Problem]:
    kinds = type(item).Kind
    if item.kind not in kinds.values():
        yield Problem(f"{where}.kind", f"Triton has no kind {item.kind}", f"write one of {', '.join(kinds.keys())}")


def _check_source(where: str, item: Any, config: Any) -> Iterator[Problem]:
    if len(item.source_input) != 1:
        message = f"it has {len(item.source_input) or 'no'} source inputs"
        yield Problem(f"{where}.source_input", message, "name the one input whose sizes it is made from")
    inputs = [tensor.name for tensor in config.input]
    for name in item.source_input:
        if name not in inputs:
            fix = did_you_mean(name, inputs) or "name an input that the configuration lists"
            yield Problem(f"{where}.source_input", f"there is no input '{name}'", fix)
