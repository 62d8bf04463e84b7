"""The manifest of a model that is being packaged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from serve_deploy.manifest import Manifest
from serve_deploy.packaging.configuration.manifest import describe_version
from serve_deploy.packaging.configuration.plan import ConfigPlan
from serve_deploy.packaging.findings import ModelAnalysis
from serve_deploy.packaging.fixes.servable import Servable

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel


def describe_package(
    source: OnnxModel, version: int, analysis: ModelAnalysis, plan: ConfigPlan, release: str, servable: Servable
) -> Manifest:
    """Everything but the files and their verification, which come when the files are written."""
    model, returned = analysis.opened.model, contradicted_outputs(analysis)
    common = describe_version(
        plan, analysis, version=version, release=release, source_name=source.path.name, source_sha256=source.sha256
    )
    return common.model_copy(
        update={
            "onnx_ir_version": model.ir_version,
            "onnx_opsets": dict(model.opsets),
            "runs_every_operator": servable.runs_every_operator,
            "outputs": tuple(
                # What the model returns decides: any size, in as many dimensions as were seen.
                replace(each, shape=(-1,) * max(1, len(returned[each.name]))) if each.name in returned else each
                for each in common.outputs
            ),
            "fixes": servable.fixes,
            "state": analysis.state,
        }
    )


def contradicted_outputs(analysis: ModelAnalysis) -> dict[str, tuple[int, ...]]:
    """The outputs that the model returns in another shape than declared, each with that shape."""
    returned = analysis.returned
    return {
        spec.name: returned[spec.name]
        for spec in analysis.signature.outputs
        if spec.name in returned and not spec.fits(returned[spec.name])
    }
