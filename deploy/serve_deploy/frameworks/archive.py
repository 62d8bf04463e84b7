"""Zip archives whose members are read only as far as they are needed."""

from __future__ import annotations

import zipfile
from pathlib import Path

# A member that describes the model is text or a short pickle; a larger one is a bomb, or something else.
_MOST_BYTES = 64 << 20


class Archive:
    """The members of a zip file below the one folder that PyTorch puts them in."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        self._path = path
        self._folder = names[0].partition("/")[0] + "/" if names and "/" in names[0] else ""
        self.names = tuple(name.removeprefix(self._folder) for name in names)

    def has(self, prefix: str) -> bool:
        """Whether there is a member of that name, or below it."""
        return any(name == prefix or name.startswith(f"{prefix}/") for name in self.names)

    def read(self, name: str) -> bytes:
        """A member's content; ValueError where it is too large to describe a model."""
        with zipfile.ZipFile(self._path) as archive, archive.open(self._folder + name) as member:
            content = member.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError("too large")
        return content
