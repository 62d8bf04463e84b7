"""`serve prune`: remove the versions that nothing serves, and the snapshots that nothing names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.pruning.options import PruneOptions

if TYPE_CHECKING:
    from serve_deploy.pruning.policy import HeldSnapshot
    from serve_deploy.pruning.prune import PruneResult


@takes_options(
    arguments=["repository"],
    flags={"models": ("--model", "-m"), "contexts": "--context", "namespaces": ("--namespace", "-n")},
)
def prune(options: PruneOptions, json: Json = False) -> None:
    """Remove the model versions that no version policy serves and no ensemble names, and a store's old snapshots.

    \b
    serve prune models --dry-run
    serve prune models -m digits
    serve prune s3://bucket/models --keep 10 --older-than 30d
    serve prune oci://registry/team/models --dry-run
    """
    from serve_deploy.pruning.prune import prune as run

    with output.progress() as progress:
        result = run(options, progress)
    output.emit(result, as_json=json, render=print_result)


def print_result(result: PruneResult) -> None:
    """A line for each version or snapshot that goes, why others stay, and what is freed."""
    console = output.stdout()
    if result.removed:
        rows = [(each.model, each.version, output.write_bytes(each.size_bytes)) for each in result.removed]
        output.print_table(("model", "version", "frees"), rows)
    if result.snapshots:
        output.print_table(("snapshot", "written", "files", "frees"), [_row(each) for each in result.snapshots])
    for upload in result.uploads:
        begun, size = _write_time(upload.begun_seconds), output.write_bytes(upload.size_bytes)
        console.print(f"unfinished upload of {upload.path}, begun {begun}: {size}", markup=False)
    for reason in result.kept:
        console.print(f"kept: {reason}", markup=False)
    if result.releases:
        console.print(output.in_flags(result.releases), markup=False)
    counts = [
        output.count(len(found), noun)
        for found, noun in (
            (result.removed, "version"),
            (result.snapshots, "snapshot"),
            (result.uploads, "unfinished upload"),
        )
        if found
    ]
    done = "would remove" if result.is_dry_run else "removed"
    freed = f", {output.write_bytes(result.freed_bytes)}"
    console.print(f"{done} {', '.join(counts)}{freed}" if counts else "nothing to remove", markup=False)
    if result.note:
        console.print(result.note, markup=False)


def _row(snapshot: HeldSnapshot) -> tuple[str, str, str, str]:
    written = snapshot.written_seconds
    return (
        snapshot.id if snapshot.is_complete else f"{snapshot.id} (unfinished)",
        _write_time(written) if written else "unknown",
        str(snapshot.files),
        output.write_bytes(snapshot.size_bytes),
    )


def _write_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
