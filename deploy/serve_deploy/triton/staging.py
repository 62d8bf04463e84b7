"""Paths and names that Triton's Python backend can take: it starts each model through bash, and quotes nothing."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from serve_deploy.errors import InvalidModelError
from serve_deploy.files.temporary import make_temporary
from serve_deploy.repository.model_folder import read_model_folder

# Of ASCII only what bash leaves as it is; other letters are no trouble to it.
_SPLIT_OR_EXPANDED = re.compile(r"[^\w@%+=:,.-]")
_TEMPORARY = "/tmp"  # noqa: S108 - in place of a TMPDIR that cannot be used


def make_folder(shared_memory: str) -> Path:
    """An own temporary folder whose path bash leaves as it is, whatever TMPDIR says; OSError where none can be made.

    `shared_memory` is how the names of the server's regions begin.
    """
    temporary = tempfile.gettempdir()
    place = Path(temporary if _is_plain(temporary) else _TEMPORARY)
    return make_temporary("triton", place, shared_memory=shared_memory)


@dataclass(frozen=True)
class StagedRepository:
    """A repository, and the path by which the server knows it."""

    repository: Path
    path: Path

    def in_own_words(self, text: str) -> str:
        """What the server wrote, with the repository's own path in it."""
        return text if self.path == self.repository else text.replace(str(self.path), str(self.repository))


def stage_repository(repository: Path, folder: Path) -> StagedRepository:
    """The repository as it is, or by a symbolic link in `folder` where bash would not leave its path as it is."""
    own = repository.resolve()
    if _is_plain(str(own)):
        return StagedRepository(own, own)
    link = folder / "models"
    link.symlink_to(own, target_is_directory=True)
    return StagedRepository(own, link)


def find_unservable_names(repository: Path, names: Iterable[str] = ("*",)) -> dict[str, str]:
    """Of these models, or all, those whose process would crash for the model's name, and why. An ensemble has none."""
    folders = [path for name in names for path in repository.glob("[!.]*" if name == "*" else escape(name))]
    judged = {folder.name: judge_name(folder.name) for folder in sorted(folders)}
    return {name: reason for name, reason in judged.items() if reason and _has_process(repository / name)}


def judge_name(model: str) -> str | None:
    """Why Triton's Python backend cannot serve a model of this name; None where it can."""
    found = sorted(set(_SPLIT_OR_EXPANDED.findall(model)))
    listed = " and ".join("a space" if character.isspace() else character for character in found)
    return f"Triton's Python backend cannot serve a model with {listed} in its name" if found else None


def suggest_name(model: str) -> str:
    """The name with `_` for what the Python backend cannot take."""
    return _SPLIT_OR_EXPANDED.sub("_", model)


def check_model_names(repository: Path, names: Iterable[str]) -> None:
    """Raise InvalidModelError where a model's name is one of these."""
    for name, reason in find_unservable_names(repository, names).items():
        raise InvalidModelError(
            f"{name}: {reason}",
            hint=f"rename its folder, for example to {suggest_name(name)}, or load only the others, each with `models`",
        )


def _has_process(folder: Path) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        found = read_model_folder(folder)
        return bool(found.versions) and not found.members
    return False


def _is_plain(path: str) -> bool:
    return shlex.quote(path) == path
