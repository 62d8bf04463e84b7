"""Labels that one step takes from another: `labels: classifier.probabilities`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.pipelines.file import PipelineText, StepText
from serve_deploy.pipelines.members import find_source
from serve_deploy.repository.model_folder import read_model_folder

Labels = dict[str, tuple[str, ...]]


def take_labels(step: StepText, text: PipelineText, repository: Path) -> StepText:
    """The standard step with the labels themselves where its setting names an output of another step.

    UsageError where that has none.
    """
    reference = step.settings.get("labels")
    if step.kind != "standard" or not isinstance(reference, str):
        return step
    name, _, output = reference.partition(".")
    source = next((each for each in text.steps if each.name == name and each.kind == "model"), None)
    if source is None or (text.path.parent / reference).exists():
        return step
    labels = _read_labels(source, text, repository)
    if output not in labels:
        raise UsageError(
            f"{text.path}: step '{step.name}': labels: '{source.source}' has no labels for '{output}'",
            hint=_say_where(name, list(labels)),
        )
    return replace(step, settings={**step.settings, "labels": list(labels[output])})


def _say_where(step: str, outputs: Sequence[str]) -> str:
    if outputs:
        return f"it has labels for: {', '.join(f'{step}.{output}' for output in outputs)}"
    return "give a file with one label on each line, or a list"


def _read_labels(step: StepText, text: PipelineText, repository: Path) -> Labels:
    file = find_source(step, text.path, repository)
    if file is None:
        return dict(read_model_folder(repository / step.source).labels)
    if file.suffix != ".onnx":
        return {}
    from serve_deploy.onnx.model import read_model
    from serve_deploy.packaging.labels import choose_labels, from_folder

    model = read_model(file)
    given = step.settings.get("labels")
    chosen = [from_folder(given, text.path.parent)] if given else ()
    return dict(choose_labels(chosen, model.metadata, model.signature))
