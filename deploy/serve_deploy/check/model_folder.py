"""What can be said of a model's folder without running it: layout, configuration, release, manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import MANIFEST_NAME, Manifest, read_manifest
from serve_deploy.model_config import CONFIG_NAME, Problem, check_config, is_ensemble, parse_config
from serve_deploy.model_config.warmup import WARMUP_FOLDER
from serve_deploy.repository.model_repository import MODEL_NAME, hash_file, list_versions

# Folders that Triton itself knows beside the versions.
_KNOWN_FOLDERS = (WARMUP_FOLDER, "initial_state", "configs")
_MODEL_FILES = {
    "": MODEL_NAME, "onnxruntime": MODEL_NAME, "onnxruntime_onnx": MODEL_NAME, "python": "model.py",
    "tensorrt": "model.plan", "tensorrt_plan": "model.plan", "pytorch": "model.pt", "pytorch_libtorch": "model.pt",
}  # fmt: skip


@dataclass(frozen=True)
class ModelFolder:
    """A model's folder as read, and what is wrong with it; `config` is None where there is none that can be read."""

    path: Path
    versions: tuple[int, ...]
    config: Any
    manifest: Manifest | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def file_name(self) -> str:
        """What the model's file is called in each version folder; "" for an ensemble or an unknown backend."""
        if self.config is None:
            return MODEL_NAME
        if is_ensemble(self.config):
            return ""
        backend = self.config.backend or self.config.platform
        return str(self.config.default_model_filename) or _MODEL_FILES.get(backend, "")

    @property
    def lacks_files(self) -> bool:
        """Whether the file of a version is missing."""
        return any(not (self.path / str(version) / self.file_name).exists() for version in self.versions)

    @property
    def onnx_files(self) -> tuple[Path, ...]:
        """The ONNX file of each version that has one."""
        files = [self.path / str(version) / self.file_name for version in self.versions]
        found = [file / MODEL_NAME if file.is_dir() else file for file in files]
        return tuple(file for file in found if file.suffix == ".onnx" and file.is_file())


def read_model_folder(path: Path) -> ModelFolder:
    """Read a model's folder and find what is wrong with its layout, configuration and manifest."""
    problems: list[Problem] = []
    notes: list[str] = []
    if not _is_model(path):
        stray = Problem("", "Triton takes every folder for a model, and this is none", "move it out of the repository")
        return ModelFolder(path, (), None, None, (stray,))
    config = _read_config(path, problems, notes)
    manifest = _read_manifest(path, problems)
    if manifest is not None and manifest.verification is None:
        notes.append("it was packaged with --no-verify: its answers were never compared")
    folder = ModelFolder(path, list_versions(path), config, manifest, ())
    known = {document.version for document in (manifest, *manifest.other_versions)} if manifest else set()
    if known and (strangers := sorted({*folder.versions} - known)):
        notes.append(
            f"version {', '.join(map(str, strangers))} was not packaged by serve: its manifest knows nothing of it"
        )
    problems += [*check_config(config, path.name)] if config is not None else []
    problems += [*_check_layout(folder)]
    problems += [*_check_files(folder)]
    return ModelFolder(path, folder.versions, config, manifest, tuple(problems), tuple(notes))


def _is_model(path: Path) -> bool:
    try:
        entries = {entry.name for entry in path.iterdir()}
    except OSError:
        return False
    models = {Path(name).suffix for name in _MODEL_FILES.values()}
    return CONFIG_NAME in entries or any(name.isdigit() or Path(name).suffix in models for name in entries)


def _read_config(path: Path, problems: list[Problem], notes: list[str]) -> Any:
    file = path / CONFIG_NAME
    if not file.exists():
        notes.append(f"no {CONFIG_NAME}: Triton guesses one, and guesses by shapes alone whether the model batches")
        return None
    try:
        config = parse_config(file.read_text(encoding="utf-8"), CONFIG_NAME)
    except (InvalidModelError, UnicodeDecodeError, OSError) as error:
        # The place and the message are printed side by side: once is enough for the file's name.
        problems.append(
            Problem(CONFIG_NAME, str(error).removeprefix(f"{CONFIG_NAME}: "), "correct the line that it names")
        )
        return None
    if not is_ensemble(config) and not (config.input and config.output):
        notes.append("inputs or outputs are not listed: Triton completes them, and may then batch by shapes alone")
    return config


def _read_manifest(path: Path, problems: list[Problem]) -> Manifest | None:
    try:
        return read_manifest(path)
    except InvalidModelError as error:
        problems.append(Problem(MANIFEST_NAME, error.message, error.hint or "package the model again"))
        return None


def _check_layout(folder: ModelFolder) -> Iterator[Problem]:
    for entry in sorted(folder.path.iterdir()):
        if entry.is_dir() and re.fullmatch(r"0[0-9]+", entry.name):
            yield Problem(entry.name, "Triton ignores a version with a leading zero", f"rename it to {int(entry.name)}")
    if not folder.versions:
        yield Problem("", "there is no version folder", _mend_missing_version(folder))
        return
    if folder.config is not None:
        for version in folder.config.version_policy.specific.versions:
            if version not in folder.versions:
                yield Problem("version_policy", f"version {version} is not there", "package it, or take it out")
    for version in folder.versions:
        yield from _check_version(folder, folder.path / str(version))


def _mend_missing_version(folder: ModelFolder) -> str:
    if folder.config is not None and is_ensemble(folder.config):
        return "make an empty folder 1/: an ensemble needs one, too"
    loose = [file.name for file in folder.path.iterdir() if file.suffix in (".onnx", ".plan", ".pt", ".py")]
    return f"make a folder 1/ and move {loose[0]} there as {folder.file_name}" if loose else "put the model into 1/"


def _check_version(folder: ModelFolder, version: Path) -> Iterator[Problem]:
    if not folder.file_name or (version / folder.file_name).exists():
        return
    others = sorted(file.name for file in version.iterdir() if file.suffix == Path(folder.file_name).suffix)
    mend = f'rename {others[0]} to it, or write default_model_filename: "{others[0]}"' if others else "put it there"
    yield Problem(f"{version.name}/{folder.file_name}", "the model's file is missing", mend)


def _check_files(folder: ModelFolder) -> Iterator[Problem]:
    """Whether the files are still those of the manifest."""
    if folder.manifest is None:
        return
    for document in (folder.manifest, *folder.manifest.other_versions):
        for file in document.files:
            path = folder.path / file.path
            if not path.is_file():
                yield Problem(file.path, "the manifest lists it, and it is not there", "package the model again")
            elif path.stat().st_size != file.size_bytes or hash_file(path) != file.sha256:
                yield Problem(
                    file.path,
                    "it was changed after packaging: what the manifest says was proven with another file",
                    "package the model again, with the change as an option; or delete manifest.json to disown it",
                )
