"""Start a Triton server, wait until its models have loaded, ask it, and stop it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NoReturn, Self

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.connection import RefusedError
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import ModelState
from serve_deploy.errors import InvalidModelError, TritonStartError, UsageError
from serve_deploy.files.staging import recover
from serve_deploy.files.temporary import remove_temporary
from serve_deploy.model_config import CONFIGS_FOLDER, named_config_path
from serve_deploy.progress import Progress, silent
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.repository.model_folder import find_newer_models, require_repository
from serve_deploy.triton.embedded import shared_memory_prefix
from serve_deploy.triton.log import last_lines, read_models
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.process import ServerProcess, start_process
from serve_deploy.triton.runtime import Ports, Runtime, choose_ports
from serve_deploy.triton.runtimes import known_runtimes, select_runtime
from serve_deploy.triton.staging import check_model_names, make_folder
from serve_deploy.triton.startup import LockClashError, PortTakenError, Startup
from serve_deploy.triton.watch import ModelChange, RepositoryWatch

# A model is loaded when the request is answered.
_CONTROL_TIMEOUT_SECONDS = 600.0
_START_ATTEMPTS = 5
_TICK_SECONDS = 0.5


@dataclass(frozen=True)
class ServerStatus:
    """A running server: where it serves, what, how long it took to start and load, and its memory now."""

    http_url: str
    grpc_url: str
    metrics_url: str
    runtime: RuntimeName
    triton_version: str
    pid: int
    models: tuple[ModelState, ...]
    startup_seconds: float
    memory_bytes: int

    @property
    def failed(self) -> tuple[ModelState, ...]:
        """The models that Triton tried to load, and could not."""
        return tuple(model for model in self.models if model.state != "READY" and model.reason != "not loaded")


def _ignore(_: object) -> None:
    """Nobody listens."""


class TritonServer:
    """A running server whose models have finished loading; leaving its context ends it."""

    def __init__(
        self,
        process: ServerProcess,
        options: ServerOptions,
        ports: Ports,
        runtime: RuntimeName,
        watch: RepositoryWatch | None,
    ) -> None:
        self._process = process
        self._options = options
        self._ports = ports
        self._watch = watch
        self.runtime: RuntimeName = runtime
        self.version = ""
        self.startup_seconds = 0.0
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
    def has_metrics(self) -> bool:
        """Whether Triton serves metrics, which a flag of its own can turn off."""
        return not any("allow-metrics" in argument for argument in self._options.extra_arguments)

    @property
    def _host(self) -> str:
        if self._options.host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
            return "127.0.0.1"
        return f"[{self._options.host}]" if ":" in self._options.host else self._options.host

    def model_states(self) -> tuple[ModelState, ...]:
        """Every version of every model in the repository, with the reason why it did not load."""
        with self._control() as control:
            states = control.model_states()
        # The repository index does not say why Triton did not even try to load a model; its log does.
        logged = read_models(self.log_text()) if not all(state.version for state in states) else {}
        return tuple(
            replace(state, reason=logged[state.name].reason or state.reason)
            if not state.version and state.name in logged
            else replace(state, reason=self._process.in_own_words(state.reason))
            for state in states
        )

    def load_model(self, name: str) -> None:
        """Load or reload a model (explicit mode); raises InvalidModelError with what Triton says."""
        if self.runtime == "embedded":
            check_model_names(self._options.repository, (name,))
        with self._control() as control, _refusal_of(f"Triton did not load {name}"):
            control.load_model(name)

    def unload_model(self, name: str) -> None:
        """Unload a model (explicit mode); it finishes what it has in flight."""
        with self._control() as control, _refusal_of(f"Triton did not unload {name}"):
            control.unload_model(name)

    def _control(self) -> ControlPlane:
        # Each time a connection of its own: an idle one would hold up the server's shutdown.
        return ControlPlane(parse_endpoint(self.http_url), timeout_seconds=_CONTROL_TIMEOUT_SECONDS)

    def log_text(self) -> str:
        """Everything the server wrote so far, also after its end."""
        return self._process.log_text()

    def new_log_text(self) -> str:
        """What it wrote since the last call."""
        text, self._log_end = self._process.read_log(self._log_end)
        return text

    def last_lines(self) -> str:
        """The end of the log, for an error message."""
        return last_lines(self.log_text())

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
            startup_seconds=self.startup_seconds,
            memory_bytes=self.memory_bytes(),
        )

    def require_models(self) -> ServerStatus:
        """The status; TritonStartError where no model has loaded and none is to be loaded later."""
        status, options = self.status(), self._options
        if options.explicit or options.watch or any(model.state == "READY" for model in status.models):
            return status
        if not status.failed:
            raise TritonStartError(
                f"{options.repository} has no models to load", hint="serve package MODEL.onnx -o DIR makes a repository"
            )
        reasons = "; ".join(f"{model.name}: {model.reason or model.state}" for model in status.failed)
        raise TritonStartError(
            f"Triton loaded no model of {options.repository}: {reasons}",
            hint="serve check explains what is wrong with each",
        )

    def warnings(self) -> tuple[str, ...]:
        """What will not work as it should: models that did not load here, or would not in the release's container."""
        options = self._options
        failed = [f"{model.name} did not load: {model.reason or model.state}" for model in self.status().failed]
        # The embedded ONNX Runtime is newer than most containers'.
        newer = find_newer_models(options.repository, options.release or DEFAULT_RELEASE)
        loads_here = newer.items() if self.runtime == "embedded" else ()
        return (*failed, *(f"{name} loads here, but {error.message}" for name, error in loads_here))

    def serve(
        self,
        *,
        on_change: Callable[[ModelChange], object] = _ignore,
        on_log: Callable[[str], object] = _ignore,
        on_tick: Callable[[], object] = lambda: None,
    ) -> NoReturn:
        """Serve until interrupted, with `watch` reloading models whose files change.

        `on_tick` is called before each look at them.

        TritonStartError where the server ends without having been asked to.
        """
        while (code := self.wait(_TICK_SECONDS)) is None:
            on_log(self.new_log_text())
            on_tick()
            for change in self._watch.apply_changes(self) if self._watch else ():
                on_change(change)
        raise TritonStartError(f"Triton ended with exit code {code}; its last lines:\n{self.last_lines()}")

    def memory_bytes(self) -> int:
        """Memory of the server and of the processes its models run in."""
        return self._process.memory_bytes()

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Wait for its end; None if it still runs after the timeout."""
        return self._process.wait(timeout_seconds)

    def stop(self, *, drain: bool = True) -> bool:
        """End it, and say whether it ended by itself: with `drain`, it gets `exit_timeout_seconds` for that.

        Triton waits for every HTTP connection that is open, idle or not, and for the requests in flight.
        """
        try:
            if drain and self._process.poll() is None:
                self._process.terminate()
                self._process.wait(self._options.exit_timeout_seconds)
            return self._process.poll() is not None
        finally:
            self._process.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        # No request of the caller is in flight any more, and a drain takes seconds.
        self.stop(drain=False)


def start_server(
    options: ServerOptions,
    *,
    progress: Progress = silent,
    on_log: Callable[[str], object] = _ignore,
    runtimes: tuple[Runtime, ...] | None = None,
) -> TritonServer:
    """Start a server on a model repository and return it once each model is READY or UNAVAILABLE.

    `on_log` is given what the server writes until then; `new_log_text` has what comes later.
    Raises TritonStartError where there is no runtime, a given port is in use, or the server ends or hangs at start.
    """
    _check_models(options)
    watch = RepositoryWatch(options.repository, options.models) if options.watch else None
    if watch:
        watch.look()
    chosen = select_runtime(options.runtime, runtimes or known_runtimes())
    started = time.monotonic()
    deadline = started + options.startup_timeout_seconds
    for attempt in range(1, _START_ATTEMPTS + 1):
        progress(f"starting Triton ({chosen.name})")
        ports = choose_ports(options)
        server_id = secrets.token_hex(6)
        process = _launch(chosen, options, ports, server_id)
        server = TritonServer(process, options, ports, chosen.name, watch)
        try:
            progress("waiting for Triton to load the models")
            server.version = _startup(server, process, server_id, on_log).wait(deadline)
        except BaseException as error:
            server.stop(drain=False)
            if not _is_worth_another_start(error, options, attempt):
                raise
            on_log(f"serve starts Triton again: {error}\n")
            continue
        server.startup_seconds = time.monotonic() - started
        return server
    raise AssertionError("unreachable")


def _is_worth_another_start(error: BaseException, options: ServerOptions, attempt: int) -> bool:
    if isinstance(error, LockClashError):
        return attempt == 1
    has_free_port = 0 in (options.http_port, options.grpc_port, options.metrics_port)
    return attempt < _START_ATTEMPTS and isinstance(error, PortTakenError) and has_free_port


def _startup(server: TritonServer, process: ServerProcess, server_id: str, on_log: Callable[[str], object]) -> Startup:
    return Startup(
        process,
        server.http_url,
        server_id,
        has_metrics=server.has_metrics,
        tick=lambda: on_log(server.new_log_text()),
    )


def _check_models(options: ServerOptions) -> None:
    repository = options.repository
    require_repository(repository)
    recover(repository)
    for name in options.models:
        if name != "*" and not (repository / name).is_dir():
            there = ", ".join(sorted(path.name for path in repository.glob("[!.]*") if path.is_dir())) or "no models"
            raise UsageError(f"`models={name}`: {repository} has no such model", hint=f"it has: {there}")
    wanted = options.model_config_name
    names = {path.stem for path in repository.glob(f"[!.]*/{CONFIGS_FOLDER}/*.pbtxt")}
    if wanted and wanted not in names:
        listed = ", ".join(sorted(names)) or "none; serve package --for writes them"
        raise UsageError(
            f"`model_config_name={wanted}`: no model of {repository} has {named_config_path(wanted)}",
            hint=f"there are: {listed}",
        )


def _launch(runtime: Runtime, options: ServerOptions, ports: Ports, server_id: str) -> ServerProcess:
    regions = shared_memory_prefix(server_id)
    folder = make_folder(regions)
    try:
        launch = runtime.prepare(options, ports, server_id, folder)
        return start_process(launch, folder, regions)
    except BaseException as error:
        remove_temporary(folder)
        if isinstance(error, OSError):
            raise TritonStartError(f"Triton ({runtime.name}) cannot be started: {error}") from error
        raise


@contextmanager
def _refusal_of(what: str) -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise InvalidModelError(f"{what}: {error.reason}") from error
