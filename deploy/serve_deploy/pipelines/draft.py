"""The ensemble as it will be: its configuration, the files in its folder, and what its manifest says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from serve_deploy.manifest import BatchingProof, Manifest, Pipeline, PipelineStep
from serve_deploy.model_config import CONFIG_NAME, check_config, check_ensemble_members, note_partial_requests
from serve_deploy.packaging.labels import format_labels, name_label_files
from serve_deploy.pipelines.ensemble import build_ensemble_config, format_ensemble_config
from serve_deploy.pipelines.graph import refuse
from serve_deploy.pipelines.members import Member
from serve_deploy.pipelines.plan import Joined, Plan, join
from serve_deploy.pipelines.verify import list_models
from serve_deploy.tensors.wire import count_largest
from serve_deploy.version import __version__

if TYPE_CHECKING:
    from serve_deploy.samples.files import Samples

Verdict = Literal["batchable", "not_batchable", "undecided"]
# git and object stores keep no empty folder, and Triton wants a version.
_VERSION_FILE = "1/.gitkeep"


@dataclass(frozen=True)
class Draft:
    """The ensemble as it will be: its configuration, and the labels of its outputs."""

    plan: Plan
    members: Sequence[Member]
    joined: Joined
    labels: Mapping[str, tuple[str, ...]]
    config: Any
    text: str

    @classmethod
    def of(cls, plan: Plan, members: Sequence[Member]) -> Draft:
        """Join the members that were made, and check the result by the rules of `serve check`."""
        steps = [member.step for member in members]
        joined = join(plan.text, steps)
        labels = dict(_find_labels(joined, members))
        config = build_ensemble_config(plan.name, joined.wiring, joined.unified, steps, name_label_files(labels))
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
        labels = {file: format_labels(names) for file, names in named.items() if file}
        return {CONFIG_NAME: self.text.encode(), _VERSION_FILE: b"", **labels}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the members, of how they fit, and of what the pipeline leaves behind."""
        left = "belonged to this pipeline, and no step uses it now: remove its folder if nothing else needs it"
        return (
            *(f"{name} {left}" for name in self.plan.left_behind),
            *self.joined.unified.notes,
            *note_partial_requests(self.config),
            *(note for member in self.members for note in member.notes),
        )


def _find_labels(joined: Joined, members: Sequence[Member]) -> Iterator[tuple[str, tuple[str, ...]]]:
    folders = {member.step.name: member.folder for member in members}
    for name, end in joined.wiring.outputs.items():
        if names := folders[end.step].labels.get(end.tensor):
            yield name, names


def describe_pipeline(draft: Draft, release: str, samples: Samples) -> Manifest:
    """The ensemble's manifest, without its files and their verification."""
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
        inputs=unified.inputs,
        outputs=unified.outputs,
        batching=BatchingProof(verdict=verdict, max_batch_size=unified.max_batch_size, evidence=unified.batch_reason),
        labels=dict(draft.labels),
        samples=len(samples),
        sample_bytes=count_largest(samples),
        pipeline=Pipeline(
            steps=tuple(
                PipelineStep(
                    name=member.step.name,
                    model=member.step.model,
                    made_from=member.step.made_from,
                    is_own=member.is_new,
                    model_sha256=member.manifest.files_sha256 if member.manifest else "",
                )
                for member in draft.members
            ),
            wires=tuple((str(wire.source), str(wire.target)) for wire in draft.joined.wiring.wires),
        ),
    )
