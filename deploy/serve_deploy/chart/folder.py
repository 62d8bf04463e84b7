"""The files of a chart: written to a directory, packed into one file, and compared with a directory."""

from __future__ import annotations

import difflib
import gzip
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from serve_deploy.errors import DestinationError
from serve_deploy.files.moving import move_into_place
from serve_deploy.files.staging import destination_errors, staging_folder

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class FileChange:
    """One file that differs from an existing chart; `diff` is empty for files that are not text."""

    path: str
    change: Literal["added", "removed", "changed"]
    diff: str


def write_files(files: Files, destination: Path, *, force: bool, check: Callable[[Path], None] | None = None) -> None:
    """Write the directory whole or not at all; DestinationError where it exists and is not to be replaced.

    `check` sees the whole chart before it is put into place; what it raises leaves the destination as it was.
    """
    filled = destination.exists() and not (destination.is_dir() and not any(destination.iterdir()))
    if filled and not (destination / "Chart.yaml").is_file():
        raise DestinationError(
            f"{destination} is not a chart, so it is not replaced", hint="choose another `directory`"
        )
    if filled and not force:
        raise DestinationError(
            f"{destination} exists already",
            hint="`force` replaces it, `diff` shows what would change, `directory` writes elsewhere",
        )
    with destination_errors(destination), staging_folder(destination.parent) as staging:
        staged = staging / destination.name
        for relative, data in files.items():
            path = staged / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if check is not None:
            check(staged)
        move_into_place(staged, destination, replace=destination.exists())


def package_chart(files: Files, folder: Path) -> Path:
    """Write <name>-<version>.tgz as `helm package` would, but the same bytes each time."""
    description = yaml.safe_load(files["Chart.yaml"])
    name, version = description["name"], description["version"]
    destination = folder / f"{name}-{version}.tgz"
    with destination_errors(destination), staging_folder(folder) as staging:
        staged = staging / destination.name
        staged.write_bytes(pack_chart(files, name))
        staged.replace(destination)
    return destination


def pack_chart(files: Files, name: str) -> bytes:
    """The chart as a gzipped tar, without times or owners."""
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.PAX_FORMAT) as archive:
        # Helm reads Chart.yaml first.
        for relative in sorted(files, key=lambda path: (path != "Chart.yaml", path)):
            member = tarfile.TarInfo(f"{name}/{relative}")
            member.size, member.mode = len(files[relative]), 0o644
            archive.addfile(member, io.BytesIO(files[relative]))
    return gzip.compress(tar_bytes.getvalue(), mtime=0)


def compare_chart(files: Files, existing: Path) -> tuple[FileChange, ...]:
    """What writing the files would change in an existing chart directory; everything is added where none exists."""
    old = (
        {path.relative_to(existing).as_posix(): path.read_bytes() for path in existing.rglob("*") if path.is_file()}
        if existing.is_dir()
        else {}
    )
    changes = []
    for path in sorted(old.keys() | files.keys()):
        before, after = old.get(path), files.get(path)
        if before != after:
            change: Literal["added", "removed", "changed"] = (
                "added" if before is None else "removed" if after is None else "changed"
            )
            changes.append(FileChange(path, change, _diff(path, before or b"", after or b"")))
    return tuple(changes)


def _diff(path: str, before: bytes, after: bytes) -> str:
    try:
        old, new = before.decode().splitlines(keepends=True), after.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return ""
    return "".join(difflib.unified_diff(old, new, f"existing/{path}", f"new/{path}"))
