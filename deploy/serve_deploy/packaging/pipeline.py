"""From model files to verified versions in a model repository."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from serve_deploy.errors import Interrupted, InvalidModelError, ServeError, UsageError
from serve_deploy.files.temporary import remove_abandoned
from serve_deploy.manifest import Manifest, Verification
from serve_deploy.model_config import CONFIG_NAME, format_config
from serve_deploy.model_config.optimization import without_accelerators
from serve_deploy.packaging.analysis import ModelAnalysis, analyse_model
from serve_deploy.packaging.config_plan import ConfigPlan, plan_config
from serve_deploy.packaging.destination import look_at_destination
from serve_deploy.packaging.heritage import inherit
from serve_deploy.packaging.language_model import package_language_model, require_applicable
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package_manifest import contradicted_outputs, describe_package
from serve_deploy.packaging.packaged import FailedModel, PackagedModel, PackageSummary
from serve_deploy.packaging.servable import Servable, make_servable
from serve_deploy.progress import Progress, silent
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.repository.model_repository import (
    ModelSource,
    check_policy,
    choose_version,
    commit_version,
    default_model_name,
    digest_files,
    place_model,
    require_same_tensors,
    staged_model,
    write_shared,
)


def package(sources: Sequence[Path], options: PackageOptions, *, progress: Progress = silent) -> PackageSummary:
    """Package each model by itself; UsageError where two of them would have the same name."""
    require_applicable(options, several=len(sources) > 1)
    remove_abandoned(Path(tempfile.gettempdir()))
    names = [_choose_name(source, options) for source in sources]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UsageError(
                f"{sources[names.index(name)]} and {sources[index]} would both be the model '{name}'",
                hint="package them one by one, each with a `name`"
                if options.name is None
                else "`name` is for a single model",
            )
    packaged, failed = [], []
    for source in sources:
        try:
            packaged.append(_package_one(source, options, progress))
        except ServeError as error:
            failed.append(FailedModel(source, error.message, error.hint, error.exit_code))
        except KeyboardInterrupt:
            if not packaged:
                raise
            raise Interrupted(
                f"interrupted; packaged before that: {', '.join(model.name for model in packaged)}"
            ) from None
    return PackageSummary(tuple(packaged), tuple(failed))


def _package_one(source: Path, options: PackageOptions, progress: Progress) -> PackagedModel:
    if options.backend == "onnxruntime":
        return package_model(source, options, progress=progress)
    return package_language_model(source, _choose_name(source, options), options, progress)


def package_model(source: Path, options: PackageOptions, *, progress: Progress = silent) -> PackagedModel:
    """Package one model file; on any error, and on Ctrl-C, the repository is as it was before."""
    from serve_deploy.onnx.model import list_needs
    from serve_deploy.onnx.session import open_model

    name = _choose_name(source, options)
    destination, existing = look_at_destination(name, options.repository)
    version = choose_version(existing, options.version, force=options.force)
    heritage = inherit(options, version, existing)
    options, release = heritage.options, heritage.options.release or DEFAULT_RELEASE
    with heritage.explained():
        notes = () if heritage.newer else check_policy(options.config.version_policy, version, existing)
        progress(f"reading {source.name}")
        opened = open_model(source, prepack=options.runs_model, progress=progress)
        with nullcontext() if options.dry_run else staged_model(options.repository, name) as folder:
            servable = make_servable(opened, release=release, fix=options.fix, runs_model=options.runs_model)
            servable, analysis = _analyse(servable, options, progress)
            plan = plan_config(name, analysis, options, heritage)
            require_same_tensors(plan.config, version, existing, force=options.force)
            manifest = describe_package(opened.model, version, analysis, plan, release, servable)
            if folder is not None:
                progress(f"writing {name}")
                manifest = _write(folder, analysis, plan, manifest, options, progress)
                manifest = commit_version(folder, destination, existing, manifest)
    notes += (*plan.notes, *_find_contradictions(analysis), *servable.notes, *list_needs(servable.opened.model))
    return PackagedModel(name, version, source, destination, options.dry_run, plan.text, manifest, notes)


def _choose_name(source: Path, options: PackageOptions) -> str:
    if options.name is not None:
        return options.name
    # A folder's or a hub ID's name has no ending: the dot in Llama-3.1-8B is one of its own.
    whole = Path(f"{source.resolve().name if source.is_dir() else source.name}.-")
    return default_model_name(source if options.backend == "onnxruntime" else whole)


def _analyse(servable: Servable, options: PackageOptions, progress: Progress) -> tuple[Servable, ModelAnalysis]:
    """Analyse the model; with `fix`, a batch fixed to 1 is freed where the proof then holds."""
    freed = _free_batch(servable, options)
    if freed is not None:
        try:
            analysis = analyse_model(freed.opened, options, progress)
            reason = analysis.batching.evidence
            if analysis.batching.verdict == "batchable":
                return freed, analysis
        except ServeError as error:
            reason = error.message
        servable = replace(servable, notes=(*servable.notes, f"the batch stays fixed to 1: with it free, {reason}"))
    return servable, analyse_model(servable.opened, options, progress)


def _free_batch(servable: Servable, options: PackageOptions) -> Servable | None:
    from serve_deploy.packaging.fixes.fixed_batch import free_batch
    from serve_deploy.packaging.fixes.model_fixes import check_same_results

    if not options.fix or not options.runs_model or options.max_batch_size == 0:
        return None
    freed = free_batch(servable.opened)
    if freed is None:
        return None
    opened, fix = freed
    try:
        check_same_results(servable.opened, opened)
    except InvalidModelError:
        return None
    return replace(servable, opened=opened, fixes=(*servable.fixes, fix))


def _find_contradictions(analysis: ModelAnalysis) -> tuple[str, ...]:
    declared = {spec.name: list(spec.shape) for spec in analysis.signature.outputs}
    return tuple(
        f"output '{name}' is declared {declared[name]}, but the model returned {list(shape)}"
        for name, shape in contradicted_outputs(analysis).items()
    )


def _write(
    folder: Path,
    analysis: ModelAnalysis,
    plan: ConfigPlan,
    manifest: Manifest,
    options: PackageOptions,
    progress: Progress,
) -> Manifest:
    """Write everything of the version into its staged folder, and verify it there."""
    opened, model = analysis.opened, analysis.opened.model
    file = model.path if opened.content is None else opened.content
    place_model(folder, manifest.version, ModelSource(file, model.path.parent.resolve(), model.external_files))
    verification = _verify(folder, plan, analysis, options, progress) if options.verify else None
    write_shared(folder, plan.files)
    return manifest.model_copy(update={"files": digest_files(folder), "verification": verification})


def _verify(
    folder: Path, plan: ConfigPlan, analysis: ModelAnalysis, options: PackageOptions, progress: Progress
) -> Verification:
    from serve_deploy.packaging.verification import Subject, verify_model

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
        run=analysis.opened.run,
        batch_noise=analysis.batching.largest_difference or 0.0,
    )
    verification = verify_model(subject, runtime=options.runtime, progress=progress)
    ran = _own_onnxruntime() if verification.runtime == "embedded" else None
    return verification.model_copy(update={"left_out": left_out, "onnxruntime_version": ran})


def _own_onnxruntime() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
