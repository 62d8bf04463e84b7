"""The manifest of a model that is being packaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import serve_deploy
from serve_deploy.config_plan import ConfigPlan
from serve_deploy.manifest import Manifest, Tensor
from serve_deploy.model_analysis import ModelAnalysis

if TYPE_CHECKING:
    from serve_deploy.onnx_model import OnnxModel


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
        inputs=_client_tensors(plan, "input"),
        outputs=_client_tensors(plan, "output"),
        batching=analysis.batching,
        labels=dict(plan.labels),
        fixes=fixes,
        samples=len(analysis.samples),
        sample_bytes=max((sum(a.nbytes for a in sample.values()) for sample in analysis.samples), default=0),
    )


def _client_tensors(plan: ConfigPlan, kind: str) -> tuple[Tensor, ...]:
    from tritonclient.grpc.model_config_pb2 import DataType

    from serve_deploy.tensor import DataType as WireType

    batch = (-1,) if plan.config.max_batch_size else ()
    return tuple(
        Tensor(
            name=tensor.name,
            data_type=WireType.from_config_name(DataType.Name(tensor.data_type)).value,
            shape=(*batch, *tensor.dims),
            optional=kind == "input" and tensor.optional,
        )
        for tensor in getattr(plan.config, kind)
    )
