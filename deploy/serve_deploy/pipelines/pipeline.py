"""From a pipeline file to a verified ensemble in a model repository, with the members that it brings."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serve_deploy.files.staging import destination_errors, staging_folder
from serve_deploy.files.temporary import remove_abandoned
from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME, BatchingProof, Manifest, Pipeline, PipelineStep
from serve_deploy.model_config import CONFIG_NAME, check_config, check_ensemble_members
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.pipelines.doubts import find_doubts
from serve_deploy.pipelines.drawing import draw_graph
from serve_deploy.pipelines.ensemble import build_ensemble_config, format_ensemble_config
from serve_deploy.pipelines.file import read_pipeline
from serve_deploy.pipelines.graph import refuse
from serve_deploy.pipelines.making import package_step, with_settings
from serve_deploy.pipelines.members import Member, read_member
from serve_deploy.pipelines.options import PipelineOptions
from serve_deploy.pipelines.plan import Joined, Plan, PlannedStep, join, plan_pipeline
from serve_deploy.pipelines.reference import run_ensemble
from serve_deploy.pipelines.result import PipelineMember, WrittenPipeline
from serve_deploy.pipelines.sampling import find_reaching, find_samples
from serve_deploy.pipelines.verify import Trial, find_obstacle, list_models, verify_pipeline
from serve_deploy.progress import Progress, silent
from serve_deploy.python_models.model import PythonModel
from serve_deploy.releases import DEFAULT_RELEASE, find_release
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import Move, commit_models, digest_files, write_shared
from serve_deploy.tensors.wire import count_bytes
from serve_deploy.version import __version__

if TYPE_CHECKING:
    from serve_deploy.samples.files import Samples

Verdict = Literal["batchable", "not_batchable", "undecided"]
# git and object stores keep no empty folder, and Triton wants a version.
_VERSION_FILE = "1/.gitkeep"


def pipeline(options: PipelineOptions, *, progress: Progress = silent) -> WrittenPipeline:
    """Write the ensemble and its new members; on any error, and on Ctrl-C, the repository is as it was before."""
    remove_abandoned(Path(tempfile.gettempdir()))
    progress(f"reading {options.file}")
    text = read_pipeline(options.file)
    release = find_release(options.release or DEFAULT_RELEASE).name
    plan = plan_pipeline(text, options)
    with staging_folder(options.repository, beside=True) as staging:
        members = _make_members(plan, staging, options, progress)
        draft = _Draft.of(plan, members)
        written, moves = _write(draft, staging, release, options, progress)
        if options.graph:
            with destination_errors(options.graph):
                draw_graph(options.graph, draft.joined.wiring, [member.step for member in members])
        if not options.dry_run:
            commit_models(moves)
    return written


def _make_members(plan: Plan, staging: Path, options: PipelineOptions, progress: Progress) -> list[Member]:
    """In the file's order; functions are made last, since they batch as the models do."""
    made: dict[str, Member] = {}
    for step in sorted(plan.steps, key=lambda each: isinstance(each.source, PythonModel)):
        sizes = [member.step.max_batch_size for member in made.values() if member.step.max_batch_size]
        batch = plan.text.max_batch_size or (min(sizes) if sizes and isinstance(step.source, PythonModel) else None)
        made[step.text.name] = _make_member(_with_samples(step, plan, made, options), batch, staging, options, progress)
    return [made[step.text.name] for step in plan.steps]


def _with_samples(step: PlannedStep, plan: Plan, made: Mapping[str, Member], options: PipelineOptions) -> PlannedStep:
    """A function with what reaches it in the pipeline, where that is known: made-up inputs it may well refuse."""
    if not isinstance(step.source, PythonModel) or step.source.samples or not plan.joined or not step.foreseen:
        return step
    reaching = find_reaching(options.samples, plan.joined.wiring, plan.joined.unified, made, step.foreseen)
    own = {spec.name: len(spec.shape) for spec in step.source.signature.inputs}
    samples = tuple(
        {name: array.reshape(array.shape[: own[name]]) for name, array in each.items()} for each in reaching
    )
    return replace(step, source=replace(step.source, samples=samples))


def _make_member(
    step: PlannedStep, batch: int | None, staging: Path, options: PipelineOptions, progress: Progress
) -> Member:
    if isinstance(step.source, ModelFolder):
        return read_member(step.text, step.source, str(step.source.path), is_new=False)
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


