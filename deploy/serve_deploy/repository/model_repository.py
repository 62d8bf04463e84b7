"""Write a model version into a Triton model repository, atomically, beside the versions that are there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.files.copying import copy_file, link_tree
from serve_deploy.files.moving import move_all, move_into_place
from serve_deploy.files.staging import destination_errors, folder_lock, staging_folder
from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME, FileDigest, Manifest
from serve_deploy.model_config import CONFIG_NAME, CONFIGS_FOLDER, VersionPolicy
from serve_deploy.model_config.warmup import WARMUP_FOLDER
from serve_deploy.repository.model_folder import MODEL_NAME, ModelFolder, read_model_folder


@dataclass(frozen=True)
class ModelSource:
    """A model file, or the bytes of a rewritten one, and its external data (absolute, below `folder`)."""

    model: Path | bytes
    folder: Path
    external_files: tuple[Path, ...] = ()


def default_model_name(source: Path) -> str:
    """The file's name as a model can be called: other characters become `_`."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", source.stem).lstrip(".")


def check_model_name(name: str) -> None:
    """Raise UsageError where the name cannot be a folder and a part of Triton's URLs."""
    if not name:
        raise UsageError("the model name is empty", hint="choose another `name`, or leave it out for the file's")
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", name):
        raise UsageError(
            f"the model name '{name}' does not work as a folder and in a URL",
            hint="choose another `name`: at most 128 letters, digits, '.', '_' and '-', and no dot at the beginning",
        )


def read_existing(folder: Path) -> ModelFolder | None:
    """What is in a model's folder before anything is written; None where there is none.

    DestinationError where a file is in the way or something cannot be read.
    """
    hint = "choose another `name` or `repository`"
    try:
        taken = next(path for path in (folder, *folder.parents) if path.exists())
        if not taken.is_dir():
            raise DestinationError(f"{taken} is a file, not a folder", hint=hint)
        existing = read_model_folder(folder) if taken == folder else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DestinationError(f"{folder} cannot be read: {error}", hint=hint) from error
    if existing is None:
        return None
    if MANIFEST_NAME in existing.errors:
        raise existing.errors[MANIFEST_NAME]
    if existing.config_text is None and existing.errors:
        raise DestinationError("; ".join(map(str, existing.errors.values())), hint=hint)
    return existing


def choose_version(existing: ModelFolder | None, requested: int | None, *, force: bool) -> int:
    """The version to write; None asks for the one after the newest. DestinationError where it exists already."""
    versions = existing.versions if existing else ()
    version = requested if requested is not None else max(versions, default=0) + 1
    if existing and version in versions and not force:
        raise DestinationError(
            f"{existing.path / str(version)} already exists",
            hint="`version=next` adds a version beside it, `force=True` replaces it",
        )
    edited = None if existing is None or force or is_older(version, existing) else _find_edited(existing)
    if existing and edited:
        raise DestinationError(
            f"{existing.path / edited} was written or edited by hand, and packaging would replace it",
            hint="keep a copy of it and use `force=True`, or choose another `name`",
        )
    return version


def is_older(version: int, existing: ModelFolder | None) -> bool:
    """Whether a newer version is there, whose configuration, labels and samples are shared by all."""
    return existing is not None and existing.config_text is not None and version < max(existing.versions, default=0)


def _find_edited(existing: ModelFolder) -> str | None:
    """The configuration that is not as serve wrote it; those in configs/ that it never wrote are kept."""
    written = {file.path: file.sha256 for file in existing.manifest.files} if existing.manifest else {}
    named = [path for path in written if path.startswith(f"{CONFIGS_FOLDER}/") and (existing.path / path).is_file()]
    paths = [CONFIG_NAME] * (existing.config_text is not None) + named
    return next((path for path in paths if hash_file(existing.path / path) != written.get(path)), None)


def check_policy(policy: VersionPolicy | None, version: int, existing: ModelFolder | None) -> tuple[str, ...]:
    """A note where the version would not be served for now; UsageError where it never would."""
    others = existing.versions if existing else ()
    if policy and policy.specific and version not in policy.specific:
        raise UsageError(
            f"`version_policy` would never serve version {version}",
            hint=f"add it: `version_policy=specific:{','.join(map(str, sorted({*policy.specific, version})))}`",
        )
    newest = max((*others, version))
    served = policy.serves(version, others) if policy else version == newest
    return () if served else (f"version {version} is written but not served: version {newest} is newer",)


def require_same_tensors(config: Any, version: int, existing: ModelFolder | None, *, force: bool) -> None:
    """DestinationError where other tensors would break the other versions: all share one configuration."""
    others = [other for other in existing.versions if other != version] if existing else []
    if not existing or not others or existing.config_text is None or force:
        return
    if CONFIG_NAME in existing.errors:
        raise existing.errors[CONFIG_NAME]
    files = [existing.file_name, existing.with_version(version, config).file_name]
    if files[0] != files[1]:
        raise DestinationError(
            f"version {version} of {config.name} is a {files[1]} and version {max(others)} a {files[0]}, "
            "and all versions share one configuration",
            hint="choose another `name`, or use `force=True` if the old versions are not served any more",
        )
    for kind in ("input", "output"):
        old, new = (
            {(tensor.name, tensor.data_type, tuple(tensor.dims)) for tensor in getattr(written, kind)}
            for written in (existing.config, config)
        )
        if old != new:
            raise DestinationError(
                f"version {version} of {config.name} has other {kind}s than version {max(others)}, "
                "and all versions share one configuration",
                hint="choose another `name`, or use `force=True` if the old versions are not served any more",
            )


