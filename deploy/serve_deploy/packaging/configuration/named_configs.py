"""What the configurations for GPUs are made from: the model's weights, graph and samples; and what is in their way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.model_config import (
    ConfigOptions,
    check_against_model,
    check_config,
    named_config_path,
)
from serve_deploy.packaging.configuration.gpu_sizing import MemoryNeed
from serve_deploy.packaging.configuration.profile_basis import Basis
from serve_deploy.packaging.configuration.profiles import NamedPlan, check_profiles, plan_profile, serves_one
from serve_deploy.packaging.findings import ModelAnalysis
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.options.profile_names import CPU
from serve_deploy.packaging.versions.settings import with_profile_settings
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import hash_file

if TYPE_CHECKING:
    from serve_deploy.onnx.session import OpenedModel

_DIGEST_LENGTH = 12


def plan_named(
    settings: ConfigOptions, analysis: ModelAnalysis, options: PackageOptions, existing: ModelFolder | None
) -> tuple[NamedPlan, ...]:
    """A configuration for each of `profiles`; `settings` are config.pbtxt's, before a shape profile.

    DestinationError where a file of that name was written by hand, UsageError for what Triton would refuse.
    """
    names = options.profiles or ()
    if not names:
        return ()
    check_profiles(names, options.release or DEFAULT_RELEASE)
    if existing and not options.force:
        _require_ours(names, existing)
    basis = _read_basis(settings, analysis, options, gpus=set(names) != {CPU})
    plans = [plan_profile(name, _tuned(basis, options.profile_settings.get(name, {}))) for name in names]
    for plan in plans:
        for problem in (
            *check_config(plan.config, settings.name),
            *check_against_model(plan.config, analysis.signature),
        ):
            raise UsageError(
                f"Triton would refuse {plan.summary.path}: {problem.field}: {problem.message}", hint=problem.fix
            )
    return tuple(plans)


def _tuned(basis: Basis, settings: Mapping[str, Any]) -> Basis:
    return replace(basis, settings=with_profile_settings(basis.settings, settings), tuned=settings)


def _require_ours(names: tuple[str, ...], existing: ModelFolder) -> None:
    written = {file.path for file in existing.manifest.files} if existing.manifest else set()
    for name in names:
        if (existing.path / named_config_path(name)).exists() and named_config_path(name) not in written:
            raise DestinationError(
                f"{existing.path / named_config_path(name)} was written by hand, and packaging would replace it",
                hint=f"keep a copy of it and use `force=True`, or leave {name} out of `profiles`",
            )


def _read_basis(settings: ConfigOptions, analysis: ModelAnalysis, options: PackageOptions, *, gpus: bool) -> Basis:
    basis = Basis(
        signature=analysis.signature,
        batching=analysis.batching,
        settings=settings,
        need=MemoryNeed(0, None),
        precision="FP32",
        shapes=analysis.shapes,
        batch_size_given=options.max_batch_size is not None,
    )
    if not gpus:
        return basis
    from serve_deploy.onnx.graph_memory import find_precision, peak_activation_bytes

    opened, graph = analysis.opened, analysis.opened.parse()
    precision = find_precision(graph)
    need = MemoryNeed(_weights_bytes(opened), peak_activation_bytes(graph, _largest(basis.shapes)))
    folder = None
    if serves_one(settings.version_policy):
        folder = str(PurePosixPath(options.engine_cache) / f"engines-{settings.name}-{_digest(opened)}")
    return replace(basis, need=need, precision=precision, cache_folder=folder)


def _largest(shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> Mapping[str, tuple[int, ...]]:
    """The largest size that each dimension of each input has in a sample."""
    largest: dict[str, tuple[int, ...]] = {}
    for sample in shapes:
        for name, shape in sample.items():
            largest[name] = tuple(map(max, largest.get(name, shape), shape))
    return largest


def _weights_bytes(opened: OpenedModel) -> int:
    file = opened.model.path.stat().st_size if opened.content is None else len(opened.content)
    return file + sum(path.stat().st_size for path in opened.model.external_files)


def _digest(opened: OpenedModel) -> str:
    """Of the file and its external data: an engine is of these weights."""
    own = opened.model.sha256 if opened.content is None else hashlib.sha256(opened.content).hexdigest()
    parts = [own, *map(hash_file, opened.model.external_files)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:_DIGEST_LENGTH]
