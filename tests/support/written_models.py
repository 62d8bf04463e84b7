"""Write a model's files, and change a served model in place, as rsync does: what is equal is not touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a model; a path that ends in `/` is an empty folder."""
    for path, content in files.items():
        if path.endswith("/"):
            (folder / path).mkdir(parents=True)
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)


def change_in_place(served: Path, files: Mapping[str, str], staging: Path) -> None:
    """Give a served model other files, each step whole: new folders and files are moved in, the configuration last."""
    if not files:
        os.rename(served, staging / served.name)
        return
    staged = staging / f"new {served.name}"
    write_files(staged, files)
    if not served.exists():
        os.rename(staged, served)
        return
    for folder in [path for path in staged.iterdir() if path.is_dir() and not (served / path.name).exists()]:
        os.rename(folder, served / folder.name)
    for path in sorted((path for path in staged.rglob("*") if path.is_file()), key=lambda path: path.name[0] == "c"):
        was = served / path.relative_to(staged)
        if not was.exists() or was.read_text() != path.read_text():
            os.replace(path, was)
    for entry in served.iterdir():
        if entry.name not in {path.split("/")[0] for path in files}:
            os.rename(entry, staging / f"gone {served.name} {entry.name}")
