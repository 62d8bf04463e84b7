"""What the manifest says of every version, whatever kind of model it is."""

from __future__ import annotations

from serve_deploy.manifest import Manifest
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.packaging.configuration.plan import ConfigPlan
from serve_deploy.packaging.findings import Findings
from serve_deploy.tensors.wire import count_largest
from serve_deploy.version import __version__


def describe_version(
    plan: ConfigPlan, findings: Findings, *, version: int, release: str, source_name: str, source_sha256: str
) -> Manifest:
    """All but the files and their verification, which come when the files are written."""
    return Manifest(
        tool_version=__version__,
        name=plan.config.name,
        version=version,
        triton_release=release,
        source_name=source_name,
        source_sha256=source_sha256,
        inputs=client_tensors(plan.config, "input"),
        outputs=client_tensors(plan.config, "output"),
        batching=findings.batching,
        labels=dict(plan.labels),
        settings=dict(plan.settings),
        profiles=tuple(each.summary for each in plan.named),
        samples=len(findings.samples),
        sample_bytes=count_largest(findings.samples),
    )
