"""From a model file to a verified version in a model repository."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import serve_deploy
from serve_deploy.config_plan import ConfigPlan, plan_config
from serve_deploy.errors import ServeError, UsageError, VerificationError
from serve_deploy.manifest import Manifest, Tensor, Verification
from serve_deploy.model_analysis import ModelAnalysis, analyse_model, read_declared
from serve_deploy.model_repository import (
    ExistingModel,
    ModelSource,
    check_model_name,
    choose_version,
    commit_version,
    default_model_name,
    digest_files,
    place_model,
    read_existing,
    staged_model,
    write_shared,
)
from serve_deploy.package_options import PackageOptions
from serve_deploy.progress import Progress, silent

if TYPE_CHECKING:
    from serve_deploy.onnx_model import OnnxModel


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
    return PackageSummary(tuple(packaged), tuple(failed))


def package_model(source: Path, options: PackageOptions, *, progress: Progress = silent) -> PackagedModel:
    """Package one model file; on any error, and on Ctrl-C, the repository is as it was before."""
    from serve_deploy.onnx_model import read_model

    name = options.name or default_model_name(source)
    check_model_name(name)
    destination = options.repository / name
    existing = read_existing(destination)
    version = choose_version(existing, options.version, force=options.force)
    notes = _check_policy(options, version, existing)
    progress(f"reading {source.name}")
    model = read_model(source)
    with _workspace(options, name) as folder:
        model, fixes = _make_servable(model, options, folder, version)
        analysis = _analyse(model, options, progress)
        plan = plan_config(name, analysis, model.metadata, options)
        manifest = _describe(source, name, version, model, analysis, plan, fixes, options)
        if not options.dry_run:
            progress(f"writing {name}")
            manifest = _fill(folder, model, plan, analysis, manifest, options, progress)
            manifest = commit_version(folder, destination, existing, manifest)
    return PackagedModel(
        name, version, source, destination, options.dry_run, plan.text, manifest, (*notes, *plan.notes)
    )


@contextmanager
def _workspace(options: PackageOptions, name: str) -> Iterator[Path]:
    if not options.dry_run:
        with staged_model(options.repository, name) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="serve-package-") as folder_name:
        yield Path(folder_name)


def _check_policy(options: PackageOptions, version: int, existing: ExistingModel | None) -> tuple[str, ...]:
    policy = options.config.version_policy
    others = existing.versions if existing else ()
    if policy and policy.specific and version not in policy.specific:
        raise UsageError(
            f"--version-policy would never serve version {version}",
            hint=f"add it: --version-policy specific:{','.join(map(str, sorted({*policy.specific, version})))}",
        )
    newest = max((*others, version))
    served = policy.serves(version, others) if policy else version == newest
    return () if served else (f"version {version} is written but not served: version {newest} is newer",)


def _make_servable(
    model: OnnxModel, options: PackageOptions, folder: Path, version: int
) -> tuple[OnnxModel, tuple[str, ...]]:
    """Check what keeps Triton from serving the model; with --fix, mend it in a copy that is placed right away."""
    from serve_deploy.model_fixes import explain_unservable, fix_model
    from serve_deploy.onnx_model import read_model

    fixes: tuple[str, ...] = ()
    if options.fix:
        fixed = fix_model(model, release=options.release)
        if fixed.fixes:
            content = ModelSource(fixed.proto.SerializeToString(), model.path.parent.resolve(), model.external_files)
            model, fixes = read_model(place_model(folder, version, content)), fixed.fixes
    for check in (explain_unservable, _explain_release(options.release)):
        error = check(model)
        if error is not None:
            raise error
    return model, fixes


def _explain_release(release: str) -> Callable[[OnnxModel], ServeError | None]:
    from serve_deploy.releases import check_data_types, check_release

    def explain(model: OnnxModel) -> ServeError | None:
        return check_release(release, model.ir_version, model.opsets) or check_data_types(release, model.signature)

    return explain


def _analyse(model: OnnxModel, options: PackageOptions, progress: Progress) -> ModelAnalysis:
    if not options.verify and options.max_batch_size is not None:
        return read_declared(model, options.max_batch_size, options.samples)
    analysis = analyse_model(model, options.max_batch_size, options.samples, progress)
    if options.verify and not options.dry_run and not analysis.samples:
        raise VerificationError(
            f"{model.path} cannot be verified: it accepted none of the inputs tried: {'; '.join(analysis.attempts)}",
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
    write_shared(folder, plan.files)
    verification = _verify(folder, plan, analysis, options, progress) if options.verify else None
    return manifest.model_copy(update={"files": digest_files(folder), "verification": verification})


def _verify(
    folder: Path, plan: ConfigPlan, analysis: ModelAnalysis, options: PackageOptions, progress: Progress
) -> Verification:
    from serve_deploy.verification import Subject, verify_model

    assert analysis.run is not None  # noqa: S101 - only --no-verify does without a session
    subject = Subject(
        repository=folder.parent,
        name=folder.name,
        signature=analysis.signature,
        max_batch_size=plan.config.max_batch_size,
        samples=analysis.samples,
        run=analysis.run,
        batch_noise=analysis.batching.largest_difference or 0.0,
    )
    return verify_model(subject, runtime=options.runtime, progress=progress)


def _describe(
    source: Path,
    name: str,
    version: int,
    model: OnnxModel,
    analysis: ModelAnalysis,
    plan: ConfigPlan,
    fixes: tuple[str, ...],
    options: PackageOptions,
) -> Manifest:
    return Manifest(
        tool_version=serve_deploy.__version__,
        name=name,
        version=version,
        triton_release=options.release,
        source_name=source.name,
        source_sha256=model.sha256,
        files=(),
        onnx_ir_version=model.ir_version,
        onnx_opsets=dict(model.opsets),
        inputs=_client_tensors(plan, "input"),
        outputs=_client_tensors(plan, "output"),
        batching=analysis.batching,
        labels=dict(plan.labels),
        fixes=fixes,
        samples=len(analysis.samples),
        sample_bytes=max((sum(a.nbytes for a in sample.values()) for sample in analysis.samples), default=0),
    )


def _client_tensors(plan: ConfigPlan, kind: str) -> tuple[Tensor, ...]:
    from tritonclient.grpc.model_config_pb2 import DataType

    from serve_deploy.tensor import DataType as WireType

    batch = (-1,) if plan.config.max_batch_size else ()
    return tuple(
        Tensor(
            name=tensor.name,
            data_type=WireType.from_config_name(DataType.Name(tensor.data_type)).value,
            shape=(*batch, *tensor.dims),
            optional=kind == "input" and tensor.optional,
        )
        for tensor in getattr(plan.config, kind)
    )
