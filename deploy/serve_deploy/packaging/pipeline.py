"""From a model file to a verified version in a model repository."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import Interrupted, ServeError, UsageError, VerificationError
from serve_deploy.manifest import Manifest, Verification
from serve_deploy.model_config import CONFIG_NAME, format_config
from serve_deploy.model_config.optimization import without_accelerators
from serve_deploy.packaging.analysis import ModelAnalysis, analyse_model, read_declared
from serve_deploy.packaging.config_plan import ConfigPlan, plan_config
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package_manifest import describe_package, find_contradictions
from serve_deploy.packaging.servable import list_needs, make_servable
from serve_deploy.progress import Progress, silent
from serve_deploy.repository.model_repository import (
    ModelSource,
    check_model_name,
    check_policy,
    choose_version,
    commit_version,
    default_model_name,
    digest_files,
    place_model,
    read_existing,
    require_same_tensors,
    staged_model,
    write_shared,
)

if TYPE_CHECKING:
    from serve_deploy.onnx.model import OnnxModel


@dataclass(frozen=True)
class PackagedModel:
    """What was written where, the configuration with its reasons, what was proven, and what the user should know."""

    name: str
    version: int
    source: Path
    folder: Path
    dry_run: bool
    config: str
    manifest: Manifest
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FailedModel:
    """A model that could not be packaged."""

    source: Path
    error: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True)
class PackageSummary:
    """All models of one call; one that fails does not keep the others back."""

    packaged: tuple[PackagedModel, ...]
    failed: tuple[FailedModel, ...]


def package_models(sources: Sequence[Path], options: PackageOptions, *, progress: Progress = silent) -> PackageSummary:
    """Package each model by itself; UsageError where two of them would have the same name."""
    names = [options.name or default_model_name(source) for source in sources]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UsageError(
                f"{sources[names.index(name)]} and {sources[index]} would both be the model {name!r}",
                hint="package them one by one, with --name" if options.name is None else "--name is for one model",
            )
    packaged, failed = [], []
    for source in sources:
        try:
            packaged.append(package_model(source, options, progress=progress))
        except ServeError as error:
            failed.append(FailedModel(source, error.message, error.hint, error.exit_code))
        except KeyboardInterrupt:
            if not packaged:
                raise
            raise Interrupted(
                f"interrupted; packaged before that: {', '.join(model.name for model in packaged)}"
            ) from None
    return PackageSummary(tuple(packaged), tuple(failed))


def package_model(source: Path, options: PackageOptions, *, progress: Progress = silent) -> PackagedModel:
    """Package one model file; on any error, and on Ctrl-C, the repository is as it was before."""
    from serve_deploy.onnx.model import read_model

    name = options.name or default_model_name(source)
    check_model_name(name)
    if "://" in str(options.repository) or re.match(r"(s3|gs|as):/", str(options.repository)):
        raise UsageError(
            f"{options.repository} is not on this machine",
            hint="package into a folder, then copy it with the store's own tool (aws s3 sync, gsutil rsync, azcopy)",
        )
    destination = options.repository / name
    existing = read_existing(destination)
    version = choose_version(existing, options.version, force=options.force)
    notes = check_policy(options.config.version_policy, version, existing)
    progress(f"reading {source.name}")
    model = read_model(source)
    source_sha256 = model.sha256
    with _workspace(options, name) as folder:
        model, fixes = make_servable(model, folder, version, release=options.release, fix=options.fix)
        analysis = _analyse(model, options, progress)
        plan = plan_config(name, analysis, model.metadata, options)
        require_same_tensors(plan.config, version, existing, force=options.force)
        manifest = describe_package(
            source,
            version,
            model,
            analysis,
            plan,
            source_sha256=source_sha256,
            release=options.release,
            fixes=fixes,
        )
        if not options.dry_run:
            progress(f"writing {name}")
            manifest = _fill(folder, model, plan, analysis, manifest, options, progress)
            manifest = commit_version(folder, destination, existing, manifest)
    return PackagedModel(
        name,
        version,
        source,
        destination,
        options.dry_run,
        plan.text,
        manifest,
        (*notes, *plan.notes, *find_contradictions(analysis), *list_needs(model)),
    )


@contextmanager
def _workspace(options: PackageOptions, name: str) -> Iterator[Path]:
    if not options.dry_run:
        with staged_model(options.repository, name) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="serve-package-") as folder_name:
        yield Path(folder_name)


def _analyse(model: OnnxModel, options: PackageOptions, progress: Progress) -> ModelAnalysis:
    if not options.verify and options.max_batch_size is not None:
        return read_declared(model, options.max_batch_size, options.samples)
    analysis = analyse_model(model, options.max_batch_size, options.samples, progress)
    if options.verify and not options.dry_run and not analysis.samples:
        raise VerificationError(
            f"{model.path} cannot be verified: it accepted none of the {len(analysis.attempts)} inputs tried, such as "
            f"{'; '.join(analysis.attempts[:1])}",
            hint="give real inputs with --samples, or package with --no-verify",
        )
    return analysis


def _fill(
    folder: Path,
    model: OnnxModel,
    plan: ConfigPlan,
    analysis: ModelAnalysis,
    manifest: Manifest,
    options: PackageOptions,
    progress: Progress,
) -> Manifest:
    """Write everything of the version into its staged folder, and verify it there."""
    if not model.path.is_relative_to(folder):
        place_model(
            folder, manifest.version, ModelSource(model.path, model.path.parent.resolve(), model.external_files)
        )
    verification = _verify(folder, plan, analysis, options, progress) if options.verify else None
    write_shared(folder, plan.files)
    return manifest.model_copy(update={"files": digest_files(folder), "verification": verification})


def _verify(
    folder: Path, plan: ConfigPlan, analysis: ModelAnalysis, options: PackageOptions, progress: Progress
) -> Verification:
    from serve_deploy.packaging.own_outputs import Subject
    from serve_deploy.packaging.verification import verify_model

    assert analysis.run is not None  # noqa: S101 - only --no-verify does without a session
    left_out: tuple[str, ...] = ()
    config = plan.config
    if options.runtime in (None, "embedded"):
        config, left_out = without_accelerators(config)
    write_shared(folder, {**plan.files, CONFIG_NAME: format_config(config, {}).encode()})
    subject = Subject(
        repository=folder.parent,
        name=folder.name,
        signature=analysis.signature,
        max_batch_size=plan.config.max_batch_size,
        samples=analysis.samples,
        run=analysis.run,
        batch_noise=analysis.batching.largest_difference or 0.0,
    )
    verification = verify_model(subject, runtime=options.runtime, progress=progress)
    return verification.model_copy(update={"left_out": left_out})
