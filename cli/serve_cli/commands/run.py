"""`serve run`: a real Triton in the foreground."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli import run_options as asked
from serve_cli.options import Json, Release, Repository
from serve_cli.package_options import read_runtime
from serve_deploy.errors import TritonStartError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from serve_deploy.triton import TritonServer
    from serve_deploy.triton.options import ServerOptions, ServerStatus
    from serve_deploy.triton.watch import RepositoryWatch

_TICK_SECONDS = 0.25
_WATCH_SECONDS = 0.5


def run(
    repository: Repository,
    flags: asked.Flags = None,
    runtime: asked.Runtime = None,
    triton: Release = None,
    host: asked.Host = "127.0.0.1",
    http_port: asked.HttpPort = 8000,
    grpc_port: asked.GrpcPort = 8001,
    metrics_port: asked.MetricsPort = 8002,
    explicit: asked.Explicit = False,
    model: asked.Model = None,
    watch: asked.Watch = False,
    startup_timeout: asked.Timeout = 600,
    exit_timeout: asked.ExitTimeout = 10,
    verbose: asked.Verbose = False,
    json: Json = False,
) -> None:
    """Serve a model repository with a real Triton until Ctrl-C, which finishes what is in flight and exits with 0.

    \b
    serve run models
    serve run models --model digits --http-port 0 --json
    serve run models --watch -- --log-verbose=1
    """
    from serve_deploy.releases import find_release
    from serve_deploy.triton import start_server
    from serve_deploy.triton.options import ServerOptions
    from serve_deploy.triton.watch import RepositoryWatch

    options = ServerOptions(
        repository=repository, host=host, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port,
        control_mode="explicit" if explicit or model or watch else "none",
        models=_startup_models(repository, model or [], explicit=explicit),
        release=find_release(triton).name if triton else None,
        exit_timeout_seconds=exit_timeout, extra_arguments=_check_flags(flags or []),
    )  # fmt: skip
    follower = RepositoryWatch(repository, () if model is None else model) if watch else None
    if follower:
        follower.look()
    with output.progress() as progress:
        server = start_server(
            options,
            runtime=read_runtime(runtime),
            startup_timeout_seconds=startup_timeout,
            progress=progress,
            on_log=sys.stderr.write if verbose else None,
        )
    with server:
        try:
            _announce(server, options, as_json=json, may_be_empty=explicit or watch)
            code = _serve(server, follower, verbose=verbose)
        except KeyboardInterrupt:
            # How a server that started well is meant to end.
            with output.progress() as progress:
                progress("finishing what is in flight; Ctrl-C again ends it at once")
                server.stop()
            return
        raise TritonStartError(f"Triton ended by itself with exit code {code}; its last lines:\n{server.last_lines()}")


def _startup_models(repository: Path, names: list[str], *, explicit: bool) -> tuple[str, ...]:
    for name in names:
        if not (repository / name).is_dir():
            there = ", ".join(sorted(path.name for path in repository.glob("[!.]*") if path.is_dir())) or "none"
            raise UsageError(f"--model {name}: {repository} holds no such model", hint=f"it holds: {there}")
    # Only a watched repository is explicit without being asked to be; it starts with everything.
    return tuple(names) or (() if explicit else ("*",))


def _check_flags(flags: list[str]) -> tuple[str, ...]:
    for flag in flags:
        if not flag.startswith("--"):
            raise UsageError(f"{flag!r} is no flag of tritonserver", hint="serve run takes one model repository")
    return tuple(flags)


def _announce(server: TritonServer, options: ServerOptions, *, as_json: bool, may_be_empty: bool) -> None:
    from serve_deploy.releases import DEFAULT_RELEASE
    from serve_deploy.repository.model_folder import find_newer_models

    status = server.status()
    failed = [model for model in status.models if model.state != "READY" and model.reason != "not loaded"]
    if not status.ready and not may_be_empty:
        reasons = "; ".join(f"{model.name}: {model.reason or model.state}" for model in failed)
        raise TritonStartError(
            f"Triton loaded no model of {options.repository}" + (f": {reasons}" if reasons else ", which holds none"),
            hint="serve check explains what is wrong with each"
            if failed
            else "serve package MODEL.onnx -o DIR makes a repository",
        )
    console = output.stderr()
    for model in failed:
        console.print(f"warning: {model.name} did not load: {model.reason or model.state}", markup=False)
    if status.runtime == "embedded":
        # Its ONNX Runtime is newer than most containers', so what loads here may not load there.
        for name, error in find_newer_models(options.repository, options.release or DEFAULT_RELEASE).items():
            console.print(f"warning: {name} loads here, but {error.message}", markup=False)
    console.print("Ctrl-C finishes what is in flight and stops", markup=False)
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


def _serve(server: TritonServer, follower: RepositoryWatch | None, *, verbose: bool) -> int:
    """Follow the log and the repository until the server ends by itself; return its exit code."""
    console = output.stderr()
    looked = time.monotonic()
    while (code := server.wait(_TICK_SECONDS)) is None:
        if verbose:
            sys.stderr.write(server.new_log_text())
        if follower and time.monotonic() - looked > _WATCH_SECONDS:
            for change in follower.apply_changes(server):
                outcome = f"not {change.action}: {change.error}" if change.error else change.action
                console.print(f"{change.model} {outcome}", markup=False)
            looked = time.monotonic()
    return code
