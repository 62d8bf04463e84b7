"""From a pipeline file to a verified ensemble in a model repository, with the members that it brings."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from serve_deploy.files.staging import destination_errors, recover, staging_folder
from serve_deploy.files.temporary import remove_abandoned
from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME, Manifest
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.pipelines.doubts import find_doubts
from serve_deploy.pipelines.draft import Draft, describe_pipeline
from serve_deploy.pipelines.drawing import draw_graph
from serve_deploy.pipelines.file import PipelineText, read_pipeline
from serve_deploy.pipelines.making import package_step, with_settings
from serve_deploy.pipelines.members import Member, read_member
from serve_deploy.pipelines.options import PipelineOptions
from serve_deploy.pipelines.plan import Plan, PlannedStep, plan_pipeline
from serve_deploy.pipelines.result import PipelineMember, WrittenPipeline
from serve_deploy.pipelines.sampling import find_reaching, find_samples, refusal_of
from serve_deploy.pipelines.verify import Trial, find_obstacle, verify_pipeline
from serve_deploy.progress import Progress, silent
from serve_deploy.python_models.model import PythonModel
from serve_deploy.references.served import run_ensemble
from serve_deploy.releases import DEFAULT_RELEASE, find_release
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import Move, commit_models, default_model_name, digest_files, write_shared
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import SigningOptions
from serve_deploy.stores.working_copy import model_address, working_copy

# What a function is proven with, unless the file asks for more: a model of trees takes 32,768 rows.
_MOST_ROWS = 64


def pipeline(options: PipelineOptions, *, progress: Progress = silent) -> WrittenPipeline:
    """Write the ensemble and its new members; on any error, and on Ctrl-C, the repository is as it was before.

    Into a store they are pushed together, beside the members that it has.
    """
    remove_abandoned(Path(tempfile.gettempdir()))
    progress(f"reading {options.file}")
    text = read_pipeline(options.file)
    if isinstance(options.repository, StoreAddress):
        return _pipeline_into_store(options.repository, text, options, progress)
    return _pipeline(text, options, progress)


def _pipeline_into_store(
    store: StoreAddress, text: PipelineText, options: PipelineOptions, progress: Progress
) -> WrittenPipeline:
    name = options.name or text.name or default_model_name(options.file)
    own = [step.model_name or f"{name}_{step.name}" for step in text.steps]
    wanted = {name, *own, *(step.source for step in text.steps)}
    with working_copy(store, wanted, progress, signing=options.signing) as copy:
        written = _pipeline(
            text, replace(options, repository=copy.folder, pulled_from=store, signing=SigningOptions()), progress
        )
        new = [member.model for member in written.members if member.is_new]
        pushed = None if written.dry_run else copy.push([*new, written.name], options.signing)
        return replace(
            written,
            folder=model_address(pushed, written.name) if pushed else copy.in_own_words(str(written.folder)),
            notes=tuple(map(copy.in_own_words, written.notes)),
            pushed=pushed,
        )


def _pipeline(text: PipelineText, options: PipelineOptions, progress: Progress) -> WrittenPipeline:
    recover(options.folder)
    release = find_release(options.release or DEFAULT_RELEASE).name
    plan = plan_pipeline(text, options)
    with staging_folder(options.folder, beside=True) as staging:
        members = _make_members(plan, staging, options, progress)
        draft = Draft.of(plan, members)
        written, moves = _write(draft, staging, release, options, progress)
        for graph in options.graphs:
            with destination_errors(graph):
                draw_graph(graph, draft.joined.wiring, [member.step for member in members])
        if not options.dry_run:
            commit_models(moves)
    return written


def _make_members(plan: Plan, staging: Path, options: PipelineOptions, progress: Progress) -> list[Member]:
    """In the file's order; functions are made last, since they batch as the models do."""
    made: dict[str, Member] = {}
    for step in sorted(plan.steps, key=lambda each: isinstance(each.source, PythonModel)):
        sizes = [member.step.max_batch_size for member in made.values() if member.step.max_batch_size]
        own = min(*sizes, _MOST_ROWS) if sizes and isinstance(step.source, PythonModel) else None
        batch = plan.text.max_batch_size or own
        made[step.text.name] = _make_member(_with_samples(step, plan, made, options), batch, staging, options, progress)
    return [made[step.text.name] for step in plan.steps]


