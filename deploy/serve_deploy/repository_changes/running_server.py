"""The models of a running Triton in place of a repository's: their configurations, but not their files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository_changes.change import TritonPlan, VersionChange
from serve_deploy.repository_changes.triton_plans import explain_refusal

_TIMEOUT_SECONDS = 30.0
# A model's folder where nothing can be: what the server has is known by its API alone.
_NOWHERE = Path(os.devnull)


def read_served(url: str) -> dict[str, ModelFolder]:
    """Every model that a server has ready, as it completed the configuration; EndpointError without an answer."""
    with ControlPlane(parse_endpoint(url), timeout_seconds=_TIMEOUT_SECONDS) as control:
        versions: dict[str, list[int]] = {}
        for state in control.model_states():
            if state.state == "READY":
                versions.setdefault(state.name, []).append(int(state.version))
        return {name: _describe(name, found, control.model_config(name)) for name, found in versions.items()}


def _describe(name: str, versions: list[int], config: Mapping[str, Any]) -> ModelFolder:
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    parsed = ParseDict(config, ModelConfig(), ignore_unknown_fields=True)
    return ModelFolder(_NOWHERE / name, (0, 0, 0), tuple(sorted(versions)), None, parsed, None, {})


def plan_served(old: Mapping[str, ModelFolder], new: Mapping[str, ModelFolder]) -> dict[str, TritonPlan]:
    """What is known without the old files: what is new, gone or refused; of all else, nothing."""
    return {name: _plan(old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())}


def _plan(old: ModelFolder | None, new: ModelFolder | None) -> TritonPlan:
    before = old.versions if old else ()
    if new is None:
        return TritonPlan("unload", ("it is gone",), tuple(VersionChange(each, "unloaded") for each in before))
    if refused := tuple(explain_refusal(new)):
        return TritonPlan("refuse", refused, tuple(VersionChange(each, "kept") for each in before))
    if old is None:
        return TritonPlan("load", ("it is new",), tuple(VersionChange(each, "loaded") for each in new.served_versions))
    return TritonPlan("unknown")
