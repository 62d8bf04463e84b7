"""What `serve chart` did, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_cli import output

if TYPE_CHECKING:
    from serve_deploy.chart.archive import FileChange
    from serve_deploy.chart.plan import DerivedValue


@dataclass(frozen=True)
class WrittenChart:
    """What `serve chart` did: where, from which numbers, and what changed (with --diff)."""

    name: str
    directory: Path
    written: bool
    release: str
    derived: tuple[DerivedValue, ...]
    notes: tuple[str, ...]
    package: Path | None = None
    pushed: str | None = None
    changes: tuple[FileChange, ...] | None = None
    values: dict[str, Any] | None = None


def print_chart(result: WrittenChart) -> None:
    """Print each number with where it came from, and what was written."""
    if result.changes is not None:
        _print_changes(result.changes)
        return
    console = output.stdout()
    for each in result.derived:
        console.print(f"{each.path}: {_short(each.value)}  # {each.origin}", markup=False)
    for note in result.notes:
        console.print(f"note: {note}", markup=False)
    if not result.written:
        console.print(f"dry run: {result.directory} would hold chart {result.name} for Triton {result.release}")
        return
    console.print(f"wrote {result.directory}: chart {result.name} for Triton {result.release}", markup=False)
    if result.package:
        console.print(f"packed {result.package}", markup=False)
    if result.pushed:
        console.print(result.pushed.strip(), markup=False)
    console.print(f"next: serve deploy {result.directory} --release demo -n models --wait", markup=False)


def _print_changes(changes: tuple[FileChange, ...]) -> None:
    console = output.stdout()
    if not changes:
        console.print("nothing would change")
    for each in changes:
        console.print(each.diff.rstrip("\n") if each.diff else f"{each.change}: {each.path}", markup=False)


def _short(value: Any) -> str:
    text = ", ".join(map(_short, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
