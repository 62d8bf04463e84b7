"""Decide a model's configuration from what was found: the pbtxt, and the files that it refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.manifest import SAMPLES_NAME
from serve_deploy.model_config import (
    CONFIG_NAME,
    CONFIGS_FOLDER,
    ConfigOptions,
    build_model_config,
    check_against_model,
    check_config,
    explain_config,
    format_config,
)
from serve_deploy.model_config.optimization import with_shape_profile
from serve_deploy.model_config.rules.state import compare_states
from serve_deploy.model_config.warmup import WARMUP_FOLDER, build_warmup
from serve_deploy.packaging.configuration.profiles import NamedPlan, note_named
from serve_deploy.packaging.findings import Findings
from serve_deploy.packaging.labels import Labels, choose_labels, format_labels, keep_labels, name_label_files
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.versions.heritage import Heritage
from serve_deploy.packaging.versions.settings import describe_changes, describe_settings
from serve_deploy.repository.model_folder import ModelFolder


@dataclass(frozen=True)
class ConfigPlan:
    """The configuration, its text with reasons, every file beside the version folders by its relative path.

    `labels` are the version's own, `settings` what the user set, `named` the configurations for GPUs.
    """

    config: Any
    text: str
    labels: Labels
    files: Mapping[str, bytes]
    notes: tuple[str, ...]
    settings: Mapping[str, Any]
    named: tuple[NamedPlan, ...] = ()


def plan_config(
    name: str,
    findings: Findings,
    options: PackageOptions,
    heritage: Heritage,
    plan_named: Callable[[ConfigOptions], tuple[NamedPlan, ...]] | None = None,
) -> ConfigPlan:
    """Build and check the configuration, or take over a newer version's; raises what Triton would raise, before it.

    `plan_named` makes those for GPUs from the options that this one is made from.
    """
    if heritage.newer:
        return _join(heritage.version, findings, heritage.newer)
    plan = _build(name, findings, options, heritage, plan_named)
    if not options.force:
        _require_same_labels(plan, heritage)
    return replace(plan, notes=(*_describe_changes(plan, heritage), *plan.notes))


def _build(
    name: str,
    findings: Findings,
    options: PackageOptions,
    heritage: Heritage,
    plan_named: Callable[[ConfigOptions], tuple[NamedPlan, ...]] | None,
) -> ConfigPlan:
    from serve_deploy.samples.files import encode_samples

    signature, batch = findings.signature, findings.batching.max_batch_size
    labels = choose_labels(options.labels, findings.metadata, signature)
    labels, label_notes = keep_labels(_kept_labels(heritage), labels, signature)
    label_files = name_label_files(labels)
    warms = options.warmup and findings.samples and not findings.sequences
    warmup = build_warmup(signature, batch, findings.samples[0]) if warms else ()
    settings = replace(
        options.config,
        name=name,
        backend=findings.backend,
        label_files=label_files,
        warmup=warmup,
        # A batch that the model was never seen to run might keep it from loading.
        warmup_batch_sizes=tuple(sorted({1, min(batch, max(findings.batching.batch_sizes, default=1)) or 1})),
        sequences=findings.sequences,
    )
    named = plan_named(settings) if plan_named else ()
    settings = _with_profile(settings, findings)
    config = build_model_config(signature, batch, settings)
    for problem in (*check_config(config, name), *check_against_model(config, signature)):
        raise UsageError(f"Triton would refuse {problem.field}: {problem.message}", hint=problem.fix)
    given = options.max_batch_size is not None
    reasons = explain_config(config, signature, findings.batching, settings, batch_size_given=given)
    text = format_config(config, reasons)
    files = {CONFIG_NAME: text.encode(), **{each.summary.path: each.text.encode() for each in named}}
    files |= {label_files[output]: format_labels(names) for output, names in labels.items()}
    files |= {f"{WARMUP_FOLDER}/{item.file_name}": item.content for item in warmup}
    files |= findings.state_files
    if findings.samples:
        files[SAMPLES_NAME] = encode_samples(findings.samples)
    notes = (
        *label_notes,
        *_note_profile(settings, named, findings),
        *note_named(named, settings.version_policy),
    )
    return ConfigPlan(config, text, labels, files, notes, heritage.settings, named)


def _kept_labels(heritage: Heritage) -> Labels:
    there = heritage.existing
    return there.labels if there and heritage.kept.get("labels") else {}


def _require_same_labels(plan: ConfigPlan, heritage: Heritage) -> None:
    """DestinationError where another version is served that was packaged with other class names."""
    there = heritage.existing
    if there is None or there.manifest is None:
        return
    served = there.with_version(heritage.version, plan.config).served_versions
    for document in (there.manifest, *there.manifest.other_versions):
        for output, names in document.labels.items():
            differ = plan.labels.get(output) != names
            if differ and document.version in served and document.version != heritage.version:
                raise DestinationError(
                    f"version {document.version} is served, too, and has other class names for '{output}'; "
                    "all versions share one file of them",
                    hint="choose another `name`, or serve only the newest version: `version_policy=latest:1`",
                )


def _describe_changes(plan: ConfigPlan, heritage: Heritage) -> Iterator[str]:
    """What was kept, and each value of the shared configuration and labels that changes."""
    there = heritage.existing
    if heritage.kept:
        yield f"kept from before: {describe_settings(heritage.kept)}"
    if there is None or there.config_text is None or CONFIG_NAME in there.errors:
        return
    yield from describe_changes(there.config, plan.config, heritage.given)
    for output, before in there.labels.items():
        after = plan.labels.get(output, before)
        if after != before:
            same = len(before) == len(after)
            yield f"class names of '{output}': {f'{len(after)} others' if same else f'{len(before)} → {len(after)}'}"


def _join(version: int, findings: Findings, newer: ModelFolder) -> ConfigPlan:
    """The configuration that is there, with its files; DestinationError where the older version does not fit it."""
    newest = max(newer.versions)
    for problem in (
        *check_against_model(newer.config, findings.signature),
        *compare_states(newer.config, findings.signature),
    ):
        raise DestinationError(
            f"version {version} does not fit the configuration of version {newest}, which all versions share: "
            f"{problem.field}: {problem.message}",
            hint="choose another `name`",
        )
    config = type(newer.config)()
    config.CopyFrom(newer.config)
    config.name = newer.name
    labels = choose_labels((), findings.metadata, findings.signature)
    notes = [f"configuration, labels, warm-up and samples stay those of version {newest}"]
    served = version in newer.with_version(version, config).served_versions
    if not served:
        notes.append(f"version {version} is written but not served: see version_policy in {CONFIG_NAME}")
    for output, names in labels.items():
        if newer.labels.get(output, names) != names:
            message = f"version {version} has other class names for '{output}' than version {newest}"
            if served:
                raise DestinationError(f"{message}, and both are served", hint="choose another `name`")
            notes.append(message)
    return ConfigPlan(config, newer.config_text or "", labels, dict(_shared_files(newer)), tuple(notes), {})


def _shared_files(folder: ModelFolder) -> Iterator[tuple[str, bytes]]:
    named = {CONFIG_NAME, *(tensor.label_filename for tensor in folder.config.output)}
    for path, file in folder.files.items():
        if path in named or path.startswith((f"{WARMUP_FOLDER}/", f"{CONFIGS_FOLDER}/", "initial_state/")):
            yield path, file.read_bytes()
    if folder.samples:
        yield SAMPLES_NAME, folder.samples.read_bytes()


def _with_profile(settings: ConfigOptions, findings: Findings) -> ConfigOptions:
    if settings.optimization is None:
        return settings
    batch = findings.batching.max_batch_size
    profile = with_shape_profile(settings.optimization, findings.signature, batch, findings.shapes)
    return replace(settings, optimization=profile)


def _note_profile(settings: ConfigOptions, named: Sequence[NamedPlan], findings: Findings) -> Iterator[str]:
    """Where TensorRT's shapes come from, if they are free besides the batch."""
    asked = settings.optimization
    tensorrt = asked and asked.accelerator == "tensorrt"
    batched = findings.batching.max_batch_size > 0
    free = any(-1 in (spec.shape[1:] if batched else spec.shape) for spec in findings.signature.inputs)
    if not free or not (tensorrt or any(each.summary.accelerator == "tensorrt" for each in named)):
        return
    given = asked and any(key.startswith("trt_profile") for key in asked.parameters)
    if not findings.samples and not given:
        yield "no TensorRT shape profile, because there are no samples: give some with `samples`"
    elif findings.samples_are_generated:
        yield (
            "the TensorRT shape profile comes from generated samples: give real ones with `samples`, or TensorRT "
            "rebuilds its engine for shapes outside the profile"
        )
