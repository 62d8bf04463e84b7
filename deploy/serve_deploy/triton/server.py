"""Start a Triton server, wait until its models have loaded, ask it, and stop it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from serve_deploy.errors import EndpointError, InvalidModelError, TritonStartError, UsageError
from serve_deploy.progress import Progress, silent
from serve_deploy.triton.embedded import shared_memory_prefix
from serve_deploy.triton.options import ModelState, RuntimeName, ServerOptions, ServerStatus
from serve_deploy.triton.ports import choose_ports
from serve_deploy.triton.process import ServerProcess, Spawn, start_process
from serve_deploy.triton.repository_api import get_server, list_models, post
from serve_deploy.triton.runtime import Ports, Runtime
from serve_deploy.triton.runtimes import select_runtime

_START_ATTEMPTS = 5
_POLL_SECONDS = 0.02
_LAST_LINES = 12
# What Triton writes when somebody took one of the ports between our choice and its start.
_PORT_CLASH = ("already in use", "failed to start HTTP", "failed to start GRPC", "failed to start Metrics")


class TritonServer:
    """A running server whose models have finished loading; leaving its context ends it."""

    def __init__(self, process: ServerProcess, options: ServerOptions, ports: Ports, runtime: RuntimeName) -> None:
        self._process = process
        self._options = options
        self._ports = ports
        self.runtime: RuntimeName = runtime
        self.version = ""
        self._log_end = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def http_url(self) -> str:
        return f"http://{self._host}:{self._ports.http}"

    @property
    def grpc_url(self) -> str:
        return f"grpc://{self._host}:{self._ports.grpc}"

    @property
    def metrics_url(self) -> str:
        return f"http://{self._host}:{self._ports.metrics}/metrics"

    @property
    def _host(self) -> str:
        if self._options.host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
            return "127.0.0.1"
        return f"[{self._options.host}]" if ":" in self._options.host else self._options.host

    def model_states(self) -> tuple[ModelState, ...]:
        """Every version of every model that the repository holds."""
        return list_models(self.http_url)

    def load_model(self, name: str) -> None:
        """Load or reload a model (explicit mode); raises InvalidModelError with Triton's own words."""
        self._control(name, "load")

    def unload_model(self, name: str) -> None:
        """Unload a model (explicit mode); it finishes what it has in flight."""
        self._control(name, "unload")

    def _control(self, name: str, action: str) -> None:
        status, answer = post(f"{self.http_url}/v2/repository/models/{quote(name, safe='')}/{action}", {})
        if status != 200:
            raise InvalidModelError(f"Triton did not {action} {name}: {answer.get('error', status)}")

    def log_text(self) -> str:
        """Everything the server wrote so far, also after its end."""
        return self._process.log_text()

    def new_log_text(self) -> str:
        """What it wrote since the last call."""
        text, self._log_end = self._process.read_log(self._log_end)
        return text

    def last_lines(self) -> str:
        """The end of the log, for an error message."""
        return _last_lines(self.log_text())

    def status(self) -> ServerStatus:
        """Where it serves, and what."""
        return ServerStatus(
            http_url=self.http_url,
            grpc_url=self.grpc_url,
            metrics_url=self.metrics_url,
            runtime=self.runtime,
            triton_version=self.version,
            pid=self.pid,
            models=self.model_states(),
        )

    def memory_bytes(self) -> int:
        """Resident memory of the server and of the processes its models run in."""
        return self._process.memory_bytes()

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Wait for its end; None if it still runs after the timeout."""
        return self._process.wait(timeout_seconds)

    def stop(self, *, drain: bool = True) -> None:
        """End it: with `drain`, requests in flight get `exit_timeout_seconds` to finish."""
        try:
            if drain and self._process.poll() is None:
                self._process.terminate()
                self._process.wait(self._options.exit_timeout_seconds + 5)
        finally:
            self._process.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whoever leaves the context is done with it: no request of theirs is in flight, and a drain takes seconds.
        self.stop(drain=False)


def start_server(
    options: ServerOptions,
    *,
    runtime: RuntimeName | None = None,
    startup_timeout_seconds: float = 120,
    progress: Progress = silent,
    on_log: Callable[[str], object] | None = None,
    runtimes: tuple[Runtime, ...] | None = None,
    spawn: Spawn = subprocess.Popen,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> TritonServer:
    """Start a server on a model repository and return it once each model is READY or UNAVAILABLE.

    `on_log` is given what the server writes until then; `new_log_text` has what comes later.
    Raises TritonStartError where there is no runtime, a given port is in use, or the server ends or hangs at start.
    """
    if not options.repository.is_dir():
        raise UsageError(f"{options.repository} is not a folder", hint="name the folder that holds the models")
    chosen = select_runtime(runtime, runtimes)
    deadline = clock() + startup_timeout_seconds
    for attempt in range(1, _START_ATTEMPTS + 1):
        progress(f"starting Triton ({chosen.name})")
        ports = choose_ports(options)
        server_id = uuid.uuid4().hex[:12]
        server = TritonServer(_launch(chosen, options, ports, server_id, spawn), options, ports, chosen.name)
        try:
            progress("waiting for Triton to load the models")
            server.version = _wait_until_loaded(server, server_id, deadline, clock, sleep, on_log)
        except BaseException as error:
            server.stop(drain=False)
            if attempt < _START_ATTEMPTS and isinstance(error, _PortTaken) and _has_free_port(options):
                continue
            raise
        return server
    raise AssertionError("unreachable")


class _PortTaken(TritonStartError):
    """Somebody took a port between our choice of it and the server's start."""