@dataclass(frozen=True)
class _Draft:
    """The ensemble as it will be: its configuration, and the labels of its outputs."""

    plan: Plan
    members: Sequence[Member]
    joined: Joined
    labels: Mapping[str, tuple[str, ...]]
    config: Any
    text: str

    @classmethod
    def of(cls, plan: Plan, members: Sequence[Member]) -> _Draft:
        """Join the members that were made, and check the result by the rules of `serve check`."""
        steps = [member.step for member in members]
        joined = join(plan.text, steps)
        labels = dict(_find_labels(joined, members))
        files = {output: _label_file(index, len(labels)) for index, output in enumerate(labels)}
        config = build_ensemble_config(plan.name, joined.wiring, joined.unified, steps, files)
        models = list_models(members)
        configs = {name: folder.config for name, folder in models.items()}
        served = {name: folder.served_versions for name, folder in models.items()}
        found = (*check_config(config, plan.name), *check_ensemble_members(plan.name, config, configs, served))
        refuse(plan.text.path, found)
        return cls(plan, members, joined, labels, config, format_ensemble_config(config, joined.unified, steps))

    @property
    def files(self) -> dict[str, bytes]:
        """What stands in the ensemble's folder beside its samples."""
        named = {tensor.label_filename: self.labels.get(tensor.name, ()) for tensor in self.config.output}
        labels = {file: "".join(f"{each}\n" for each in names).encode() for file, names in named.items() if file}
        return {CONFIG_NAME: self.text.encode(), _VERSION_FILE: b"", **labels}


def _find_labels(joined: Joined, members: Sequence[Member]) -> Iterator[tuple[str, tuple[str, ...]]]:
    folders = {member.step.name: member.folder for member in members}
    for name, end in joined.wiring.outputs.items():
        if names := folders[end.step].labels.get(end.tensor):
            yield name, names


def _label_file(index: int, count: int) -> str:
    return "labels.txt" if count == 1 else f"labels_{index}.txt"


def _write(
    draft: _Draft, staging: Path, release: str, options: PipelineOptions, progress: Progress
) -> tuple[WrittenPipeline, list[Move]]:
    """Write the ensemble into its staged folder and verify it there; the result, and what is left to move."""
    from serve_deploy.samples.files import encode_samples

    plan, members = draft.plan, draft.members
    obstacle = find_obstacle(members)
    runs = {member.step.model: member.run for member in members if member.run}
    run = run_ensemble(draft.config, runs)
    samples: Samples = ()
    if not obstacle:
        by_step = {member.step.name: member for member in members}
        samples = find_samples(options.samples, draft.joined.wiring, draft.joined.unified, by_step, run)
    folder = staging / plan.name
    progress(f"writing {plan.name}")
    with destination_errors(options.repository):
        folder.mkdir()
    write_shared(folder, {**draft.files, **({SAMPLES_NAME: encode_samples(samples)} if samples else {})})
    verification = None
    if options.verify and not options.dry_run and not obstacle:
        trial = Trial(staging, plan.name, draft.joined.unified, samples, run)
        verification = verify_pipeline(trial, members, options, progress)
    manifest = _describe(draft, release, samples).model_copy(
        update={"files": digest_files(folder), "verification": verification}
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    new = [(step.model, step.place) for step in plan.steps if step.place] + [(plan.name, plan.place)]
    moves = [Move(staging / name, place.destination, place.existing) for name, place in new]
    written = _conclude(draft, manifest, options, obstacle)
    return replace(written, notes=(*written.notes, *find_doubts(draft.config, members, samples))), moves


def _describe(draft: _Draft, release: str, samples: Samples) -> Manifest:
    unified, file = draft.joined.unified, draft.plan.text.path
    proofs = [member.step.batching for member in draft.members]
    proven = all(proof is not None and proof.verdict == "batchable" for proof in proofs)
    verdict: Verdict = "not_batchable" if not unified.max_batch_size else "batchable" if proven else "undecided"
    return Manifest(
        tool_version=__version__,
        name=draft.plan.name,
        version=1,
        triton_release=release,
        source_name=file.name,
        source_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        files=(),
        onnx_ir_version=0,
        onnx_opsets={},
        inputs=unified.inputs,
        outputs=unified.outputs,
        batching=BatchingProof(verdict=verdict, max_batch_size=unified.max_batch_size, evidence=unified.batch_reason),
        labels=dict(draft.labels),
        samples=len(samples),
        sample_bytes=max((sum(map(count_bytes, sample.values())) for sample in samples), default=0),
        pipeline=Pipeline(
            steps=tuple(
                PipelineStep(
                    name=member.step.name,
                    model=member.step.model,
                    made_from=member.step.made_from,
                    is_own=member.is_new,
                )
                for member in draft.members
            ),
            wires=tuple((str(wire.source), str(wire.target)) for wire in draft.joined.wiring.wires),
        ),
    )


def _conclude(draft: _Draft, manifest: Manifest, options: PipelineOptions, obstacle: str) -> WrittenPipeline:
    skipped = "`dry_run`" if options.dry_run else "`verify=False`" if not options.verify else ""
    return WrittenPipeline(
        name=draft.plan.name,
        folder=draft.plan.place.destination,
        dry_run=options.dry_run,
        config=draft.text,
        members=tuple(
            PipelineMember(
                member.step.name,
                member.step.model,
                member.step.made_from,
                member.step.max_batch_size,
                member.is_new,
            )
            for member in draft.members
        ),
        wires=tuple((str(wire.source), str(wire.target)) for wire in draft.joined.wiring.wires),
        manifest=manifest,
        notes=(*draft.joined.unified.notes, *(note for member in draft.members for note in member.notes)),
        not_verified=obstacle or skipped,
        graph=options.graph,
    )
