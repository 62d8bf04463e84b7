"""The command-line arguments of tritonserver, from options."""

from __future__ import annotations

from serve_deploy.triton.options import ServerOptions
from serve_deploy.triton.runtime import Ports


def server_arguments(
    options: ServerOptions, ports: Ports, server_id: str, *, repository: str | None = None, host: str | None = None
) -> tuple[str, ...]:
    """Build the arguments; `repository` and `host` are as the server sees them, which in a container differs."""
    host = host or options.host
    arguments = [
        f"--model-repository={repository or options.repository.resolve()}",
        f"--id={server_id}",
        f"--http-address={host}",
        f"--grpc-address={host}",
        f"--metrics-address={host}",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
        f"--model-control-mode={options.control_mode}",
        f"--exit-on-error={str(options.exit_on_error).lower()}",
        f"--exit-timeout-secs={options.exit_timeout_seconds}",
    ]
    if not options.auto_complete:
        arguments.append("--disable-auto-complete-config")
    if options.control_mode == "explicit":
        arguments += [f"--load-model={model}" for model in options.models]
    return (*arguments, *options.extra_arguments)
