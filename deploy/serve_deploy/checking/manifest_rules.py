"""Whether a model's folder is still what its manifest describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from serve_deploy.manifest import Manifest
from serve_deploy.model_config import CONFIG_NAME, Problem
from serve_deploy.model_config.client_tensors import client_tensors
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.tensors.types import TensorSpec

_PACKAGE_AGAIN = "package that version again, or serve it under another name"


def check_files(folder: ModelFolder) -> Iterator[Problem]:
    """Whether the files are still those of the manifest."""
    others = folder.manifest.other_versions if folder.manifest else ()
    # A version that is gone as a whole was removed on purpose, as serve prune does.
    there = [document for document in others if document.version in folder.versions]
    documents = (folder.manifest, *there) if folder.manifest else ()
    for file in (file for document in documents for file in document.files):
        path = folder.path / file.path
        if not path.is_file():
            yield Problem(file.path, "it is in the manifest, but the file is missing", "package the model again")
        elif path.stat().st_size != file.size_bytes or hash_file(path) != file.sha256:
            yield Problem(
                file.path,
                "it was changed after packaging, so what the manifest says was proven with another file",
                "package the model again with the change as an option, or delete manifest.json",
            )


def note_members(folder: ModelFolder, folders: Mapping[str, ModelFolder]) -> Iterator[str]:
    """The models of a pipeline that are not those it was verified with."""
    steps = folder.manifest.pipeline.steps if folder.manifest and folder.manifest.pipeline else ()
    for step in steps:
        member = folders[step.model].manifest if step.model in folders else None
        if step.model_sha256 and member and member.files_sha256 != step.model_sha256:
            yield (
                f"its step '{step.name}' ({step.model}) was packaged anew since this pipeline was written: "
                "serve pipeline --force verifies it again"
            )


def check_served(folder: ModelFolder, *, exact: bool = True) -> Iterator[Problem]:
    """Whether configuration and labels, which all versions share, are those that each served one was packaged with.

    Without `exact`, the batch may be smaller.
    """
    manifest = folder.manifest
    if manifest is None or folder.config_text is None or CONFIG_NAME in folder.errors:
        return
    for document in (manifest, *manifest.other_versions):
        if document.version in folder.served_versions:
            yield from _compare_tensors(folder, document)
            yield from _compare_batch(folder, document, newest=exact and document is manifest)
            yield from _compare_labels(folder, document)


def _compare_tensors(folder: ModelFolder, document: Manifest) -> Iterator[Problem]:
    for kind, packaged in (("input", document.inputs), ("output", document.outputs)):
        if not getattr(folder.config, kind):
            continue
        try:
            configured = client_tensors(folder.config, kind)
        except ValueError:  # a type that is none: said by the rules on tensors
            continue
        if len(configured) != len(packaged) or not all(map(_agree, configured, packaged)):
            listed = [", ".join(map(str, tensors)) for tensors in (packaged, configured)]
            message = f"version {document.version} was packaged with {listed[0]}; the configuration has {listed[1]}"
            yield Problem(kind, message, _PACKAGE_AGAIN)


def _agree(one: TensorSpec, other: TensorSpec) -> bool:
    same = (one.name, one.data_type) == (other.name, other.data_type)
    return same and (one.fits(other.shape) or other.fits(one.shape))


def _compare_batch(folder: ModelFolder, document: Manifest, *, newest: bool) -> Iterator[Problem]:
    here, packaged = folder.max_batch_size, document.batching.max_batch_size
    if here > packaged or (newest and here != packaged):
        yield Problem(
            "max_batch_size", f"{here}; version {document.version} was packaged with {packaged}", _PACKAGE_AGAIN
        )


def _compare_labels(folder: ModelFolder, document: Manifest) -> Iterator[Problem]:
    for index, tensor in enumerate(folder.config.output):
        names = document.labels.get(tensor.name)
        if names is not None and folder.labels.get(tensor.name) != names:
            where = f"output[{index}].label_filename"
            message = f"version {document.version} was packaged with other class names for '{tensor.name}'"
            yield Problem(where, message, _PACKAGE_AGAIN)
