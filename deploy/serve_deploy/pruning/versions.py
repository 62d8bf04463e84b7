"""Remove the versions of a repository that no policy serves and nothing needs.

Nothing else is touched, the manifest neither: a newer file beside the versions would make a running Triton load all of
them again, and the removal of a version that it does not serve leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.files.staging import destination_errors, folder_lock, staging_folder
from serve_deploy.model_config import CONFIG_NAME, is_ensemble, parse_config
from serve_deploy.repository.model_folder import (
    ModelFolder,
    list_folders,
    read_model_folder,
    require_repository,
    select_versions,
)


@dataclass(frozen=True)
class PrunedVersion:
    """A version that nothing serves; `size_bytes` is what its removal frees: files without another hard link."""

    model: str
    version: int
    size_bytes: int


@dataclass(frozen=True)
class JudgedVersions:
    """The versions that can go; `kept` says why others that are not served stay."""

    removable: tuple[PrunedVersion, ...]
    kept: tuple[str, ...]


def prune_versions(repository: Path, models: Collection[str], *, dry_run: bool) -> JudgedVersions:
    """Remove what no version policy serves, or only say so.

    UsageError where the folder is no repository or lacks a model; InvalidModelError where an ensemble cannot be read,
    and so may need any version; DestinationError where something cannot be removed.
    """
    require_repository(repository)
    if dry_run:
        with folder_lock(repository):
            return judge_versions(repository, models)
    with staging_folder(repository, beside=True) as staging, folder_lock(repository):
        judged = judge_versions(repository, models)
        with destination_errors(repository):
            for each in judged.removable:
                (repository / each.model / str(each.version)).rename(staging / f"{each.model}-{each.version}")
    return judged


def judge_versions(repository: Path, models: Collection[str], said: str | None = None) -> JudgedVersions:
    """Which versions of these models can go, of all where none is named; `said` is what messages call the folder."""
    folders = {path.name: read_model_folder(path) for path in list_folders(repository)}
    names = sorted(name for name, folder in folders.items() if folder.is_model)
    if not names:
        raise UsageError(f"{said or repository} contains no models", hint="name a model repository")
    for name in models:
        if name not in names:
            raise UsageError(f"{said or repository} has no model '{name}'", hint=f"it has {', '.join(names)}")
    pinned = _find_pinned(folders)
    removable: list[PrunedVersion] = []
    kept: list[str] = []
    for name in models or sorted(folders):
        found, reasons = _judge(folders[name], pinned.get(name, set()))
        removable += found
        kept += reasons
    return JudgedVersions(tuple(removable), tuple(kept))


def _find_pinned(folders: Mapping[str, ModelFolder]) -> dict[str, set[int]]:
    """The versions that ensembles name, by model."""
    pinned: dict[str, set[int]] = {}
    for folder in folders.values():
        for config in _read_configs(folder):
            for step in config.ensemble_scheduling.step if is_ensemble(config) else ():
                if step.model_version > 0:
                    pinned.setdefault(step.model_name, set()).add(step.model_version)
    return pinned


def _read_configs(folder: ModelFolder) -> Iterator[Any]:
    """Its configuration and those of its profiles; InvalidModelError where one cannot be read."""
    if error := folder.errors.get(CONFIG_NAME):
        raise InvalidModelError(f"{error.message}; what it needs is not known", hint="correct it first: serve check")
    yield folder.config
    for path in sorted((folder.path / "configs").glob("*.pbtxt")):
        yield parse_config(path.read_text(encoding="utf-8"), path)


def _judge(folder: ModelFolder, pinned: Collection[int]) -> tuple[list[PrunedVersion], list[str]]:
    served = {version for config in _read_configs(folder) for version in select_versions(config, folder.versions)}
    if not served:
        return [], [f"{folder.name}: its version policy serves none of its versions, so all stay"] * bool(
            folder.versions
        )
    removed, kept = [], []
    for version in sorted(set(folder.versions) - served):
        path = folder.path / str(version)
        if reason := _why_kept(folder, version, path, pinned):
            kept.append(f"{folder.name} version {version}: {reason}")
        else:
            removed.append(PrunedVersion(folder.name, version, _count_freed(path)))
    return removed, kept


def _why_kept(folder: ModelFolder, version: int, path: Path, pinned: Collection[int]) -> str:
    if version in pinned:
        return "an ensemble names it"
    if folder.manifest and folder.manifest.version == version:
        return "the manifest's configuration, labels and samples are this version's"
    if path.is_symlink():
        return "it is a link to another place"
    if version in folder.missing_files:
        return f"it has no {folder.file_name}, so it may be something else"
    return ""


def _count_freed(path: Path) -> int:
    files = (each.lstat() for each in path.rglob("*") if each.is_file() and not each.is_symlink())
    return sum(status.st_size for status in files if status.st_nlink == 1)
