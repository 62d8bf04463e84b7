"""Make the models that a pipeline brings: model files as `serve package` does, functions and standard steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve_deploy.errors import ServeError
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.packaging.labels import from_folder
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.pipelines.file import StepText
from serve_deploy.pipelines.graph import Step
from serve_deploy.pipelines.members import Member, read_member, with_step
from serve_deploy.progress import Progress
from serve_deploy.python_models.model import PythonModel
from serve_deploy.references.served import run_as_served
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.tensors.types import ModelSignature, TensorSpec

# Of a model whose largest batch is not known yet: that of no other step is above it.
_ANY_BATCH = 2**31 - 1


def look_ahead(text: StepText, source: Path, name: str) -> Step | None:
    """What can be said of a model file before it is packaged, which takes longer; None where that is not known."""
    if source.suffix != ".onnx":
        return None
    from serve_deploy.onnx.session import open_model

    try:
        signature = open_model(source, prepack=False).signature
    except ServeError:
        return None  # said when it is packaged
    largest = text.settings.get("max_batch_size", _ANY_BATCH) if not signature.batch_obstacle else 0
    inputs, outputs = (
        tuple(_as_clients_see(spec, batches=largest > 0) for spec in specs)
        for specs in (signature.inputs, signature.outputs)
    )
    return Step(text.name, name, text.source, ModelSignature(inputs, outputs), largest, text.inputs)


def _as_clients_see(spec: TensorSpec, *, batches: bool) -> TensorSpec:
    return replace(spec, shape=spec.shape if len(spec.shape) > int(batches) else (*spec.shape, 1))


def package_step(step: StepText, source: Path | PythonModel, options: PackageOptions, progress: Progress) -> Member:
    """Package a step's model file or Python model into the repository of the options, a staging folder of this run.

    Packaging locks the folder that it writes to, and the staging folder is locked already: it gets one below.
    """
    from serve_deploy.packaging.functions.package import package_python_model
    from serve_deploy.packaging.package import package_model

    below = replace(options, repository=options.folder / ".packaging")
    name = str(options.name)
    try:
        if isinstance(source, PythonModel):
            packaged = package_python_model(source, Path(source.source), name, below, progress)
        else:
            packaged = package_model(source, below, progress=progress)
    except ServeError as error:
        raise with_step(error, step.name) from error
    Path(packaged.folder).rename(options.folder / name)
    below.folder.rmdir()
    folder = read_model_folder(options.folder / name)
    made_from = source.source if isinstance(source, PythonModel) else step.source
    member = read_member(step, folder, made_from, is_new=True)
    if isinstance(source, PythonModel):
        run = run_as_served(folder.config, source.run, is_onnx=False)
        member = replace(member, run=run, why="", doubt=source.doubt)
    return replace(member, notes=tuple(f"step '{step.name}': {note}" for note in packaged.notes))


def with_settings(options: PackageOptions, settings: Mapping[str, Any], beside: Path) -> PackageOptions:
    """The options with what a step sets; files stand beside the pipeline file."""
    given = dict(settings)
    if given.get("samples"):
        given["samples"] = beside / str(given["samples"])
    if given.get("labels"):
        given["labels"] = (from_folder(str(given["labels"]), beside),)
    framework = replace(options.framework, signature=given.pop("signature", None))
    return replace(options, framework=framework, **given)


def make_python_model(text: StepText, file: Path) -> PythonModel:
    """The Python model of a function file or of a standard step, not written yet."""
    from serve_deploy.python_models.function_file import read_function_file
    from serve_deploy.python_models.standard_steps import standard_step

    try:
        if text.kind == "standard":
            return standard_step(text.source, text.settings, file.parent)
        path, _, function = text.source.partition(":")
        return read_function_file(file.parent / path, function or None)
    except ServeError as error:
        raise with_step(error, text.name) from error


def foresee(text: StepText, model: PythonModel, name: str) -> Step:
    """A Python model as a step, before it is written."""
    from serve_deploy.python_models.config import build_python_config

    config = build_python_config(name, model)
    signature = ModelSignature(client_tensors(config, "input"), client_tensors(config, "output"))
    largest = _ANY_BATCH if model.max_batch_size else 0
    return Step(text.name, name, model.source, signature, largest, text.inputs)
