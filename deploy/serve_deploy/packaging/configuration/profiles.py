"""A configuration for each kind of GPU, and for the CPU, beside the one that serves everywhere.

Triton takes configs/NAME.pbtxt in place of config.pbtxt when it is started with `--model-config-name=NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.gpu_profiles import PROFILES, GpuProfile
from serve_deploy.manifest import ProfileConfig
from serve_deploy.model_config import (
    ConfigOptions,
    build_model_config,
    explain_config,
    format_config,
    named_config_path,
)
from serve_deploy.model_config.options import Devices, VersionPolicy
from serve_deploy.packaging.configuration.gpu_sizing import GpuSizing, in_words, size_for_gpu
from serve_deploy.packaging.configuration.profile_basis import Basis
from serve_deploy.packaging.configuration.tensorrt_options import choose_tensorrt, workspace_bytes
from serve_deploy.packaging.options.profile_names import CPU
from serve_deploy.releases import NAMED_CONFIGS_SINCE, find_release

_NOT_RUN = "Never run on that GPU: there, serve tune --model-config-name={} finds better numbers."
_TUNED = "found by serve tune"
_GPU = "optimization.execution_accelerators.gpu_execution_accelerator"


def check_profiles(profiles: Sequence[str], release: str) -> None:
    """UsageError where the release's Triton has no way to choose a configuration."""
    if profiles and find_release(release).name < NAMED_CONFIGS_SINCE:
        raise UsageError(
            f"`profiles`: Triton {release} does not have --model-config-name, which chooses between them",
            hint=f"use `release={NAMED_CONFIGS_SINCE}` or later",
        )


@dataclass(frozen=True)
class NamedPlan:
    """One configuration, its text with reasons, and its line in the manifest."""

    config: Any
    text: str
    summary: ProfileConfig
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Draft:
    """A configuration before it is built: its options, batch and reasons."""

    settings: ConfigOptions
    batch: int
    header: tuple[str, ...]
    reasons: dict[str, str] = field(default_factory=dict)


def plan_profile(name: str, basis: Basis) -> NamedPlan:
    """The configuration for one GPU or the CPU; InvalidModelError where that GPU cannot hold the model's weights."""
    if name == CPU:
        draft = _draft_cpu(basis)
        return _finish(name, basis, draft)
    gpu = PROFILES[name]
    if basis.need.weights_bytes > gpu.usable_bytes:
        raise InvalidModelError(
            f"the weights take {in_words(basis.need.weights_bytes)}, and {name} has {in_words(gpu.usable_bytes)}",
            hint=f"leave {name} out of `profiles`",
        )
    settings = basis.settings
    workspace = workspace_bytes(settings.optimization, gpu)
    sizing = size_for_gpu(gpu, basis.need, basis.largest_batch, workspace, instances=settings.instances)
    plan = _finish(name, basis, _draft_gpu(name, gpu, basis, sizing), sizing)
    if sizing.fits:
        return plan
    each = f"{sizing.instances} × {in_words(sizing.instance_bytes)}"
    note = f"{name} may be too small: {each} (estimated) of {in_words(gpu.usable_bytes)}"
    return replace(plan, notes=(note,))


def _draft_cpu(basis: Basis) -> _Draft:
    settings, asked = basis.settings, basis.settings.optimization
    openvino = asked if asked and asked.accelerator == "openvino" else None
    return _Draft(
        replace(_fit(settings, basis.largest_batch), devices=Devices("cpu"), optimization=openvino),
        basis.largest_batch,
        (_header(CPU, "a CPU, even where there is a GPU"),),
        {"instance_group.kind": "never on a GPU"},
    )


def _draft_gpu(name: str, gpu: GpuProfile, basis: Basis, sizing: GpuSizing) -> _Draft:
    asked = basis.settings.optimization
    if asked and asked.accelerator == "cuda":
        optimization, reasons = asked, {_GPU: "ONNX Runtime's own CUDA kernels, chosen by the user"}
    else:
        optimization, reasons = choose_tensorrt(name, gpu, basis, sizing)
    settings = replace(
        _fit(basis.settings, sizing.max_batch_size),
        devices=basis.settings.devices if basis.settings.kind == "gpu" else Devices("gpu"),
        instances=sizing.instances,
        optimization=optimization,
    )
    memory = f"{gpu.usable_gib:g} GiB of memory, compute capability {gpu.compute_capability}"
    estimate = basis.need.describe(sizing.max_batch_size, sizing.workspace_bytes)
    header = (
        _header(name, f"{name}: {memory}"),
        f"# An instance is estimated at {in_words(sizing.instance_bytes)}: {estimate}.",
        *(() if basis.tuned else (f"# {_NOT_RUN.format(name)}",)),
    )
    return _Draft(settings, sizing.max_batch_size, header, reasons | _explain_sizing(name, gpu, basis, sizing))