def _with_samples(step: PlannedStep, plan: Plan, made: Mapping[str, Member], options: PipelineOptions) -> PlannedStep:
    """A function with what reaches it in the pipeline, where that is known: made-up inputs it may well refuse."""
    if not isinstance(step.source, PythonModel) or step.source.samples or not plan.joined or not step.foreseen:
        return step
    reaching = find_reaching(options.samples, plan.joined, made, step.foreseen)
    own = {spec.name: len(spec.shape) for spec in step.source.signature.inputs}
    samples = [{name: array.reshape(array.shape[: own[name]]) for name, array in each.items()} for each in reaching]
    accepted = tuple(sample for sample in samples if not refusal_of(sample, step.source.run))
    return replace(step, source=replace(step.source, samples=accepted))


def _make_member(
    step: PlannedStep, batch: int | None, staging: Path, options: PipelineOptions, progress: Progress
) -> Member:
    if isinstance(step.source, ModelFolder):
        return read_member(step.text, step.source, options.describe_place(step.source.name), is_new=False)
    package = PackageOptions(
        repository=staging,
        name=step.model,
        release=options.release,
        verify=options.verify and not options.dry_run,
        runtime=options.runtime,
    )
    # A size that is given is believed where nothing is verified: no more than needed is given.
    if not isinstance(step.source, PythonModel) or step.source.max_batch_size not in (0, batch):
        package = replace(package, max_batch_size=batch)
    if isinstance(step.source, Path):
        package = with_settings(package, step.text.settings, options.file.parent)
    return package_step(step.text, step.source, package, progress)


def _write(
    draft: Draft, staging: Path, release: str, options: PipelineOptions, progress: Progress
) -> tuple[WrittenPipeline, list[Move]]:
    """Write the ensemble into its staged folder and verify it there; the result, and what is left to move."""
    from serve_deploy.samples.files import encode_samples

    plan, members = draft.plan, draft.members
    obstacle = find_obstacle(members)
    run = run_ensemble(draft.config, {member.step.model: member.run for member in members if member.run})
    by_step = {member.step.name: member for member in members}
    samples, left_out = find_samples(options.samples, draft.joined, by_step, None if obstacle else run)
    doubts = () if obstacle else find_doubts(draft.config, members, samples)
    folder = staging / plan.name
    progress(f"writing {plan.name}")
    with destination_errors(options.folder):
        folder.mkdir()
    write_shared(folder, {**draft.files, **({SAMPLES_NAME: encode_samples(samples)} if samples else {})})
    verification = None
    if options.verify and not options.dry_run and not obstacle:
        trial = Trial(staging, plan.name, draft.joined.unified, samples, run, left_out)
        verification = verify_pipeline(trial, members, options, progress)
    manifest = describe_pipeline(draft, release, samples).model_copy(
        update={"files": digest_files(folder), "verification": verification}
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    notes = (*draft.notes, *left_out, *doubts)
    return _conclude(draft, manifest, notes, options, obstacle), _list_moves(plan, staging)


def _list_moves(plan: Plan, staging: Path) -> list[Move]:
    """The new members, and last the ensemble that needs them."""
    new = [(step.model, step.place) for step in plan.steps if step.place] + [(plan.name, plan.place)]
    return [Move(staging / name, place.destination, place.existing) for name, place in new]


def _conclude(
    draft: Draft, manifest: Manifest, notes: tuple[str, ...], options: PipelineOptions, obstacle: str
) -> WrittenPipeline:
    skipped = "`dry_run`" if options.dry_run else "`verify=False`" if not options.verify else ""
    steps = [(member.step, member.is_new) for member in draft.members]
    return WrittenPipeline(
        name=draft.plan.name,
        folder=draft.plan.place.destination,
        dry_run=options.dry_run,
        config=draft.text,
        members=tuple(
            PipelineMember(step.name, step.model, step.made_from, step.max_batch_size, is_new) for step, is_new in steps
        ),
        wires=tuple((str(wire.source), str(wire.target)) for wire in draft.joined.wiring.wires),
        manifest=manifest,
        notes=notes,
        not_verified=obstacle or skipped,
        graphs=options.graphs,
    )