def _launch(runtime: Runtime, options: ServerOptions, ports: Ports, server_id: str, spawn: Spawn) -> ServerProcess:
    folder = Path(tempfile.mkdtemp(prefix="serve-triton-"))
    try:
        launch = runtime.prepare(options, ports, server_id, folder)
        return start_process(launch, folder, shared_memory_prefix(server_id), spawn)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise TritonStartError(f"Triton ({runtime.name}) cannot be started: {error}") from error
        raise


def _has_free_port(options: ServerOptions) -> bool:
    return 0 in (options.http_port, options.grpc_port, options.metrics_port)


def _wait_until_loaded(
    server: TritonServer,
    server_id: str,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    on_log: Callable[[str], object] | None,
) -> str:
    while True:
        if on_log:
            on_log(server.new_log_text())
        code = server.poll()
        if code is not None:
            raise _start_error(code, server.log_text())
        version = _loaded_version(server, server_id)
        if version is not None:
            return version
        if clock() > deadline:
            raise TritonStartError(
                f"Triton did not finish loading in time\n{_last_lines(server.log_text())}",
                hint="give it more time, or look at its log",
            )
        sleep(_POLL_SECONDS)


def _loaded_version(server: TritonServer, server_id: str) -> str | None:
    """The server's version, once it is ours that answers on the port and no model is loading."""
    try:
        answer = get_server(server.http_url)
        if answer.get("name") != server_id or any(state.state == "LOADING" for state in server.model_states()):
            return None
    except EndpointError:
        return None
    return str(answer.get("version", ""))


def _start_error(code: int, log: str) -> TritonStartError:
    kind = _PortTaken if any(words in log for words in _PORT_CLASH) else TritonStartError
    # Seen with 2.51: a warm-up request that fails can take the whole server down with a segmentation fault.
    crashed = code == -signal.SIGSEGV
    ended = "crashed at start" if crashed else f"ended at start with exit code {code}"
    return kind(
        f"Triton {ended}; its last lines:\n{_last_lines(log)}",
        hint="a model's warm-up that fails can do that: try without model_warmup in config.pbtxt" if crashed else None,
    )


def _last_lines(log: str) -> str:
    # A wrong argument is named above the whole help text.
    said = log.partition("\nUsage: ")[0]
    lines = [line for line in said.splitlines() if line.strip() and line[0] not in "+|"]
    return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