def _fit(settings: ConfigOptions, batch: int) -> ConfigOptions:
    """The options without what lies beyond the largest batch, and makes Triton refuse the model."""
    warmups = {min(size, max(batch, 1)) for size in settings.warmup_batch_sizes}
    return replace(
        settings,
        warmup_batch_sizes=tuple(sorted(warmups)),
        preferred_batch_sizes=tuple(size for size in settings.preferred_batch_sizes if size <= batch),
    )


def _header(name: str, what: str) -> str:
    return f"# For {what}. Triton takes this file with --model-config-name={name}."


def _explain_sizing(name: str, gpu: GpuProfile, basis: Basis, sizing: GpuSizing) -> dict[str, str]:
    share = f"{sizing.instances} × {in_words(sizing.instance_bytes)} of {in_words(gpu.usable_bytes)} (estimated)"
    if basis.settings.instances is not None:
        count = f"{_TUNED if 'instances' in basis.tuned else 'chosen by the user'}; {share}"
    elif sizing.instances > 1:
        count = f"assumed: one copies while the other computes; {share}"
    else:
        count = f"{name} may not hold two; {share}"
    reasons = {"instance_group.kind": "only on a GPU", "instance_group.count": f"on each GPU, {count}"}
    if sizing.max_batch_size < basis.largest_batch:
        reasons["max_batch_size"] = (
            f"{basis.largest_batch} may not fit into {in_words(gpu.usable_bytes)} (estimated); {share}"
        )
    return reasons


def _finish(name: str, basis: Basis, draft: _Draft, sizing: GpuSizing | None = None) -> NamedPlan:
    settings = draft.settings
    config = build_model_config(basis.signature, draft.batch, settings)
    explained = explain_config(
        config, basis.signature, basis.batching, settings, batch_size_given=basis.batch_size_given
    )
    reasons = {**explained, **_explain_tuned(basis), **draft.reasons}
    text = "".join(f"{line}\n" for line in draft.header) + format_config(config, reasons)
    optimization = settings.optimization
    summary = ProfileConfig(
        profile=name,
        path=named_config_path(name),
        instances=settings.instances or 1,
        max_batch_size=draft.batch,
        accelerator=optimization.accelerator if optimization else "",
        precision=optimization.parameters.get("precision_mode", "") if optimization else "",
        instance_bytes=sizing.instance_bytes if sizing else None,
        gpu_bytes=PROFILES[name].usable_bytes if sizing else 0,
    )
    return NamedPlan(config, text, summary)


def _explain_tuned(basis: Basis) -> dict[str, str]:
    paths = {
        "max_queue_delay_us": "dynamic_batching.max_queue_delay_microseconds",
        "preferred_batch_sizes": "dynamic_batching.preferred_batch_size",
        "instances": "instance_group.count",
        "threads": "parameters[intra_op_thread_count]",
    }
    reasons = {path: _TUNED for name, path in paths.items() if name in basis.tuned}
    if (wanted := basis.tuned.get("max_batch_size")) is not None:
        beyond = f"; {wanted} is not proven: serve package --max-batch-size {wanted}"
        reasons["max_batch_size"] = _TUNED + (beyond if wanted > basis.largest_batch else "")
    return reasons


def note_named(plans: tuple[NamedPlan, ...], policy: VersionPolicy | None) -> Iterator[str]:
    """What the user should know of them."""
    for plan in plans:
        yield from plan.notes
    if any(plan.summary.accelerator == "tensorrt" for plan in plans):
        yield "the GPUs' configurations were not run: TensorRT builds its engine when the model first loads there"
        if not serves_one(policy):
            yield "no engine is kept: several versions are served, and one would be given the other's engine"


def serves_one(policy: VersionPolicy | None) -> bool:
    """Whether one version is served: a second would find the first one's engine under its own name."""
    return policy is None or policy.latest == 1 or len(policy.specific) == 1
