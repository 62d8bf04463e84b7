"""`serve push`: send a repository to a model store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.stores.options import PushOptions

if TYPE_CHECKING:
    from serve_deploy.stores.push import PushResult

_SIGNS = {"send": "+", "copy": "="}


@takes_options(arguments=["repository", "store"], flags={"models": ("--model", "-m")})
def push(options: PushOptions, json: Json = False) -> None:
    """Send a repository to a model store, as a snapshot that readers see whole or not at all.

    \b
    serve push models s3://bucket/models
    serve push models s3://https://minio.example:9000/bucket/models --dry-run
    serve push models /mnt/store -m digits
    """
    from serve_deploy.stores.push import push_repository

    with output.progress() as progress:
        progress(f"reading {options.repository}")
        result = push_repository(options, progress)
    output.emit(result, as_json=json, render=print_result)


def print_result(result: PushResult) -> None:
    """With a dry run each file that would move; then what was done, and which snapshot counts."""
    console = output.stdout()
    moved = [file for file in result.files if file.action != "keep"]
    for file in moved if result.is_dry_run else ():
        console.print(f"{_SIGNS[file.action]} {file.path}  {output.write_bytes(file.size_bytes)}", markup=False)
    would = "would be " if result.is_dry_run else ""
    for action, done, size in (
        ("send", "sent", result.sent_bytes),
        ("copy", "copied inside the store", result.copied_bytes),
        ("keep", "there already", result.kept_bytes),
    ):
        count = sum(file.action == action for file in result.files)
        if count:
            said = done if action == "keep" else f"{would}{done}"
            console.print(f"{output.count(count, 'file')} {said}, {output.write_bytes(size)}", markup=False)
    console.print(_say_snapshot(result), markup=False)


def _say_snapshot(result: PushResult) -> str:
    if result.previous == result.snapshot:
        return f"{result.store}: {result.snapshot} is the current snapshot already"
    was = f"; before, it was {result.previous}" if result.previous else ""
    will = "would be" if result.is_dry_run else "is"
    return f"{result.store}: {result.snapshot} {will} the current snapshot{was}"
