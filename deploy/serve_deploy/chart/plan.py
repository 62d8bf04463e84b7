"""From a repository's models and what was asked for to the chart's values, each with where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from serve_deploy.chart.language_models import (
    derive_language_gpus,
    derive_weights,
    find_language_model,
    image_tag,
    note_language_model,
)
from serve_deploy.chart.model_source import copies_locally, find_port, note_credentials, read_source
from serve_deploy.chart.named_configs import choose_named, derive_engine_cache, note_engine_cache
from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.resources import derive_resources, derive_startup
from serve_deploy.chart.sample_request import sample_request
from serve_deploy.chart.scaling import derive_scaling
from serve_deploy.chart.sequences import derive_affinity, note_sequences
from serve_deploy.chart.source_check import CheckedSource
from serve_deploy.chart.value_paths import DerivedValue, mark_overridden, nest_values
from serve_deploy.chart.values import ChartValues
from serve_deploy.checking.framework_rules import check_artefacts
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.gpu_profiles import find_profile
from serve_deploy.overrides import find_value, merge_values
from serve_deploy.planning.startup import Startup
from serve_deploy.refused_values import find_path, say_plainly
from serve_deploy.releases import DEFAULT_RELEASE, check_release, find_release
from serve_deploy.repository.model_folder import ModelFolder, top_level
from serve_deploy.stores.manifests.manifests import make_snapshot
from serve_deploy.stores.transfer.contents import hash_models

_DIGEST = "digest of the repository's files; a new one rolls the replicas"


@dataclass(frozen=True)
class ChartPlan:
    """The chart's values, their origins, and what the user should know or do next."""

    release: str
    values: ChartValues
    derived: tuple[DerivedValue, ...]
    notes: tuple[str, ...]


def plan_chart(models: Sequence[ModelFolder], options: ChartOptions, checked: CheckedSource | None = None) -> ChartPlan:
    """Derive every value; UsageError or InvalidModelError for what cannot work. `checked` is what the source holds."""
    release, release_origin = choose_release(models, options.release)
    named = choose_named(models, options, release)
    models = named.models
    checked = checked or CheckedSource(read_source(options.source))
    source = checked.values
    language = find_language_model(models)
    start = Startup.of(models, copies=copies_locally(source), gpu=options.gpu is not None or language is not None)
    scaling = derive_scaling(models, options, start)
    derived = [
        DerivedValue("image.tag", image_tag(models, release), release_origin),
        *_derive_source(source),
        *_derive_models(models),
        *(derive_language_gpus(language, options) if language else _derive_gpu(models, options)),
        *derive_resources(models, source, scaling.cpu_cores),
        *derive_startup(start, scaling.cold_start),
        *named.derived,
        *derive_engine_cache(models),
        *(derive_weights(language) if language else ()),
        *derive_affinity(models),
        *_derive_test(models),
        *scaling.derived,
        *_derive_revision(models, options, source),  # last: it may read every file
    ]
    values = validate_values(merge_values(nest_values(derived), options.overrides))
    needs = (f"{model.name}: {need}" for model in models for need in model.needs)
    overridden = tuple(mark_overridden(derived, options.overrides))
    told = note_language_model(language) if language else ()
    return ChartPlan(
        release,
        values,
        overridden,
        (
            *needs, *checked.notes, *note_credentials(values), *told, *named.notes, *note_engine_cache(models),
            *note_sequences(models), *scaling.notes,
        ),
    )  # fmt: skip


def choose_release(models: Sequence[ModelFolder], asked: str | None) -> tuple[str, str]:
    """The Triton release; InvalidModelError where a model is too new for it."""
    packaged = sorted({model.manifest.triton_release for model in models if model.manifest})
    if asked is not None:
        release, origin = find_release(asked).name, "`release`"
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
        for unfit in check_artefacts(model, release).problems if model.manifest.framework else ():
            raise InvalidModelError(f"model {model.name}: {unfit.field}: {unfit.message}", hint=unfit.fix)
    return release, origin


