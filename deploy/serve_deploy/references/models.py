"""How to run the models of a repository here, without Triton."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from serve_deploy.model_config import is_ensemble
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.references.served import own_shape, run_as_served, run_ensemble
from serve_deploy.repository.model_folder import ModelFolder, find_onnx_file, read_model_folder
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.references.served import Run


def find_run(folder: ModelFolder, version: int | None = None) -> tuple[Run | None, str]:
    """How to run a version here, by default the newest that is served, as clients see it; or why that cannot be."""
    if is_ensemble(folder.config):
        return _find_ensemble_run(folder)
    chosen = version or max(folder.served_versions, default=0)
    file = find_onnx_file(folder.path / str(chosen) / folder.file_name)
    if file is not None:
        from serve_deploy.onnx.session import open_model

        run = open_model(file).run
        # What Triton completes at load is the model's own.
        is_listed = folder.config.input and folder.config.output
        return run_as_served(folder.config, run, is_onnx=True) if is_listed else run, ""
    if function := _open_function(folder, chosen):
        return run_as_served(folder.config, function, is_onnx=False), ""
    backend = folder.config.backend or folder.config.platform or "an unknown backend"
    return None, f"{folder.name} runs in Triton alone ({backend})"


def _open_function(folder: ModelFolder, version: int) -> Run | None:
    """The function of a Python model that serve wrote, in the shapes that the model itself sees."""
    from serve_deploy.python_models.written_function import open_function

    if folder.config.backend != "python":
        return None
    inputs, outputs = (
        tuple(replace(spec, shape=own_shape(spec.shape, tensor, folder.max_batch_size)) for spec, tensor in pairs)
        for pairs in (
            zip(client_tensors(folder.config, kind), getattr(folder.config, kind), strict=True)
            for kind in ("input", "output")
        )
    )
    return open_function(folder.path / str(version), ModelSignature(inputs, outputs), batched=folder.max_batch_size > 0)


def _find_ensemble_run(folder: ModelFolder) -> tuple[Run | None, str]:
    runs: dict[str, Run] = {}
    for name in folder.members:
        try:
            member = read_model_folder(folder.path.parent / name)
        except FileNotFoundError:
            return None, f"{folder.name} calls {name}, which is not in the repository"
        run, why = find_run(member)
        if run is None:
            return None, why
        runs[name] = run
    return run_ensemble(folder.config, runs), ""
