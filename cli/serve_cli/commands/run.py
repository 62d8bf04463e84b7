"""`serve run`: a real Triton in the foreground."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.triton.options import ServerOptions

if TYPE_CHECKING:
    from serve_deploy.triton.following import StoreFollower
    from serve_deploy.triton.server import ServerStatus, TritonServer
    from serve_deploy.triton.watch import ModelChange

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Triton's log on stderr.")]


@takes_options(
    arguments=["repository", "extra_arguments"],
    flags={"models": "--model", "release": "--triton"},
    defaults={"http_port": 8000, "grpc_port": 8001, "metrics_port": 8002},
)
def run(options: ServerOptions, verbose: Verbose = False, json: Json = False) -> None:
    """Serve a model repository with a real Triton until Ctrl-C, which finishes open requests and exits with 0.

    \b
    serve run models
    serve run models --model digits --http-port 0 --json
    serve run models --watch -- --log-verbose=1
    serve run s3://bucket/models --watch
    """
    from serve_deploy.triton import start_server
    from serve_deploy.triton.following import following

    show_log: Callable[[str], object] = sys.stderr.write if verbose else _ignore
    with following(options) as (own, follower):
        with output.progress() as progress:
            server = start_server(own, progress=progress, on_log=show_log)
        with server:
            try:
                _announce(server, as_json=json, exit_seconds=options.exit_timeout_seconds)
                server.serve(on_change=_print_change, on_log=show_log, on_tick=lambda: _print_news(follower))
            except KeyboardInterrupt:
                # How a server that started well is meant to end.
                _stop(server, options.exit_timeout_seconds)


def _ignore(_text: str) -> None:
    """The log stays where it is."""


def _print_news(follower: StoreFollower | None) -> None:
    news = follower.look() if follower else None
    if news:
        said = (
            f"not updated: {news.problem}" if news.problem else f"the store's current snapshot is {news.snapshot} now"
        )
        output.stderr().print(output.in_flags(said), markup=False)


def _stop(server: TritonServer, seconds: int) -> None:
    console = output.stderr()
    console.print(f"finishing open requests, for at most {seconds} s; Ctrl-C again stops at once", markup=False)
    if not server.stop():
        console.print(f"stopped after {seconds} s, with a client's connection or request still open", markup=False)


def _announce(server: TritonServer, *, as_json: bool, exit_seconds: int) -> None:
    status = server.require_models()
    for warning in server.warnings():
        output.stderr().print(f"warning: {warning}", markup=False)
    output.stderr().print(f"Ctrl-C finishes open requests, for at most {exit_seconds} s, and stops", markup=False)
    # Last, because whoever reads it takes the server for announced.
    output.emit(status, as_json=as_json, render=print_status)
    sys.stdout.flush()


def print_status(status: ServerStatus) -> None:
    """The URLs, and a table of the models."""
    console = output.stdout()
    console.print(f"Triton {status.triton_version} ({status.runtime}) serves on", markup=False)
    for what, url in (("HTTP", status.http_url), ("gRPC", status.grpc_url), ("metrics", status.metrics_url)):
        console.print(f"  {what:<8}{url}", markup=False)
    rows = [(model.name, model.version, model.state, model.reason) for model in status.models]
    output.print_table(("model", "version", "state", "reason"), rows)
    memory = f", {output.write_bytes(status.memory_bytes)} of memory" if status.memory_bytes else ""
    console.print(f"loaded in {status.startup_seconds:.1f} s{memory}", markup=False)


def _print_change(change: ModelChange) -> None:
    outcome = f"not {change.action}: {change.error}" if change.error else change.action
    output.stderr().print(f"{change.model} {outcome}", markup=False)
