"""Make the models that a pipeline brings: model files as `serve package` does, functions and standard steps."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve_deploy.errors import ServeError
from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME, BatchingProof, Manifest
from serve_deploy.model_config import CONFIG_NAME, format_config
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.pipelines.file import StepText
from serve_deploy.pipelines.graph import Step
from serve_deploy.pipelines.members import Member, read_member, with_step
from serve_deploy.pipelines.reference import run_as_served
from serve_deploy.progress import Progress
from serve_deploy.python_models.model import PythonModel
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.repository.model_repository import digest_files, write_shared
from serve_deploy.tensors.types import ModelSignature, TensorSpec
from serve_deploy.version import __version__


def look_ahead(text: StepText, source: Path, name: str) -> Step | None:
    """What can be said of a model file before it is packaged, which takes longer; None where that is not known."""
    if source.suffix != ".onnx":
        return None
    from serve_deploy.onnx.session import open_model

    try:
        signature = open_model(source, prepack=False).signature
    except ServeError:
        return None  # said when it is packaged
    batches = not signature.batch_obstacle and text.settings.get("max_batch_size") != 0
    inputs, outputs = (
        tuple(_as_clients_see(spec, batches=batches) for spec in specs)
        for specs in (signature.inputs, signature.outputs)
    )
    return Step(text.name, name, text.source, ModelSignature(inputs, outputs), int(batches), text.inputs)


def _as_clients_see(spec: TensorSpec, *, batches: bool) -> TensorSpec:
    return replace(spec, shape=spec.shape if len(spec.shape) > int(batches) else (*spec.shape, 1))


def package_step(text: StepText, source: Path, options: PackageOptions, file: Path, progress: Progress) -> Member:
    """Package a step's model file into the repository of the options, which is a staging folder of this run.

    Packaging locks the folder that it writes to, and the staging folder is locked already: it gets one below.
    """
    from serve_deploy.packaging.package import package_model

    given: dict[str, Any] = dict(text.settings)
    if given.get("samples"):
        given["samples"] = file.parent / str(given["samples"])
    if given.get("labels"):
        output, separator, name = str(given["labels"]).rpartition("=")
        given["labels"] = f"{output}{separator}{file.parent / name}"
    try:
        below = options.repository / ".packaging"
        packaged = package_model(source, replace(options, repository=below, **given), progress=progress)
    except ServeError as error:
        raise with_step(error, text.name) from error
    packaged.folder.rename(options.repository / packaged.name)
    below.rmdir()
    folder = read_model_folder(options.repository / packaged.name)
    member = read_member(text, folder, text.source, is_new=True)
    return replace(member, notes=tuple(f"step '{text.name}': {note}" for note in packaged.notes))


def write_python_step(text: StepText, model: PythonModel, options: PackageOptions) -> Member:
    """Write a step's Python model into the repository of the options, which is a staging one."""
    from serve_deploy.python_models.config import build_python_config, explain_python_config
    from serve_deploy.samples.files import encode_samples

    name = options.name or text.name
    config = build_python_config(name, model)
    batching = BatchingProof(
        verdict="undecided",
        max_batch_size=model.max_batch_size,
        evidence=f"{model.source} says by its types that it takes rows"
        if model.max_batch_size
        else "one row by its types",
    )
    files = {
        CONFIG_NAME: format_config(config, explain_python_config(config, model, batching)).encode(),
        **model.files,
        **({SAMPLES_NAME: encode_samples(model.samples)} if model.samples else {}),
    }
    folder = options.repository / name
    folder.mkdir()
    write_shared(folder, files)
    manifest = Manifest(
        tool_version=__version__,
        name=name,
        version=1,
        triton_release=options.release or DEFAULT_RELEASE,
        source_name=model.source,
        source_sha256=hashlib.sha256(b"".join(model.files[path] for path in sorted(model.files))).hexdigest(),
        files=digest_files(folder),
        onnx_ir_version=0,
        onnx_opsets={},
        inputs=client_tensors(config, "input"),
        outputs=client_tensors(config, "output"),
        batching=batching,
        samples=len(model.samples),
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    member = read_member(text, read_model_folder(folder), model.source, is_new=True)
    return replace(
        member, run=run_as_served(config, model.run, is_onnx=False), why="", samples=tuple(map(dict, model.samples))
    )


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
    return Step(text.name, name, model.source, signature, model.max_batch_size, text.inputs)
