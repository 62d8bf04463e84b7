"""What a pipeline file will become: each step's source and model, where it is written, and the joined graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.packaging.versions.destination import Place, look_at_destination
from serve_deploy.pipelines.file import PipelineText, StepText
from serve_deploy.pipelines.graph import Step, Wiring, refuse
from serve_deploy.pipelines.making import foresee, look_ahead, make_python_model
from serve_deploy.pipelines.members import find_source, read_member
from serve_deploy.pipelines.options import PipelineOptions
from serve_deploy.pipelines.step_labels import take_labels
from serve_deploy.pipelines.unify import Unified, unify
from serve_deploy.pipelines.wiring import wire_steps
from serve_deploy.python_models.model import PythonModel
from serve_deploy.repository.model_folder import ModelFolder, read_model_folder
from serve_deploy.repository.model_repository import default_model_name

Source = ModelFolder | Path | PythonModel


@dataclass(frozen=True)
class PlannedStep:
    """A step, the model behind it, and its name in the repository; `place` is None for a model that stays as it is."""

    text: StepText
    source: Source
    model: str
    place: Place | None
    foreseen: Step | None


@dataclass(frozen=True)
class Joined:
    """A pipeline whose every tensor fits."""

    wiring: Wiring
    unified: Unified


@dataclass(frozen=True)
class Plan:
    """The ensemble's name and place, and its steps in the file's order; `joined` where every step is foreseen."""

    text: PipelineText
    name: str
    place: Place
    steps: tuple[PlannedStep, ...]
    joined: Joined | None = None

    @property
    def left_behind(self) -> tuple[str, ...]:
        """Models that the pipeline brought when it was written before, and does not use any more."""
        manifest = self.place.existing.manifest if self.place.existing else None
        before = manifest.pipeline.steps if manifest and manifest.pipeline else ()
        used = {step.model for step in self.steps}
        return tuple(step.model for step in before if step.is_own and step.model not in used)


def plan_pipeline(text: PipelineText, options: PipelineOptions) -> Plan:
    """Find every step's source, and refuse what can be refused before the first model is packaged."""
    name = options.name or text.name or default_model_name(options.file)
    place = _look(name, options)
    steps = tuple(_plan_step(step, name, text, options) for step in text.steps)
    _refuse_same_names(text, name, steps)
    foreseen = [step.foreseen for step in steps if step.foreseen]
    return Plan(text, name, place, steps, join(text, foreseen) if len(foreseen) == len(steps) else None)


def join(text: PipelineText, steps: Sequence[Step]) -> Joined:
    """Wire and unify; InvalidModelError with every conflict."""
    wiring, problems = wire_steps(text, steps)
    refuse(text.path, problems)
    unified, problems = unify(wiring, steps, text.max_batch_size)
    refuse(text.path, problems)
    return Joined(wiring, unified)


def _plan_step(step: StepText, pipeline: str, text: PipelineText, options: PipelineOptions) -> PlannedStep:
    name = step.model_name or f"{pipeline}_{step.name}"
    if step.kind != "model":
        model = make_python_model(take_labels(step, text, options.folder), text.path)
        return PlannedStep(step, model, name, _look(name, options), foresee(step, model, name))
    file = find_source(step, text.path, options.folder)
    if file is not None:
        return PlannedStep(step, file, name, _look(name, options), look_ahead(step, file, name))
    unused = [key for key in (*step.settings, *(["name"] if step.model_name else []))]
    if unused:
        raise UsageError(
            f"{text.path}: step '{step.name}': {', '.join(unused)} cannot be set: {step.source} is in the repository",
            hint=f"leave it out; to change that model, package it again: serve package -o {options.folder}",
        )
    folder = read_model_folder(options.folder / step.source)
    foreseen = read_member(step, folder, options.describe_place(step.source), is_new=False).step
    return PlannedStep(step, folder, step.source, None, foreseen)


def _look(name: str, options: PipelineOptions) -> Place:
    place = look_at_destination(name, options.folder)
    if place.existing is not None and not options.force:
        raise DestinationError(
            f"{place.destination} already exists", hint="`force=True` replaces it, and `name` chooses another name"
        )
    return place


def _refuse_same_names(text: PipelineText, name: str, steps: Sequence[PlannedStep]) -> None:
    """A model that the pipeline brings has a name of its own: not that of the pipeline, nor of another step's."""
    taken = {name: "the pipeline"}
    for step, said in _named(steps):
        if step.model in taken and (step.place is not None or taken[step.model] == "the pipeline"):
            raise UsageError(
                f"{text.path}: the models of {taken[step.model]} and of {said} would both be called '{step.model}'",
                hint=f"give the step another one: {step.text.name}: {{name: OTHER, …}}",
            )
        taken.setdefault(step.model, said)


def _named(steps: Sequence[PlannedStep]) -> Iterator[tuple[PlannedStep, str]]:
    """Models that stay as they are first: what the pipeline brings must not replace them."""
    for step in sorted(steps, key=lambda each: each.place is not None):
        yield step, f"step '{step.text.name}'"
