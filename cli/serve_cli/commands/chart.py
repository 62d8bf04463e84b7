"""`serve chart`: a Helm chart for a model repository."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.chart.options import ChartOptions
from serve_deploy.option import Option
from serve_deploy.stores.repository_option import read_repository

if TYPE_CHECKING:
    from serve_deploy.chart.folder import FileChange
    from serve_deploy.chart.write import WrittenChart

_WIDEST_VALUE = 60


@dataclass(frozen=True, kw_only=True)
class _Models:
    """What a chart is written for."""

    repository: Annotated[
        Path, Option("A Triton model repository, or a store's address.", metavar="REPOSITORY", read=read_repository)
    ]


@takes_options(
    arguments=["repository"],
    flags={
        "directory": ("--output", "-o"),
        "release": "--triton",
        "min_replicas": "--min",
        "max_replicas": "--max",
        "growth_percent_per_minute": "--growth",
        "settings": "--set",
        "values": ("--values", "-f"),
    },
)
def chart(models: _Models, options: ChartOptions, json: Json = False) -> None:
    """Write a Helm chart for a model repository, and say where each number comes from.

    \b
    serve chart models/ -o deploy-chart --gpu l4 --cloud gke --source s3://bucket/models
    serve chart models/ --slo 'p99<50ms' --capacity sweep.json --peak-rate 2000
    serve chart models/ --diff
    """
    from serve_deploy.chart.write import write_chart

    with output.progress() as progress:
        result = write_chart(models.repository, options, progress)
    output.emit(result, as_json=json, render=print_chart)


def print_chart(result: WrittenChart) -> None:
    """Print each number with where it came from, and what was written."""
    if result.changes is not None:
        _print_changes(result.changes)
        return
    lines = [f"{each.path}: {_shorten(each.value)}  # {output.in_flags(each.origin)}" for each in result.derived]
    lines += [f"note: {output.in_flags(note)}" for note in result.notes]
    chart = f"chart {result.name} for Triton {result.release}"
    if result.written:
        lines.append(f"wrote {result.directory}: {chart}")
    else:
        lines.append(f"dry run: would write {chart} to {result.directory}")
    if result.package:
        lines.append(f"packed {result.package}")
    if result.pushed:
        lines.append(result.pushed.strip())
    if result.written:
        lines.append(f"next: serve deploy {shlex.quote(str(result.directory))} --release demo -n models --wait")
    output.stdout().print("\n".join(lines), markup=False)


def _print_changes(changes: tuple[FileChange, ...]) -> None:
    lines = [each.diff.rstrip("\n") or f"{each.change}: {each.path}" for each in changes]
    output.stdout().print("\n".join(lines) or "nothing would change", markup=False)


def _shorten(value: Any) -> str:
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        text = ", ".join(value)
    else:
        text = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST_VALUE else f"{text[: _WIDEST_VALUE - 1]}…"
