"""Reload what changed in a model repository, judged by its content.

Triton's own poll mode judges by modification times and loads a model that is still being copied. Here a model is
reloaded when its files' content differs from what was loaded, and only after two looks in a row saw the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from serve_deploy.errors import ServeError

# Larger files are judged by size and time: reading gigabytes at every start would cost more than a needless reload.
_MAX_HASHED_BYTES = 64 << 20

Content = frozenset[tuple[str, str]]


class ModelControl(Protocol):
    """What a server must be able to do to follow its repository."""

    def load_model(self, name: str) -> None: ...

    def unload_model(self, name: str) -> None: ...


@dataclass(frozen=True)
class ModelChange:
    """What was done about a model whose files changed; `error` is what Triton says where it refused."""

    model: str
    action: Literal["loaded", "reloaded", "unloaded"]
    error: str | None = None


class RepositoryWatch:
    """The content of a repository as it was last loaded; `models`, if any, are the only ones that are followed."""

    def __init__(self, repository: Path, models: Collection[str] = ()) -> None:
        self._repository = repository
        self._models = models
        self._digests: dict[tuple[str, int, int], str] = {}
        self._loaded: dict[str, Content] = {}
        self._last_seen: dict[str, Content] = {}

    def look(self) -> None:
        """Take what is there now as what the server has loaded."""
        self._loaded = self._last_seen = self._read()

    def apply_changes(self, server: ModelControl) -> tuple[ModelChange, ...]:
        """Load, reload and unload what has changed and settled since; a model that fails keeps serving as it was."""
        now, before = self._read(), self._last_seen
        self._last_seen = now
        changes = []
        for name in sorted(now.keys() | self._loaded.keys()):
            if now.get(name) == self._loaded.get(name) or now.get(name) != before.get(name):
                continue
            changes.append(_apply(server, name, known=name in self._loaded, present=name in now))
            if name in now:
                self._loaded[name] = now[name]
            else:
                del self._loaded[name]
        return tuple(changes)

    def _read(self) -> dict[str, Content]:
        models = {}
        with suppress(FileNotFoundError):
            for folder in self._repository.iterdir():
                # Names with a dot are where `serve package` and others prepare what they then move into place.
                wanted = folder.name in self._models if self._models else not folder.name.startswith(".")
                if wanted and folder.is_dir():
                    models[folder.name] = frozenset(self._read_files(folder))
        return models

    def _read_files(self, folder: Path) -> list[tuple[str, str]]:
        files = []
        for path in folder.rglob("*"):
            # A file may go while we look; the next look will see it gone.
            with suppress(OSError):
                if path.is_file():
                    files.append((str(path.relative_to(folder)), self._digest(path)))
        return files

    def _digest(self, path: Path) -> str:
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        if key not in self._digests:
            if status.st_size > _MAX_HASHED_BYTES:
                self._digests[key] = f"{status.st_size} {status.st_mtime_ns}"
            else:
                self._digests[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._digests[key]


def _apply(server: ModelControl, name: str, *, known: bool, present: bool) -> ModelChange:
    action: Literal["loaded", "reloaded", "unloaded"] = "unloaded"
    if present:
        action = "reloaded" if known else "loaded"
    try:
        if present:
            server.load_model(name)
        else:
            server.unload_model(name)
    except ServeError as error:
        return ModelChange(name, action, error.message)
    return ModelChange(name, action)
