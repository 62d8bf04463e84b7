"""Whether the files of other frameworks' models are whole, fit the release, and are what the configuration says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.frameworks.artefact import Artefact, Tensor
from serve_deploy.frameworks.kinds import find_kind, read_artefact
from serve_deploy.frameworks.release_fit import check_fit
from serve_deploy.model_config import CONFIG_NAME, Problem
from serve_deploy.model_config.rules.frameworks import backend_of
from serve_deploy.repository.model_folder import ModelFolder

_READ = ("tensorrt", "pytorch", "tensorflow", "openvino", "fil")
# Backends whose tensors have the types of the model; OpenVINO's converts, and LibTorch asks for none.
_TYPED = ("tensorflow", "fil")


@dataclass(frozen=True)
class ArtefactFindings:
    """What is wrong with a model's files, and what is not known or may be wrong."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def check_artefacts(folder: ModelFolder, release: str) -> ArtefactFindings:
    """Read each version's file without its framework; nothing is said of files that are missing, or not known."""
    if backend_of(folder.config) not in _READ or folder.config.runtime or CONFIG_NAME in folder.errors:
        return ArtefactFindings()
    problems: list[Problem] = []
    notes: list[str] = []
    for version in folder.versions:
        path = folder.path / str(version) / folder.file_name
        if not folder.file_name or not path.exists() or _is_for_openvino_alone(folder, path):
            continue
        where = path.relative_to(folder.path).as_posix()
        if not find_kind(path):
            problems += _find_no_graph(folder, path, where)
            continue
        try:
            artefact = read_artefact(path, _parameters(folder), any_name=True)
            notes += [f"{where}: {note}" for note in check_fit(artefact, release)]
        except (InvalidModelError, UsageError) as error:
            message = error.message.removeprefix(str(path)).strip()
            problems.append(Problem(where, message, error.hint or "package the model again"))
        else:
            problems += _compare(folder, artefact, path)
    return ArtefactFindings(tuple(problems), tuple(notes))


def _find_no_graph(folder: ModelFolder, path: Path, where: str) -> Iterator[Problem]:
    if backend_of(folder.config) == "tensorflow" and path.is_dir() and not any(path.glob("saved_model.pb*")):
        yield Problem(where, "it has no saved_model.pb", "save the model again with tf.saved_model.save")


def _parameters(folder: ModelFolder) -> dict[str, str]:
    given = {key: value.string_value for key, value in folder.config.parameters.items()}
    return {"predict_proba": "false", **given} if backend_of(folder.config) == "fil" else given


def _is_for_openvino_alone(folder: ModelFolder, path: Path) -> bool:
    """Whether OpenVINO's backend reads another framework's format."""
    return backend_of(folder.config) == "openvino" and path.suffix != ".xml"


def _compare(folder: ModelFolder, artefact: Artefact, path: Path) -> Iterator[Problem]:
    """The configured tensors against those that the file lists; what Triton itself completes is left to it."""
    if artefact.backend != backend_of(folder.config):
        message = f"{path.name} is of {artefact.framework}, which the backend {artefact.backend} serves"
        yield Problem("backend", message, f'write backend: "{artefact.backend}"')
        return
    if artefact.by_position:
        return
    for kind, read in (("input", artefact.inputs), ("output", artefact.outputs)):
        known = {tensor.name: tensor for tensor in read or ()}
        for index, configured in enumerate(getattr(folder.config, kind)):
            where = f"{kind}[{index}]"
            if configured.name in known:
                yield from _compare_tensor(folder, where, configured, known[configured.name])
            elif known and configured.name != "treeshap_output":
                message = f"the model has no {kind} '{configured.name}'"
                yield Problem(f"{where}.name", message, f"it has {', '.join(known)}")


def _compare_tensor(folder: ModelFolder, where: str, configured: Any, tensor: Tensor) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    backend, here = backend_of(folder.config), DataType.Name(configured.data_type)
    own = tensor.data_type.config_name if tensor.data_type else here
    if own != here and configured.data_type and backend in _TYPED:
        yield Problem(f"{where}.data_type", f"'{tensor.name}' is {here} here, {own} in the model", f"write {own}")
    if tensor.shape is None or "RESHAPE_IO_LAYERS" in folder.config.parameters:
        return
    dims = configured.reshape.shape if configured.HasField("reshape") else configured.dims
    shape = [*([-1] if folder.max_batch_size else []), *dims]
    # The probabilities of two classes may be those of class 1 alone.
    alone = backend == "fil" and where.startswith("output") and shape == [-1, 1] and tensor.shape == (-1, 2)
    if not alone and not _may_be_the_same(shape, tensor.shape):
        message = f"'{tensor.name}' is {shape} here, {list(tensor.shape)} in the model"
        yield Problem(f"{where}.dims", message, "write the model's, without the batch if it batches")


def _may_be_the_same(one: list[int], other: tuple[int, ...]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(-1 in pair or pair[0] == pair[1] for pair in pairs)
