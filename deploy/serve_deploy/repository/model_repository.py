"""Write a model version into a Triton model repository, atomically, and read what is there."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.files.copying import copy_file, link_tree
from serve_deploy.files.moving import move_into_place
from serve_deploy.files.staging import destination_errors, folder_lock, staging_folder
from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME, FileDigest, Manifest, read_manifest
from serve_deploy.model_config import CONFIG_NAME
from serve_deploy.model_config.warmup import WARMUP_FOLDER

MODEL_NAME = "model.onnx"
LONGEST_NAME = 128


@dataclass(frozen=True)
class ExistingModel:
    """What a model's folder holds before anything is written."""

    folder: Path
    versions: tuple[int, ...]
    manifest: Manifest | None
    config_text: str | None
    identity: tuple[int, int, int]

    @property
    def config_is_ours(self) -> bool:
        """Whether config.pbtxt is as serve wrote it, so that nobody's edits are lost with it."""
        digests = {file.path: file.sha256 for file in self.manifest.files} if self.manifest else {}
        text = (self.config_text or "").encode()
        return self.config_text is None or digests.get(CONFIG_NAME) == hashlib.sha256(text).hexdigest()


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
    """Raise UsageError where the name cannot be a model's folder and a part of Triton's URLs."""
    rules = (
        (not name, "is empty"),
        (len(os.fsencode(name)) > LONGEST_NAME, f"is longer than {LONGEST_NAME} bytes"),
        (name.startswith("."), "begins with a dot"),
        (not re.fullmatch(r"[A-Za-z0-9._-]*", name), "has characters other than letters, digits, '.', '_' and '-'"),
    )
    for broken, reason in rules:
        if broken:
            raise UsageError(
                f"the model name {name!r} {reason}, so it is no valid folder and URL of Triton's", hint="give --name"
            )


def read_existing(folder: Path) -> ExistingModel | None:
    """Look at a model's folder; None where there is nothing, DestinationError where it is something else."""
    try:
        status = folder.stat()
        if not folder.is_dir():
            raise DestinationError(f"{folder} exists and is no folder", hint="give another --name or -o")
        config = folder / CONFIG_NAME
        return ExistingModel(
            folder=folder,
            versions=list_versions(folder),
            manifest=read_manifest(folder),
            config_text=config.read_text(encoding="utf-8") if config.exists() else None,
            identity=(status.st_dev, status.st_ino, status.st_mtime_ns),
        )
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        taken = next(parent for parent in folder.parents if parent.exists() and not parent.is_dir())
        raise DestinationError(f"{taken} is a file, not a folder", hint="give another -o") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DestinationError(f"{folder} cannot be read: {error}", hint="give another -o") from error


def list_versions(folder: Path) -> tuple[int, ...]:
    """The versions that Triton sees in a model's folder, oldest first."""
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return tuple(sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]*", name)))


def choose_version(existing: ExistingModel | None, requested: int | None, *, force: bool) -> int:
    """The version to write; None asks for the one after the newest. DestinationError where it exists already."""
    versions = existing.versions if existing else ()
    version = requested if requested is not None else max(versions, default=0) + 1
    if existing and version in versions and not force:
        raise DestinationError(
            f"{existing.folder / str(version)} exists already",
            hint="--version next adds a version beside it, --force replaces it",
        )
    if existing and not existing.config_is_ours and not force:
        raise DestinationError(
            f"{existing.folder / CONFIG_NAME} was written or edited by somebody else, and would be replaced",
            hint="keep a copy of it and use --force, or give another --name",
        )
    return version


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
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(content)


def digest_files(folder: Path) -> tuple[FileDigest, ...]:
    """Every file below a folder, hashed in pieces."""
    return tuple(_digest_file(path, folder) for path in sorted(folder.rglob("*")) if path.is_file())


def hash_file(path: Path) -> str:
    """Its sha256, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_file(path: Path, folder: Path) -> FileDigest:
    return FileDigest(path=path.relative_to(folder).as_posix(), sha256=hash_file(path), size_bytes=path.stat().st_size)


def commit_version(staged: Path, destination: Path, existing: ExistingModel | None, manifest: Manifest) -> Manifest:
    """Give the staged model what the existing folder keeps, its manifest, and its place; returns that manifest."""
    with folder_lock(destination.parent):
        _require_unchanged(destination, existing)
        with destination_errors(destination):
            if existing is not None:
                _keep_others(existing, staged, manifest.version)
            merged = merge_manifests(manifest, existing.manifest if existing else None)
            (staged / MANIFEST_NAME).write_text(merged.model_dump_json(indent=2) + "\n", encoding="utf-8")
            move_into_place(staged, destination, replace=existing is not None)
    return merged


def _require_unchanged(destination: Path, existing: ExistingModel | None) -> None:
    now = read_existing(destination)
    if (now and now.identity) != (existing and existing.identity):
        raise DestinationError(f"{destination} changed meanwhile", hint="another run may have written it; try again")


def _keep_others(existing: ExistingModel, staged: Path, version: int) -> None:
    """Link what is not ours to replace: other versions, and files that serve did not write."""
    ours = {CONFIG_NAME, MANIFEST_NAME, SAMPLES_NAME, WARMUP_FOLDER, str(version)}
    if existing.manifest:
        ours |= {file.path for file in existing.manifest.files if "/" not in file.path}
    for entry in sorted(existing.folder.iterdir()):
        if entry.name not in ours and not (staged / entry.name).exists():
            link_tree(entry, staged / entry.name)


def merge_manifests(new: Manifest, old: Manifest | None) -> Manifest:
    """One manifest for the folder: the newest version's on top, each other one below with its own files.

    Shared files (configuration, labels, samples, warm-up) were written with `new`, whichever version that is.
    """
    shared = tuple(file for file in new.files if not _is_version_file(file))
    others = [version for version in (old, *(old.other_versions if old else ())) if version]
    versions = {version.version: version for version in (*others, new)}
    bare = {
        number: version.model_copy(
            update={"files": tuple(filter(_is_version_file, version.files)), "other_versions": ()}
        )
        for number, version in versions.items()
    }
    top = bare.pop(max(bare))
    return top.model_copy(
        update={
            "files": (*top.files, *shared),
            "labels": new.labels,
            "samples": new.samples,
            "sample_bytes": new.sample_bytes,
            "other_versions": tuple(bare[number] for number in sorted(bare)),
        }
    )


def _is_version_file(file: FileDigest) -> bool:
    return file.path.split("/")[0].isdigit()
