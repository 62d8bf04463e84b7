"""A chart as one file, and compared with one that exists."""

from __future__ import annotations

import difflib
import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from serve_deploy.files.staging import destination_errors, staging_folder

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class FileChange:
    """One file that differs from an existing chart; `diff` is empty for files that are no text."""

    path: str
    change: Literal["added", "removed", "changed"]
    diff: str


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
    """What writing the files would change in an existing chart directory; all is added where there is none."""
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
