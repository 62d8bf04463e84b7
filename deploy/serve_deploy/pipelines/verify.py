"""Serve a pipeline with a real Triton, and compare it with the same steps run without Triton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import VerificationError
from serve_deploy.files.copying import link_tree
from serve_deploy.manifest import Verification
from serve_deploy.model_config import CONFIG_NAME, format_config
from serve_deploy.model_config.optimization import without_accelerators
from serve_deploy.pipelines.members import Member
from serve_deploy.pipelines.options import PipelineOptions
from serve_deploy.pipelines.sampling import stack_rows
from serve_deploy.pipelines.unify import Unified
from serve_deploy.progress import Progress
from serve_deploy.repository.model_folder import ModelFolder, read_model_folder
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.references.served import Run
    from serve_deploy.samples.files import Samples


@dataclass(frozen=True)
class Trial:
    """The ensemble in its staging repository, with what it is compared with."""

    staging: Path
    name: str
    unified: Unified
    samples: Samples
    run: Run
    left_out: tuple[str, ...] = ()


def find_obstacle(members: Sequence[Member]) -> str:
    """Why a pipeline cannot be compared with its steps; empty where it can be."""
    for name, folder in list_models(members).items():
        if folder.is_decoupled:
            return f"{name} may answer a request many times"
        if folder.config.HasField("sequence_batching"):
            return f"{name} keeps sequences"
    return next((member.why for member in members if member.run is None), "")


def verify_pipeline(
    trial: Trial, members: Sequence[Member], options: PipelineOptions, progress: Progress
) -> Verification:
    """Requests one by one, in crowds and in batches; VerificationError where an answer differs."""
    from serve_deploy.packaging.verification.verify import Subject, verify_model

    if not trial.samples:
        why = trial.left_out[0] if trial.left_out else "there are no requests that all of its steps accept"
        raise VerificationError(
            f"{options.file} cannot be verified: {why}",
            hint="give real ones with `samples`, or use `verify=False`",
        )
    models = list_models(members)
    left_out = _place_members(trial.staging, models, for_embedded=options.runtime in (None, "embedded"))
    subject = Subject(
        repository=trial.staging,
        name=trial.name,
        signature=ModelSignature(trial.unified.inputs, trial.unified.outputs),
        max_batch_size=trial.unified.max_batch_size,
        samples=trial.samples,
        stacks=stack_rows(trial.samples, trial.unified.max_batch_size),
        run=lambda sample: dict(trial.run(sample)),
        batch_noise=max((_noise(member) for member in members), default=0.0),
        members=tuple(models),
        cuts_strings=False,
        reference="the same steps run without Triton",
        advice="`verify=False` skips this",
    )
    return verify_model(subject, runtime=options.runtime, progress=progress).model_copy(update={"left_out": left_out})


def list_models(members: Sequence[Member]) -> dict[str, ModelFolder]:
    """Every model that the ensemble runs, also through other ensembles, by name."""
    found = {member.folder.name: member.folder for member in members}
    waiting = list(found.values())
    while waiting:
        folder = waiting.pop()
        for name in folder.members:
            if name not in found:
                found[name] = read_model_folder(folder.path.parent / name)
                waiting.append(found[name])
    return found


def _place_members(staging: Path, models: dict[str, ModelFolder], *, for_embedded: bool) -> tuple[str, ...]:
    """Put models of the repository beside the staged ones, as this machine can serve them; what that leaves out."""
    left_out: tuple[str, ...] = ()
    for name, folder in models.items():
        target = staging / name
        if not target.exists():
            link_tree(folder.path, target)
        config, removed = without_accelerators(folder.config) if for_embedded else (folder.config, ())
        if removed:
            (target / CONFIG_NAME).unlink()  # a link to the repository's own file
            (target / CONFIG_NAME).write_text(format_config(config, {}), encoding="utf-8")
            left_out += removed
    return tuple(dict.fromkeys(left_out))


def _noise(member: Member) -> float:
    return (member.step.batching.largest_difference if member.step.batching else None) or 0.0
