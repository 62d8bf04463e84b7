"""A unified pipeline as Triton's configuration of an ensemble. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serve_deploy.model_config import format_config
from serve_deploy.pipelines.graph import Step, Wiring
from serve_deploy.pipelines.unify import Unified
from serve_deploy.tensors.types import TensorSpec


def build_ensemble_config(
    name: str, wiring: Wiring, unified: Unified, steps: Sequence[Step], label_files: Mapping[str, str]
) -> Any:
    """The ModelConfig: `dims` without the batch where the ensemble batches, and no tensor that nobody reads."""
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    batched = unified.max_batch_size > 0
    message = {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": unified.max_batch_size,
        "input": [{**_tensor(spec, batched=batched), "optional": spec.optional} for spec in unified.inputs],
        "output": [
            {**_tensor(spec, batched=batched), "label_filename": label_files.get(spec.name)} for spec in unified.outputs
        ],
        "ensemble_scheduling": {"step": [_step(step, wiring) for step in steps]},
    }
    return ParseDict(message, ModelConfig())


def format_ensemble_config(config: Any, unified: Unified, steps: Sequence[Step]) -> str:
    """Its text, with the reasons behind the numbers and what each step is."""
    reasons = {"max_batch_size": unified.batch_reason}
    for index, step in enumerate(steps):
        reasons[f"ensemble_scheduling.step[{index}].model_name"] = f"{step.name}: {step.made_from}"
    return format_config(config, reasons)


def _tensor(spec: TensorSpec, *, batched: bool) -> dict[str, Any]:
    shape = spec.shape[1:] if batched else spec.shape
    return {"name": spec.name, "data_type": spec.data_type.config_name, "dims": shape}


def _step(step: Step, wiring: Wiring) -> dict[str, Any]:
    read = {wire.source for wire in wiring.wires} | set(wiring.outputs.values())
    return {
        "model_name": step.model,
        "model_version": -1,
        "input_map": {
            wire.target.tensor: wiring.tensor_name(wire.source)
            for wire in wiring.wires
            if wire.target.step == step.name
        },
        "output_map": {end.tensor: wiring.tensor_name(end) for end in sorted(read, key=str) if end.step == step.name},
    }
