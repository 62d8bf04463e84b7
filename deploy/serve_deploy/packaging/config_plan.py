"""Decide a model's configuration from its analysis: the pbtxt, and the files that it refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from serve_deploy.errors import UsageError
from serve_deploy.manifest import SAMPLES_NAME
from serve_deploy.model_config import (
    CONFIG_NAME,
    ConfigOptions,
    build_model_config,
    check_against_model,
    check_config,
    explain_config,
    format_config,
)
from serve_deploy.model_config.optimization import with_shape_profile
from serve_deploy.model_config.warmup import WARMUP_FOLDER, build_warmup
from serve_deploy.packaging.analysis import ModelAnalysis
from serve_deploy.packaging.labels import Labels, choose_labels
from serve_deploy.packaging.options import PackageOptions


@dataclass(frozen=True)
class ConfigPlan:
    """The configuration, its text with reasons, and every file beside the version folders by its relative path."""

    config: Any
    text: str
    labels: Labels
    files: Mapping[str, bytes]
    notes: tuple[str, ...]


def plan_config(name: str, analysis: ModelAnalysis, options: PackageOptions) -> ConfigPlan:
    """Build and check the configuration; raises what Triton would raise, before Triton does."""
    from serve_deploy.samples.files import encode_samples

    signature, batch = analysis.signature, analysis.batching.max_batch_size
    labels = choose_labels(options.labels, analysis.opened.model.metadata, signature)
    label_files = {output: _label_file(index, len(labels)) for index, output in enumerate(labels)}
    warmup = build_warmup(signature, batch, analysis.samples[0]) if options.warmup and analysis.samples else ()
    settings = replace(
        options.config,
        name=name,
        label_files=label_files,
        warmup=warmup,
        # A batch that the model was never seen to run might keep it from loading.
        warmup_batch_sizes=tuple(sorted({1, min(batch, max(analysis.batching.batch_sizes, default=1)) or 1})),
    )
    settings, notes = _with_profile(settings, analysis)
    config = build_model_config(signature, batch, settings)
    for problem in (*check_config(config, name), *check_against_model(config, signature)):
        raise UsageError(f"Triton would refuse {problem.field}: {problem.message}", hint=problem.fix)
    given = options.max_batch_size is not None
    reasons = explain_config(config, signature, analysis.batching, settings, batch_size_given=given)
    text = format_config(config, reasons)
    files = {CONFIG_NAME: text.encode()}
    files |= {label_files[output]: "".join(f"{label}\n" for label in labels[output]).encode() for output in labels}
    files |= {f"{WARMUP_FOLDER}/{item.file_name}": item.content for item in warmup}
    if analysis.samples:
        files[SAMPLES_NAME] = encode_samples(analysis.samples)
    return ConfigPlan(config, text, labels, files, notes)


def _label_file(index: int, count: int) -> str:
    return "labels.txt" if count == 1 else f"labels_{index}.txt"


def _with_profile(settings: ConfigOptions, analysis: ModelAnalysis) -> tuple[ConfigOptions, tuple[str, ...]]:
    if settings.optimization is None:
        return settings, ()
    batch = analysis.batching.max_batch_size
    shapes = [{name: array.shape for name, array in sample.items()} for sample in analysis.samples]
    profile = with_shape_profile(settings.optimization, analysis.signature, batch, shapes)
    settings = replace(settings, optimization=profile)
    free = any(-1 in (spec.shape[1:] if batch else spec.shape) for spec in analysis.signature.inputs)
    if profile.accelerator != "tensorrt" or not free:
        return settings, ()
    if not any(key.startswith("trt_profile") for key in profile.parameters):
        return settings, ("no TensorRT shape profile, because there are no samples: give some with `samples`",)
    if not analysis.samples_are_generated:
        return settings, ()
    return settings, (
        "the TensorRT shape profile comes from generated samples: give real ones with `samples`, or TensorRT rebuilds "
        "its engine for shapes outside the profile",
    )
