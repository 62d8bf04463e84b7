"""From a repository's models and what was asked for to the chart's values, each with where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from serve_deploy.chart.gpu_profiles import find_profile
from serve_deploy.chart.model_source import copies_locally, read_source
from serve_deploy.chart.plan.request import ChartPlan, ChartRequest, DerivedValue, override
from serve_deploy.chart.plan.resources import derive_resources
from serve_deploy.chart.plan.scaling import derive_scaling
from serve_deploy.chart.plan.startup import Startup, derive_startup
from serve_deploy.chart.sample_request import sample_request
from serve_deploy.chart.values import ChartValues
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.releases import DEFAULT_RELEASE, check_release, find_release
from serve_deploy.repository.model_folder import ModelFolder, top_level


def plan_chart(models: Sequence[ModelFolder], request: ChartRequest) -> ChartPlan:
    """Derive every value; UsageError or InvalidModelError for what cannot work."""
    release, release_origin = choose_release(models, request.release)
    source = read_source(request.source)
    start = Startup.of(models, copies=copies_locally(source), gpu=request.gpu is not None)
    derived = [
        DerivedValue("image.tag", f"{release}-py3", release_origin),
        *(
            DerivedValue(f"modelRepository.{key}", value, "--source" if request.source else "carried in the chart")
            for key, value in source.items()
        ),
        *_derive_models(models),
        *_derive_gpu(models, request),
        *derive_resources(models, source),
        *derive_startup(start),
        *_derive_test(models),
    ]
    scaling, notes = derive_scaling(models, request, start)
    derived += scaling
    values = merge_values(_nest(derived), request.overrides)
    return ChartPlan(
        release, validate_values(values), tuple(_mark_overridden(derived, request.overrides)), tuple(notes)
    )


def choose_release(models: Sequence[ModelFolder], asked: str | None) -> tuple[str, str]:
    """The Triton release; InvalidModelError where a model is too new for it."""
    packaged = sorted({model.manifest.triton_release for model in models if model.manifest})
    if asked is not None:
        release, origin = find_release(asked).name, "--triton"
    elif packaged:
        release, origin = packaged[-1], "the newest release that a model was packaged for"
    else:
        release, origin = DEFAULT_RELEASE, "the default release"
    for model in models:
        if model.manifest is None:
            continue
        problem = check_release(release, model.manifest.onnx_ir_version, model.manifest.onnx_opsets)
        if problem is not None:
            raise InvalidModelError(f"model {model.name}: {problem.message}", hint=problem.hint)
    return release, origin


def validate_values(values: Mapping[str, Any]) -> ChartValues:
    """Check values against the chart's own types; UsageError names the first that does not fit."""
    try:
        return ChartValues.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(
            f"chart value {path}: {message}" if path else message,
            hint="serve chart writes values.yaml with every value and what it is for",
        ) from error


def merge_values(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged, all else is replaced, as Helm does it."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge_values(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _derive_models(models: Sequence[ModelFolder]) -> Iterator[DerivedValue]:
    names = [model.name for model in models]
    yield DerivedValue("models.load", names, "the repository's models")
    called = list(top_level(models))
    members = len(names) - len(called)
    origin = f"all but {members} that only ensembles call" if members else "all: the repository has no ensemble"
    yield DerivedValue("models.topLevel", called, origin)


def _derive_gpu(models: Sequence[ModelFolder], request: ChartRequest) -> Iterator[DerivedValue]:
    if request.gpu is None:
        if request.cloud:
            raise UsageError(f"--cloud {request.cloud} says where a GPU runs", hint="name the GPU with --gpu")
        return
    profile = find_profile(request.gpu, cloud=request.cloud)
    gpus = int(override(request.overrides, "gpu.count") or 1)
    weights = sum(model.size_bytes * (model.instances or 1) for model in models) / 1e9
    if weights > profile.memory_gb * gpus and not override(request.overrides, "multiNode.enabled"):
        raise InvalidModelError(
            f"the models take {weights:.0f} GB, each instance its own, and {gpus} {request.gpu} has"
            f" {profile.memory_gb * gpus} GB",
            hint="take a larger GPU, more of them (--set gpu.count=2), fewer instances, or several nodes (multiNode)",
        )
    yield DerivedValue("gpu.profile", request.gpu, "--gpu")
    yield DerivedValue(
        "gpu.cloud", request.cloud, "--cloud" if request.cloud else "any: matched by NVIDIA's node label"
    )


def _derive_test(models: Sequence[ModelFolder]) -> Iterator[DerivedValue]:
    """A real inference for each top-level model that has samples; the others are asked whether they are ready."""
    called = [model for model in models if model.name in top_level(models)]
    requests = {model.name: sample_request(model) for model in called}
    asked = [request or {"model": name, "body": "", "expect": ""} for name, request in requests.items()]
    inferred = [name for name, request in requests.items() if request]
    polled = [name for name, request in requests.items() if not request]
    parts = [f"first sample of {', '.join(inferred)}"] * bool(inferred) + [f"readiness of {', '.join(polled)}"] * bool(
        polled
    )
    yield DerivedValue("test.requests", asked, "helm test: " + ", ".join(parts))


def _mark_overridden(derived: Sequence[DerivedValue], overrides: Mapping[str, Any]) -> Iterator[DerivedValue]:
    for each in derived:
        value = override(overrides, each.path)
        yield each if value is None else replace(each, value=value, origin="--set or --values")


def _nest(derived: Sequence[DerivedValue]) -> dict[str, Any]:
    """Paths in brackets are facts on the way to a value, not values."""
    values: dict[str, Any] = {}
    for each in derived:
        if each.path.startswith("("):
            continue
        *parents, last = each.path.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = each.value
    return values
