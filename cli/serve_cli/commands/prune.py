"""`serve prune`: remove the versions that nothing serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.repository.prune_options import PruneOptions

if TYPE_CHECKING:
    from serve_deploy.repository.pruning import PruneResult


@takes_options(arguments=["repository"], flags={"models": ("--model", "-m")})
def prune(options: PruneOptions, json: Json = False) -> None:
    """Remove the model versions that no version policy serves and no ensemble names.

    \b
    serve prune models --dry-run
    serve prune models -m digits
    """
    from serve_deploy.repository.pruning import prune_repository

    with output.progress() as progress:
        progress(f"reading {options.repository}")
        result = prune_repository(options)
    output.emit(result, as_json=json, render=print_result)


def print_result(result: PruneResult) -> None:
    """A line for each version that goes, why others stay, and what is freed."""
    console = output.stdout()
    if result.removed:
        rows = [(each.model, each.version, output.write_bytes(each.size_bytes)) for each in result.removed]
        output.print_table(("model", "version", "frees"), rows)
    for reason in result.kept:
        console.print(f"kept: {reason}", markup=False)
    count = output.count(len(result.removed), "version")
    done = "would remove" if result.is_dry_run else "removed"
    freed = f", {output.write_bytes(result.freed_bytes)}" if result.removed else ""
    console.print(f"{done} {count}{freed}" if result.removed else "nothing to remove", markup=False)
