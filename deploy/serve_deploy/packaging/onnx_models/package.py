"""From an ONNX file to a verified version in a model repository."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError, ServeError
from serve_deploy.manifest import Export, Manifest, Verification
from serve_deploy.model_config import CONFIG_NAME, format_config
from serve_deploy.model_config.optimization import without_accelerators
from serve_deploy.packaging.configuration.named_configs import plan_named
from serve_deploy.packaging.configuration.plan import ConfigPlan, plan_config
from serve_deploy.packaging.findings import ModelAnalysis
from serve_deploy.packaging.fixes.servable import Servable, make_servable
from serve_deploy.packaging.onnx_models.analysis import analyse_model
from serve_deploy.packaging.onnx_models.manifest import contradicted_outputs, describe_package
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.packaged import PackagedModel
from serve_deploy.packaging.versions.destination import look_at_destination
from serve_deploy.packaging.versions.heritage import inherit
from serve_deploy.progress import Progress
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.repository.model_repository import (
    ModelSource,
    check_policy,
    choose_version,
    commit_version,
    digest_files,
    place_model,
    require_same_tensors,
    staged_model,
    write_shared,
)

if TYPE_CHECKING:
    from serve_deploy.packaging.stateful.analysis import StatefulAnalysis


def package_onnx_model(
    source: Path, name: str, options: PackageOptions, progress: Progress, *, export: Export | None = None
) -> PackagedModel:
    """Package one ONNX file; on any error, and on Ctrl-C, the repository is as it was before.

    `export` says what the file was made from.
    """
    from serve_deploy.onnx.model import list_needs
    from serve_deploy.onnx.session import open_model

    destination, existing = look_at_destination(name, options.folder)
    version = choose_version(existing, options.version, force=options.force)
    heritage = inherit(options, version, existing)
    options, release = heritage.options, heritage.options.release or DEFAULT_RELEASE
    with heritage.explained():
        notes = () if heritage.newer else check_policy(options.config.version_policy, version, existing)
        progress(f"reading {source.name}")
        opened = open_model(source, prepack=options.runs_model, progress=progress)
        with nullcontext() if options.dry_run else staged_model(options.folder, name) as folder:
            servable = make_servable(opened, release=release, fix=options.fix, runs_model=options.runs_model)
            servable, analysis = _analyse(servable, options, progress)
            naming = partial(plan_named, analysis=analysis, options=options, existing=existing)
            plan = plan_config(name, analysis, options, heritage, naming)
            require_same_tensors(plan.config, version, existing, force=options.force)
            manifest = describe_package(opened.model, version, analysis, plan, release, servable)
            manifest = manifest.model_copy(update={"origin": options.origin})
            if export is not None:
                manifest = manifest.model_copy(update={"export": export, "source_name": export.source})
            if folder is not None:
                progress(f"writing {name}")
                manifest = _write(folder, analysis, plan, manifest, options, progress)
                manifest = commit_version(folder, destination, existing, manifest)
    notes += (*plan.notes, *_find_contradictions(analysis), *servable.notes, *list_needs(servable.opened.model))
    notes += () if options.sequences.stateful else _note_states(analysis)
    return PackagedModel(
        name=name,
        version=version,
        source=source,
        folder=destination,
        dry_run=options.dry_run,
        config=plan.text,
        manifest=manifest,
        notes=notes,
        named={each.summary.path: each.text for each in plan.named},
        not_verified=_not_verified(manifest, options),
    )


def _not_verified(manifest: Manifest, options: PackageOptions) -> str:
    """Why no Triton served the model; "" where one did."""
    if manifest.verification is not None or not options.verify:
        return "" if options.verify else "`verify=False`"
    from serve_deploy.packaging.stateful.verification import NOT_VERIFIED

    return NOT_VERIFIED


def _analyse(servable: Servable, options: PackageOptions, progress: Progress) -> tuple[Servable, ModelAnalysis]:
    """Analyse the model; with `fix`, a batch fixed to 1 is freed where the proof then holds."""
    if options.sequences.stateful:
        return _analyse_stateful(servable, options, progress)
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


def _analyse_stateful(
    servable: Servable, options: PackageOptions, progress: Progress
) -> tuple[Servable, StatefulAnalysis]:
    """Analyse a model with its state; a batch that was moved in vain stays where the file has it."""
    from serve_deploy.packaging.stateful.analysis import analyse_stateful
    from serve_deploy.packaging.stateful.model import make_stateful

    changed, stateful = make_stateful(servable, options, progress)
    analysis = analyse_stateful(stateful, options, progress)
    if analysis.batching.max_batch_size or not stateful.is_moved:
        return changed, analysis
    alone = replace(options, max_batch_size=0)
    changed, stateful = make_stateful(servable, alone, progress)
    again = analyse_stateful(stateful, alone, progress)
    return changed, replace(again, batching=analysis.batching)


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


def _note_states(analysis: ModelAnalysis) -> tuple[str, ...]:
    from serve_deploy.implicit_state.pairing import find_likely_states

    likely = find_likely_states(analysis.signature)
    pairs = ", ".join(f"'{state}' and '{following}'" for state, following in likely.items())
    note = f"{pairs} look like states and their next values: with `stateful`, Triton keeps them between requests"
    return (note,) if likely else ()


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
) -> Verification | None:
    from serve_deploy.packaging.stateful.analysis import StatefulAnalysis
    from serve_deploy.packaging.stateful.verification import choose_runtime, verify_sequences
    from serve_deploy.packaging.verification.verify import Subject, verify_model

    if isinstance(analysis, StatefulAnalysis):
        runtime = choose_runtime(options.runtime)
        if runtime is None:
            return None
        write_shared(folder, plan.files)
        return verify_sequences(folder, analysis, runtime, progress)
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