def validate_values(values: Mapping[str, Any]) -> ChartValues:
    """Check values against the chart's own types; UsageError names the first that does not fit."""
    try:
        return ChartValues.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = find_path(values, first)
        message = say_plainly(first["msg"])
        raise UsageError(
            f"chart value {path}: {message}" if path else message,
            hint="values.yaml of a written chart lists every value and what it is for",
        ) from error


def _derive_source(source: Mapping[str, Any]) -> Iterator[DerivedValue]:
    for key, value in source.items():
        if key == "revision":
            fixed = source["source"] != "oci" and source.get("layout") != "snapshots"
            origin = (
                _DIGEST if fixed else "the snapshot of `source` that has these files; another one rolls the replicas"
            )
        else:
            origin = "carried in the chart" if source["source"] == "carried" else "`source`"
        yield DerivedValue(f"modelRepository.{key}", value, origin)
    if port := find_port(source):
        yield DerivedValue("networkPolicy.sourcePorts", [443, port], "the port of `source`")


def _derive_revision(
    models: Sequence[ModelFolder], options: ChartOptions, source: Mapping[str, Any]
) -> Iterator[DerivedValue]:
    """The digest of every file, as a snapshot's ID, unless a revision is given; what is carried has its own."""
    given = find_value(options.overrides, "modelRepository.revision")
    if options.source is None or given is not None or "revision" in source:
        return
    files = hash_models(models[0].path.parent, [model.name for model in models], links_out=True)
    digest = make_snapshot([each.file for each in files]).id
    yield DerivedValue("modelRepository.revision", digest, _DIGEST)


def _derive_models(models: Sequence[ModelFolder]) -> Iterator[DerivedValue]:
    names = [model.name for model in models]
    yield DerivedValue("models.load", names, "the repository's models")
    called = list(top_level(models))
    members = len(names) - len(called)
    origin = f"all but {members} that only ensembles call" if members else "all: the repository has no ensemble"
    yield DerivedValue("models.topLevel", called, origin)


def _derive_gpu(models: Sequence[ModelFolder], options: ChartOptions) -> Iterator[DerivedValue]:
    if options.gpu is None:
        if options.cloud:
            raise UsageError(f"`cloud={options.cloud}` says where a GPU runs", hint="name the GPU with `gpu`")
        return
    profile = find_profile(options.gpu, cloud=options.cloud)
    gpus = int(find_value(options.overrides, "gpu.count") or 1)
    weights = sum(model.size_bytes * (model.instances or 1) for model in models) / 1e9
    if weights > profile.memory_gb * gpus and not find_value(options.overrides, "multiNode.enabled"):
        raise InvalidModelError(
            f"the models take {weights:.0f} GB, each instance its own, and {gpus} {options.gpu} has"
            f" {profile.memory_gb * gpus} GB",
            hint="take a larger GPU, more of them (`settings=gpu.count=2`), fewer instances, or several nodes"
            " (multiNode)",
        )
    yield DerivedValue("gpu.profile", options.gpu, "`gpu`")
    yield DerivedValue(
        "gpu.cloud", options.cloud, "`cloud`" if options.cloud else "any: matched by NVIDIA's node label"
    )


def _derive_test(models: Sequence[ModelFolder]) -> Iterator[DerivedValue]:
    """A real inference for each top-level model that has samples; the others are asked whether they are ready."""
    called = [model for model in models if model.name in top_level(models)]
    requests = {model.name: sample_request(model) for model in called}
    asked = [request or {"model": name, "body": "", "expect": ""} for name, request in requests.items()]
    inferred = ", ".join(name for name, request in requests.items() if request)
    polled = ", ".join(name for name, request in requests.items() if not request)
    parts = [f"first sample of {inferred}"] * bool(inferred) + [f"readiness of {polled}"] * bool(polled)
    yield DerivedValue("test.requests", asked, f"helm test: {', '.join(parts)}")
