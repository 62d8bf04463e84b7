"""`serve pull`: receive a repository from a model store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.stores.options import PullOptions

if TYPE_CHECKING:
    from serve_deploy.stores.pull.pull import PullResult


@takes_options(arguments=["store", "repository"], flags={"models": ("--model", "-m")})
def pull(options: PullOptions, json: Json = False) -> None:
    """Receive a repository from a model store, and show it only once every file is what was pushed.

    \b
    serve pull s3://bucket/models models
    serve pull s3://bucket/models@1f0c3a2b4d5e6f70 models --force
    serve pull /mnt/store models -m digits
    """
    from serve_deploy.stores.pull.pull import pull_repository

    with output.progress() as progress:
        progress(f"reading {options.store}")
        result = pull_repository(options, progress)
    output.emit(result, as_json=json, render=print_result)


def print_result(result: PullResult) -> None:
    """Which models changed and which stay, what came, and from which snapshot."""
    console = output.stdout()
    would = "would be " if result.is_dry_run else ""
    for model in result.changed:
        console.print(f"{model}: {would}written", markup=False)
    for model in result.kept:
        console.print(f"{model}: stays; the snapshot does not have it", markup=False)
    sizes = f"{output.write_bytes(result.received_bytes)} {would}received"
    if result.copied_bytes:
        sizes += f", {output.write_bytes(result.copied_bytes)} {would}taken from files that are there"
    same = f"{result.repository} has snapshot {result.snapshot} of {result.store} already"
    done = f"{result.repository}: snapshot {result.snapshot} of {result.store}; {sizes}"
    signed = f"; signed by {result.signed_by}" if result.signed_by else ""
    console.print(f"{done if result.changed else same}{signed}", markup=False)
