"""Whether the files of other frameworks' models are whole, fit the release, and are what the configuration says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.frameworks.artefact import Artefact
from serve_deploy.frameworks.kinds import read_artefact
from serve_deploy.frameworks.release_fit import check_fit
from serve_deploy.model_config import CONFIG_NAME, Problem
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.model_config.framework_rules import backend_of
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.tensors.types import TensorSpec

_READ = ("tensorrt", "pytorch", "tensorflow", "openvino", "fil")


def check_artefacts(folder: ModelFolder, release: str) -> Iterator[Problem]:
    """Read each version's file without its framework; nothing is said of files that are missing."""
    if backend_of(folder.config) not in _READ or folder.config.runtime or CONFIG_NAME in folder.errors:
        return
    parameters = {key: value.string_value for key, value in folder.config.parameters.items()}
    for version in folder.versions:
        path = folder.path / str(version) / folder.file_name
        if not folder.file_name or not path.exists():
            continue
        where = path.relative_to(folder.path).as_posix()
        try:
            artefact = read_artefact(path, parameters)
            check_fit(artefact, release)
        except (InvalidModelError, UsageError) as error:
            message = error.message.removeprefix(str(path)).strip()
            yield Problem(where, message, error.hint or "package the model again")
        else:
            yield from _compare(folder, artefact, path)


def _compare(folder: ModelFolder, artefact: Artefact, path: Path) -> Iterator[Problem]:
    """The configured tensors against those that the file lists; what Triton itself completes is left to it."""
    if artefact.backend != backend_of(folder.config):
        message = f"{path.name} is of {artefact.framework}, which the backend {artefact.backend} serves"
        yield Problem("backend", message, f'write backend: "{artefact.backend}"')
        return
    for kind, read in (("input", artefact.inputs), ("output", artefact.outputs)):
        try:
            configured = client_tensors(folder.config, kind)
        except ValueError:  # a type that is none: said by the rules on tensors
            continue
        known = {tensor.name: tensor for tensor in read or ()}
        for index, spec in enumerate(configured):
            tensor = known.get(spec.name)
            if tensor is None:
                if known and not artefact.by_position and spec.name != "treeshap_output":
                    message = f"the model has no {kind} '{spec.name}'"
                    yield Problem(f"{kind}[{index}].name", message, f"it has {', '.join(known)}")
                continue
            if tensor.data_type not in (None, spec.data_type):
                own = tensor.data_type.config_name if tensor.data_type else ""
                message = f"'{spec.name}' is {spec.data_type.config_name} here, {own} in the model"
                yield Problem(f"{kind}[{index}].data_type", message, f"write {own}")
            if tensor.shape is not None and not _fit(spec, tensor.shape):
                message = f"'{spec.name}' is {list(spec.shape)} here, {list(tensor.shape)} in the model"
                yield Problem(f"{kind}[{index}].dims", message, "write the model's, without the batch if it batches")


def _fit(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    """Whether the two may be the same tensor: sizes are equal where both are fixed."""
    return spec.fits(shape) or TensorSpec(spec.name, spec.data_type, shape).fits(spec.shape)
