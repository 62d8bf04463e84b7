"""The manifest of a model that is being packaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import serve_deploy
from serve_deploy.manifest import Manifest
from serve_deploy.packaging.analysis import ModelAnalysis
from serve_deploy.packaging.config_plan import ConfigPlan
from serve_deploy.tensors.types import DataType as WireType
from serve_deploy.tensors.types import TensorSpec

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel


def describe_package(
    source: Path,
    version: int,
    model: OnnxModel,
    analysis: ModelAnalysis,
    plan: ConfigPlan,
    *,
    source_sha256: str,
    release: str,
    fixes: tuple[str, ...],
) -> Manifest:
    """Everything but the files and their verification, which come when the files are written."""
    return Manifest(
        tool_version=serve_deploy.__version__,
        name=plan.config.name,
        version=version,
        triton_release=release,
        source_name=source.name,
        source_sha256=source_sha256,
        files=(),
        onnx_ir_version=model.ir_version,
        onnx_opsets=dict(model.opsets),
        inputs=_client_tensors(plan.config, "input"),
        outputs=tuple(_correct(tensor, analysis) for tensor in _client_tensors(plan.config, "output")),
        batching=analysis.batching,
        labels=dict(plan.labels),
        fixes=fixes,
        samples=len(analysis.samples),
        sample_bytes=max((sum(a.nbytes for a in sample.values()) for sample in analysis.samples), default=0),
    )


def find_contradictions(analysis: ModelAnalysis) -> tuple[str, ...]:
    """Outputs that are declared otherwise than the model returns them, in words."""
    declared = {spec.name: spec.shape for spec in analysis.signature.outputs}
    return tuple(
        f"output {name!r} is declared {list(declared[name])}, but the model returned {list(shape)}"
        for name, shape in analysis.returned.items()
        if name in declared and not _fits(declared[name], shape)
    )


def _fits(declared: tuple[int, ...], returned: tuple[int, ...]) -> bool:
    return len(declared) == len(returned) and all(
        size in (-1, own) for size, own in zip(declared, returned, strict=True)
    )


def _correct(tensor: TensorSpec, analysis: ModelAnalysis) -> TensorSpec:
    """What the model returns decides: a wrongly declared output has any size in as many dimensions as were seen."""
    declared = {spec.name: spec.shape for spec in analysis.signature.outputs}[tensor.name]
    returned = analysis.returned.get(tensor.name, declared)
    if tensor.name not in analysis.returned or _fits(declared, returned):
        return tensor
    return replace(tensor, shape=(-1,) * max(1, len(returned)))


def _client_tensors(config: Any, kind: str) -> tuple[TensorSpec, ...]:
    from tritonclient.grpc.model_config_pb2 import DataType

    batch = (-1,) if config.max_batch_size else ()
    return tuple(
        TensorSpec(
            name=tensor.name,
            data_type=WireType.from_config_name(DataType.Name(tensor.data_type)),
            shape=(*batch, *tensor.dims),
            optional=kind == "input" and tensor.optional,
        )
        for tensor in getattr(config, kind)
    )
