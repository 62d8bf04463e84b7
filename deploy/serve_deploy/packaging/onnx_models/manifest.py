"""The manifest of a model that is being packaged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from serve_deploy.manifest import Manifest
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.packaging.configuration.plan import ConfigPlan
from serve_deploy.packaging.findings import ModelAnalysis
from serve_deploy.packaging.fixes.servable import Servable
from serve_deploy.tensors.wire import count_largest
from serve_deploy.version import __version__

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel


def describe_package(
    source: OnnxModel, version: int, analysis: ModelAnalysis, plan: ConfigPlan, release: str, servable: Servable
) -> Manifest:
    """Everything but the files and their verification, which come when the files are written."""
    model = analysis.opened.model
    returned = contradicted_outputs(analysis)
    return Manifest(
        tool_version=__version__,
        name=plan.config.name,
        version=version,
        triton_release=release,
        source_name=source.path.name,
        source_sha256=source.sha256,
        onnx_ir_version=model.ir_version,
        onnx_opsets=dict(model.opsets),
        runs_every_operator=servable.runs_every_operator,
        inputs=client_tensors(plan.config, "input"),
        outputs=tuple(
            # What the model returns decides: any size, in as many dimensions as were seen.
            replace(tensor, shape=(-1,) * max(1, len(returned[tensor.name]))) if tensor.name in returned else tensor
            for tensor in client_tensors(plan.config, "output")
        ),
        batching=analysis.batching,
        labels=dict(plan.labels),
        settings=dict(plan.settings),
        fixes=servable.fixes,
        profiles=tuple(each.summary for each in plan.named),
        samples=len(analysis.samples),
        state=analysis.state,
        sample_bytes=count_largest(analysis.samples),
    )


def contradicted_outputs(analysis: ModelAnalysis) -> dict[str, tuple[int, ...]]:
    """The outputs that the model returns in another shape than declared, each with that shape."""
    returned = analysis.returned
    return {
        spec.name: returned[spec.name]
        for spec in analysis.signature.outputs
        if spec.name in returned and not spec.fits(returned[spec.name])
    }
