"""`serve snapshots`: what a model store holds, and which snapshot counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.stores.options import SnapshotsOptions

if TYPE_CHECKING:
    from serve_deploy.stores.listing import ListedSnapshot, Snapshots


@takes_options(arguments=["store"])
def snapshots(options: SnapshotsOptions, json: Json = False) -> None:
    """List the snapshots of a model store, or make another one current.

    \b
    serve snapshots s3://bucket/models
    serve snapshots s3://bucket/models --use 1f0c
    """
    from serve_deploy.stores.listing import read_snapshots

    with output.progress() as progress:
        progress(f"listing {options.store}")
        result = read_snapshots(options, progress)
    output.emit(result, as_json=json, render=print_result)


def print_result(result: Snapshots) -> None:
    """A line for each snapshot, the newest first."""
    if not result.snapshots:
        output.stdout().print(f"{result.store} has no snapshot", markup=False)
        return
    columns = ("snapshot", "", "written", "files", "size", "models")
    output.print_table(columns, [_row(each, result) for each in result.snapshots])


def _row(snapshot: ListedSnapshot, result: Snapshots) -> tuple[str, ...]:
    marks = {result.previous: "previous", result.current: "current"}
    written = "-" if snapshot.written_seconds is None else _write_time(snapshot.written_seconds)
    size = output.write_bytes(snapshot.size_bytes)
    held = (
        (str(snapshot.files), size, ", ".join(snapshot.models)) if not snapshot.problem else ("", "", snapshot.problem)
    )
    return snapshot.id, marks.get(snapshot.id, ""), written, *held


def _write_time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
