"""`serve push`: send a repository to a model store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.stores.options import PushOptions

if TYPE_CHECKING:
    from serve_deploy.stores.push.pushed import PushResult

_SIGNS = {"send": "+", "copy": "=", "delete": "-"}


@takes_options(arguments=["repository", "store"], flags={"models": ("--model", "-m")})
def push(options: PushOptions, json: Json = False) -> None:
    """Send a repository to a model store, as a snapshot that readers see whole or not at all.

    \b
    serve push models s3://bucket/models
    serve push models s3://https://minio.example:9000/bucket/models --dry-run
    serve push models /mnt/store -m digits
    serve push models gs://bucket/models --fixed --delete
    serve push models oci://registry.example/team/models:v1
    """
    from serve_deploy.stores.push.push import push_repository

    with output.progress() as progress:
        result = push_repository(options, progress, ask_passphrase=output.passphrase_prompt())
    output.emit(result, as_json=json, render=print_result)


def print_result(result: PushResult) -> None:
    """With a dry run each file that would change; then what was done, and which snapshot counts."""
    console = output.stdout()
    moved = [file for file in result.files if file.action != "keep"]
    for file in moved if result.is_dry_run else ():
        console.print(f"{_SIGNS[file.action]} {file.path}  {output.write_bytes(file.size_bytes)}", markup=False)
    would = "would be " if result.is_dry_run else ""
    for action, done in (
        ("send", f"{would}sent"),
        ("copy", f"{would}copied inside the store"),
        ("keep", "there already"),
        ("delete", f"{would}deleted"),
    ):
        sizes = [file.size_bytes for file in result.files if file.action == action]
        if sizes:
            console.print(f"{output.count(len(sizes), 'file')} {done}, {output.write_bytes(sum(sizes))}", markup=False)
    for name in result.postponed:
        console.print(f"{name}: stays for now, as a reader may be loading it; a later push deletes it", markup=False)
    console.print(_say_snapshot(result), markup=False)
    if result.caution:
        console.print(f"note: {result.caution}", markup=False)
    if result.image:
        console.print(f"image {result.image}", markup=False)
    if result.overtaken:
        console.print(f"another push had named {result.overtaken} meanwhile; this one replaced it", markup=False)


def _say_snapshot(result: PushResult) -> str:
    signed = ", signed" if result.is_signed and not result.is_dry_run else ""
    if result.previous == result.snapshot:
        return f"{result.store}: {result.snapshot} is the current snapshot already{signed}"
    was = f"; before, it was {result.previous}" if result.previous else ""
    will = "would be" if result.is_dry_run else "is"
    return f"{result.store}: {result.snapshot} {will} the current snapshot{signed}{was}"
