"""Build a self-contained chart for a repository: the base chart's templates, this repository's values and models."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from serve_deploy.chart.plan import ChartPlan
from serve_deploy.chart.values.documentation import render_values_yaml
from serve_deploy.errors import DestinationError, InvalidModelError, UsageError
from serve_deploy.repository.model_folder import ModelFolder

CARRIED_FOLDER = "files/models"
# Helm keeps a release in one Secret, which etcd limits; and the files stand in it twice, in the chart and rendered.
RELEASE_LIMIT_BYTES = 2**20
MANIFEST_ALLOWANCE_BYTES = 64 * 1024
# No packing brings this down to what Helm can store, so it need not even be read.
FAR_TOO_BIG_BYTES = 32 * RELEASE_LIMIT_BYTES
_LEFT_OUT = ("ci/", "files/example-model/", "README.md", "files/example-request.json")

Files = dict[str, bytes]


def base_chart() -> Path:
    """The chart that ships with serve: beside the installed package, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "charts" / "triton", package.parents[1] / "charts" / "triton"):
        if (candidate / "Chart.yaml").is_file():
            return candidate
    raise DestinationError("the base chart is missing from this installation", hint="install triton-serve again")


def build_chart(plan: ChartPlan, models: Sequence[ModelFolder], name: str) -> Files:
    """All files of the chart by path; InvalidModelError for a repository too big to be carried."""
    base = base_chart()
    files = {
        path.relative_to(base).as_posix(): path.read_bytes()
        for path in sorted(base.rglob("*"))
        if path.is_file() and not path.relative_to(base).as_posix().startswith(_LEFT_OUT)
    }
    files["values.yaml"] = render_values_yaml(plan.values).encode()
    files["Chart.yaml"] = _describe_chart(files["Chart.yaml"], plan, models, name)
    if plan.values.model_repository.source == "carried":
        size = sum(model.size_bytes for model in models)
        if size > FAR_TOO_BIG_BYTES:
            raise _too_big(size)
        carried = carry_models(models)
        check_carried_size(files, carried)
        files |= carried
    return dict(sorted(files.items()))


def carry_models(models: Sequence[ModelFolder]) -> Files:
    """The repository's files by their place in the chart; an ensemble's empty version folder gets a file to exist."""
    carried = {
        f"{CARRIED_FOLDER}/{model.name}/{relative}": path.read_bytes()
        for model in models
        for relative, path in model.files.items()
    }
    for model in models:
        if model.members and not any(relative.partition("/")[0].isdigit() for relative in model.files):
            carried[f"{CARRIED_FOLDER}/{model.name}/1/README"] = b"An ensemble needs a version folder.\n"
    return carried


def check_carried_size(files: Mapping[str, bytes], carried: Mapping[str, bytes]) -> None:
    """Refuse what Helm could not store: its release is JSON of all files, packed, in base64, in one Secret."""
    raw = sum(map(len, carried.values()))
    chart = _packed_size([*files.values(), *carried.values()])
    stored = 4 * (chart + _packed_size(list(carried.values()))) // 3 + MANIFEST_ALLOWANCE_BYTES
    # The ConfigMap holds the files unpacked, in base64, and has the same limit.
    if stored > RELEASE_LIMIT_BYTES or 4 * raw // 3 > RELEASE_LIMIT_BYTES:
        raise _too_big(raw)


def _too_big(size_bytes: int) -> InvalidModelError:
    return InvalidModelError(
        f"the repository ({size_bytes / 1e6:.1f} MB) is too big to be carried in the chart: Helm keeps a release in one"
        " Secret of at most 1 MiB, with every file in it twice",
        hint="put it where the cluster can read it and add `source=s3://…` (or gs://, as://, pvc://, oci://, https://)",
    )


def check_name(name: str) -> None:
    """Refuse what cannot be a chart name: Helm takes lower-case letters, digits and dashes."""
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        raise UsageError(
            f"'{name}' is not a chart name", hint="use lower-case letters, digits and dashes: `name=my-models`"
        )


def _describe_chart(text: bytes, plan: ChartPlan, models: Sequence[ModelFolder], name: str) -> bytes:
    check_name(name)
    description: dict[str, Any] = yaml.safe_load(text)
    names = ", ".join(model.name for model in models)
    served = [model.under(plan.values.server.model_config_name) for model in models]
    digests = {model.name: (model.config_sha256 or "completed by Triton")[:12] for model in served}
    annotations = description.get("annotations", {}) | {
        "triton-serve/configurations": json.dumps(digests, sort_keys=True)
    }
    description |= {
        "name": name,
        "description": f"NVIDIA Triton Inference Server with {names}, scaled on requests in flight.",
        "appVersion": plan.release,
        "annotations": annotations,
    }
    header = "# Written by serve chart from a model repository.\n"
    return (header + yaml.safe_dump(description, sort_keys=False, width=120)).encode()


def _packed_size(contents: Sequence[bytes]) -> int:
    return len(gzip.compress(b"".join(b64encode(data) for data in contents), 9, mtime=0))
