"""`serve models`: what a running server serves, and what its models do; load and unload them."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import output
from serve_cli.options import ENDPOINT_FLAGS, Json
from serve_cli.taking import takes_options
from serve_deploy.errors import UsageError
from serve_deploy.live_models.options import ModelsOptions

if TYPE_CHECKING:
    from serve_deploy.live_models.served import ServedModels, ServedVersion

_COLUMNS = ("model", "version", "state", "requests", "failed", "batch", "queue", "compute", "memory")
_RATES = ("requests/s", "inferences/s")


@takes_options(arguments=["url"], flags=ENDPOINT_FLAGS, without=["compression"])
def models(
    options: ModelsOptions,
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.", rich_help_panel="Output"),
    ] = False,
    json: Json = False,
) -> None:
    """Show the models of a running Triton, their versions, statistics and memory; load and unload them.

    \b
    serve models http://localhost:8000
    serve models http://localhost:8000 --watch
    serve models http://localhost:8000 --load digits --unload old --dry-run
    """
    from serve_deploy.live_models.models import read_models

    if watch and (options.load or options.unload):
        raise UsageError("--watch only looks", hint="load and unload first, without it")
    if watch:
        # Ctrl-C is how watching is meant to end.
        with suppress(KeyboardInterrupt):
            _watch(options, as_json=json)
        return
    with output.progress() as progress:
        found = read_models(options, progress=progress)
    output.emit(found, as_json=json, render=print_models)


def _watch(options: ModelsOptions, *, as_json: bool) -> None:
    """Redraw on a terminal; else print the models once and then a line for each change, or a line of JSON a look."""
    from serve_deploy.live_models.models import watch_models
    from serve_deploy.live_models.served import list_changes

    before = None
    for now in watch_models(options):
        if as_json:
            output.write_document(json_module.dumps(output.to_jsonable(now), ensure_ascii=False) + "\n")
        elif sys.stdout.isatty():
            output.stdout().clear()
            print_models(now)
        elif before is None:
            print_models(now)
        else:
            for change in list_changes(before, now):
                output.stdout().print(change, markup=False)
        sys.stdout.flush()
        before = now


def print_models(found: ServedModels) -> None:
    """A line for each version, why one does not serve, and the server's memory."""
    console = output.stdout()
    for line in found.done:
        console.print(line, markup=False)
    if not found.is_reachable:
        console.print(f"{found.url} does not answer: {found.problem}", markup=False)
        return
    rates = any(each.request_rate is not None for each in found.versions)
    rows = [_row(each, rates=rates) for each in found.versions]
    if rows:
        output.print_table((*_COLUMNS[:3], *(_RATES if rates else ()), *_COLUMNS[3:]), rows)
    else:
        console.print("no models", markup=False)
    for each in found.versions:
        if each.reason and each.reason not in ("not loaded", "unloaded"):
            console.print(f"{each.model}: {each.reason}", markup=False)
    console.print(_describe_server(found), markup=False)
    for note in found.notes:
        console.print(f"note: {note}", markup=False)


def _row(version: ServedVersion, *, rates: bool) -> Sequence[str]:
    from serve_deploy.reports.figures import format_count, format_number, format_time_us

    first = (version.model, version.version or "-", version.state if version.version else version.reason)
    if version.state != "READY":
        return (*first, *("-" for _ in _RATES if rates), *("-" for _ in _COLUMNS[3:]))
    known = ["-" if rate is None else format_number(rate) for rate in (version.request_rate, version.inference_rate)]
    asked = bool(version.requests)
    return (
        *first,
        *(known if rates else ()),
        format_count(version.requests),
        format_count(version.failures),
        format_number(version.average_batch_size) if version.executions else "-",
        format_time_us(version.queue_us) if asked else "-",
        format_time_us(version.compute_us) if asked else "-",
        "-" if version.memory_bytes is None else output.write_bytes(version.memory_bytes),
    )


def _describe_server(found: ServedModels) -> str:
    memory = [
        f"{output.write_bytes(found.server_memory_bytes)} of memory" if found.server_memory_bytes else "",
        f"{output.write_bytes(found.gpu_memory_bytes)} of GPU memory" if found.gpu_memory_bytes else "",
    ]
    used = " and ".join(filter(None, memory)) or "how much memory it takes is not known from here"
    says = f"it takes {used}" if any(memory) else used
    return f"Triton {found.server_version} at {found.url}; {says}"