@contextmanager
def staged_model(repository: Path, name: str) -> Iterator[Path]:
    """A folder of that name in a repository of its own beside the models; all of it is gone afterwards."""
    with staging_folder(repository, beside=True) as staging:
        folder = staging / name
        with destination_errors(repository):
            folder.mkdir()
        yield folder


def place_model(folder: Path, version: int, source: ModelSource) -> Path:
    """Copy a model into its version folder and return the file; with external data `model.onnx` is a folder of them."""
    with destination_errors(folder):
        target = folder / str(version) / MODEL_NAME
        target.parent.mkdir()
        if source.external_files:
            target.mkdir()
            target /= MODEL_NAME
        if isinstance(source.model, bytes):
            target.write_bytes(source.model)
        else:
            copy_file(source.model, target)
        for file in source.external_files:
            placed = target.parent / file.relative_to(source.folder)
            placed.parent.mkdir(parents=True, exist_ok=True)
            copy_file(file, placed)
        return target


def write_shared(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write what stands beside the version folders: configuration, labels, samples, warm-up."""
    with destination_errors(folder):
        for path, content in contents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


def digest_files(folder: Path) -> tuple[FileDigest, ...]:
    """Every file below a folder with its hash and size."""
    return tuple(
        FileDigest(path=path.relative_to(folder).as_posix(), sha256=hash_file(path), size_bytes=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )


def hash_file(path: Path) -> str:
    """A file's sha256, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def commit_version(staged: Path, destination: Path, existing: ModelFolder | None, manifest: Manifest) -> Manifest:
    """Give the staged model what the existing folder keeps, its manifest, and its place; returns that manifest."""
    with folder_lock(destination.parent):
        _require_unchanged(destination, existing)
        with destination_errors(destination):
            if existing is not None:
                _keep_others(existing, staged, manifest.version)
            merged = merge_manifests(
                manifest, existing.manifest if existing else None, existing.versions if existing else ()
            )
            (staged / MANIFEST_NAME).write_text(merged.model_dump_json(indent=2) + "\n", encoding="utf-8")
            move_into_place(staged, destination, replace=existing is not None)
    return merged


@dataclass(frozen=True)
class Move:
    """A staged model, whole and with its manifest, its place, and what was there when the run began."""

    staged: Path
    destination: Path
    existing: ModelFolder | None


def commit_models(moves: Sequence[Move]) -> None:
    """Give several staged models their places in one repository: all of them, or on any error none.

    A kill on the way may leave the first ones in place until the next command undoes it: the last should be the one
    that needs the others.
    """
    parent = moves[0].destination.parent
    with folder_lock(parent):
        for move in moves:
            _require_unchanged(move.destination, move.existing)
        with destination_errors(parent):
            move_all([(move.staged, move.destination, move.existing is not None) for move in moves])


def _require_unchanged(destination: Path, existing: ModelFolder | None) -> None:
    now = read_existing(destination)
    if (now and now.identity) != (existing and existing.identity):
        raise DestinationError(
            f"{destination} changed during this run", hint="another run may have written it; try again"
        )


def _keep_others(existing: ModelFolder, staged: Path, version: int) -> None:
    """Link what is not ours to replace: other versions, and files that serve did not write."""
    ours = {CONFIG_NAME, CONFIGS_FOLDER, MANIFEST_NAME, SAMPLES_NAME, WARMUP_FOLDER, str(version)}
    written = {file.path for file in existing.manifest.files} if existing.manifest else set()
    ours |= {path for path in written if "/" not in path}
    for entry in sorted(existing.path.iterdir()):
        if entry.name not in ours and not (staged / entry.name).exists():
            link_tree(entry, staged / entry.name)
    for entry in sorted((existing.path / CONFIGS_FOLDER).glob("*")):
        kept = staged / CONFIGS_FOLDER / entry.name
        if f"{CONFIGS_FOLDER}/{entry.name}" not in written and not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            link_tree(entry, kept)


def merge_manifests(new: Manifest, old: Manifest | None, present: Collection[int] | None = None) -> Manifest:
    """One manifest for the folder: the newest version's on top, each other one below with its own files.

    Shared files (configuration, labels, samples, warm-up) stand on top, whichever version is `new`. Versions that are
    not `present` any more are left out.
    """
    shared = tuple(file for file in new.files if not _is_version_file(file))
    others = [version for version in (old, *(old.other_versions if old else ())) if version]
    versions = {
        each.version: each for each in (*others, new) if present is None or each.version in (*present, new.version)
    }
    bare = {
        number: version.model_copy(
            update={"files": tuple(filter(_is_version_file, version.files)), "other_versions": ()}
        )
        for number, version in versions.items()
    }
    top = bare.pop(max(bare))
    others_below = tuple(bare[number] for number in sorted(bare))
    return top.model_copy(update={"files": (*top.files, *shared), "other_versions": others_below})


def _is_version_file(file: FileDigest) -> bool:
    return file.path.split("/")[0].isdigit()
