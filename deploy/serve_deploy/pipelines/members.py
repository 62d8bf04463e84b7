"""The models behind a pipeline's steps: those of the repository, and those that the pipeline brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError, ServeError, UsageError
from serve_deploy.manifest import Manifest
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.model_config.problem import did_you_mean
from serve_deploy.pipelines.file import StepText
from serve_deploy.pipelines.graph import Step
from serve_deploy.python_models.model import no_doubt
from serve_deploy.references.models import find_run
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.references.served import Run
    from serve_deploy.samples.files import Array, Samples


@dataclass(frozen=True)
class Member:
    """A step with its model in a repository: `run` is None where the model cannot be run here, and `why` says why.

    `run` takes and returns arrays as the model's clients see them; `doubt` says what looks wrong about its inputs.
    """

    step: Step
    folder: ModelFolder
    is_new: bool
    run: Run | None = None
    why: str = ""
    samples: Samples = ()
    notes: tuple[str, ...] = ()
    doubt: Callable[[Sequence[Mapping[str, Array]]], str] = no_doubt

    @property
    def manifest(self) -> Manifest | None:
        return self.folder.manifest


def find_source(text: StepText, file: Path, repository: Path) -> Path | None:
    """The model file that a step packages; None for a model of the repository.

    UsageError where there is neither, or both.
    """
    path = file.parent / text.source
    there = (repository / text.source).is_dir() and "/" not in text.source
    if there and path.exists() and path.resolve() != (repository / text.source).resolve():
        raise UsageError(
            f"{file}: step '{text.name}': '{text.source}' is a model of {repository} and a file",
            hint=f"write ./{text.source} for the file, or rename one of them",
        )
    if there:
        return None
    if path.exists():
        return path
    models = [entry.name for entry in repository.iterdir() if entry.is_dir()] if repository.is_dir() else []
    files = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = did_you_mean(text.source, [*models, *files])
    raise UsageError(
        f"{file}: step '{text.name}': '{text.source}' is no model of {repository} and no file",
        hint=hint or "name a folder of the repository, or a model file by its path from the pipeline file",
    )


def read_member(text: StepText, folder: ModelFolder, made_from: str, *, is_new: bool) -> Member:
    """A model that is in a repository, as a step; InvalidModelError where it cannot be one."""
    for error in folder.errors.values():
        raise InvalidModelError(f"step '{text.name}': {error.message}", hint=error.hint)
    config = folder.config
    if not (config.input and config.output):
        raise InvalidModelError(
            f"step '{text.name}': {folder.path} lists no inputs and outputs: Triton finds them when it loads the model",
            hint="list them in its config.pbtxt, or package the model with serve package",
        )
    inputs, outputs = client_tensors(config, "input"), client_tensors(config, "output")
    step = Step(
        name=text.name,
        model=folder.name,
        made_from=made_from,
        signature=ModelSignature(inputs, outputs),
        max_batch_size=folder.max_batch_size,
        given=text.inputs,
        batching=folder.manifest.batching if folder.manifest else None,
    )
    run, why = find_run(folder)
    return Member(step, folder, is_new, run, why, _read_samples(folder))


def _read_samples(folder: ModelFolder) -> Samples:
    from serve_deploy.samples.files import load_samples

    return load_samples(folder.samples) if folder.samples else ()


def with_step(error: ServeError, name: str) -> ServeError:
    """The error, said of a step."""
    return type(error)(f"step '{name}': {error.message}", hint=error.hint)
