"""Which files of a model's folder differ, sorted by what Triton makes of it.

Triton judges by times: of the configuration, of each version folder, and of everything else together. It takes the
later of a file's modification and its change of status, which a copy, a hard link and chmod renew. Taken for granted is
that files of equal content are not touched, and that others are newer than what was loaded.
Source: core, model_repository_manager.cc: ModelTimestamp; filesystem/implementations/local.h.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Python writes it beside a model when it is loaded; no deployment carries it.
_BYTECODE = "__pycache__"


@dataclass(frozen=True)
class FileChanges:
    """The files that differ, by their paths in the model's folder.

    `shared` are those beside the configuration and the versions whose change loads every version again; a file that is
    only gone from the folder itself (`gone`) does not. `versions` are those of each version folder that both have.
    `all_newer`: the folder is replaced as a whole, with files that are equal but newer.
    """

    config: bool = False
    shared: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    versions: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    added_or_removed_versions: bool = False
    all_newer: bool = False

    @property
    def are_any(self) -> bool:
        """Whether Triton sees at all that the folder changed."""
        return bool(
            self.config or self.shared or self.gone or self.added_or_removed_versions or any(self.versions.values())
        )


def compare_files(old: Path, new: Path, config_file: str) -> FileChanges:
    """Compare two folders of a model; files of equal size are compared by their content."""
    before, after = _list_files(old), _list_files(new)
    differing = sorted(path for path in before.keys() | after.keys() if not _is_same(before.get(path), after.get(path)))
    config_place = config_file.split("/", maxsplit=1)[0]
    versions: dict[int, list[str]] = {}
    shared: list[str] = []
    gone: list[str] = []
    for path in differing:
        top, _, below = path.partition("/")
        if top.isdigit() and (old / top).is_dir() and (new / top).is_dir():
            versions.setdefault(int(top), []).append(path)
        elif top != config_place and not top.isdigit():
            # What goes from a subfolder changes the subfolder's time; what goes from the folder itself, nothing else's.
            is_gone = path not in after and (not below or not (new / top).exists())
            (gone if is_gone else shared).append(path)
    return FileChanges(
        config=any(path.split("/")[0] == config_place for path in differing),
        shared=tuple(shared),
        gone=tuple(gone),
        versions={version: tuple(paths) for version, paths in versions.items()},
        added_or_removed_versions=_versions(old) != _versions(new),
    )


def _list_files(folder: Path) -> dict[str, Path]:
    """Every file by its path in the folder, also where a version is a link to another folder, which Triton follows."""
    found = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != _BYTECODE]
        for path in (Path(place, name) for name in names if name != _BYTECODE):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path
    return found


def _versions(folder: Path) -> set[str]:
    return {path.name for path in _folders(folder) if path.name.isdigit()}


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir())


def _is_same(old: Path | None, new: Path | None) -> bool:
    if old is None or new is None:
        return False
    return old.samefile(new) or (old.stat().st_size == new.stat().st_size and filecmp.cmp(old, new, shallow=False))
