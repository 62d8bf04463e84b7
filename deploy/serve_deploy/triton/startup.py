"""Wait until a server has loaded its models, or say why it will not."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.errors import EndpointError, TritonStartError
from serve_deploy.triton.limits import name_shortage
from serve_deploy.triton.log import (
    announces_metrics,
    is_out_of_files,
    last_lines,
    names_lock_clash,
    names_port_clash,
    read_unnoticed_crash,
    unfinished_models,
)
from serve_deploy.triton.process import ServerProcess

_POLL_SECONDS = 0.02
# While it starts, an answer that takes longer is asked for again.
_ANSWER_SECONDS = 5.0
# Triton itself notices within two seconds most of the crashes that it notices at all.
_NOTICE_SECONDS = 4.0
_LOOK_SECONDS = 1.0
_METRICS_SECONDS = 2.0
_LOOKED_AT = 100_000


class PortTakenError(TritonStartError):
    """Another process took a port between our choice of it and the server's start."""


class LockClashError(TritonStartError):
    """Triton crashed over a lock of its shared memory; the next start does not."""


@dataclass
class Startup:
    """One start: whose answer counts, and how long it may take; `tick` is called between two looks."""

    process: ServerProcess
    http_url: str
    server_id: str
    has_metrics: bool
    tick: Callable[[], object]
    _crashes: dict[str, float] = field(default_factory=dict)
    _next_look: float = 0.0
    _answered: float | None = None

    def wait(self, deadline: float) -> str:
        """The server's version, once it has loaded its models; TritonStartError where it ends, crashes or hangs."""
        while True:
            self.tick()
            code = self.process.poll()
            if code is not None:
                raise _describe_end(code, self.process.log_text())
            version = self._loaded_version()
            if version is not None:
                return version
            self._require_progress()
            if time.monotonic() > deadline:
                log = self.process.log_text()
                raise TritonStartError(
                    f"Triton did not finish loading in time; its last lines:\n{last_lines(log)}",
                    hint=name_shortage(log) or "raise `startup_timeout_seconds`, or look at its log",
                )
            time.sleep(_POLL_SECONDS)

    def _loaded_version(self) -> str | None:
        """The server's version, once it is ours that answers on the port and no model is loading."""
        try:
            with ControlPlane(parse_endpoint(self.http_url), timeout_seconds=_ANSWER_SECONDS) as control:
                answer = control.server_metadata()
                if answer.get("name") != self.server_id or any(
                    state.state == "LOADING" for state in control.model_states()
                ):
                    return None
        except EndpointError:
            return None
        return str(answer.get("version", "")) if self._has_all_ports() else None

    def _has_all_ports(self) -> bool:
        """Whether the metrics are served too: they come last, and a port that is taken ends the server even then."""
        now = time.monotonic()
        self._answered = now if self._answered is None else self._answered
        # A user can turn the line off with the log.
        late = now - self._answered > _METRICS_SECONDS
        return not self.has_metrics or late or announces_metrics(self.process.log_text())

    def _require_progress(self) -> None:
        """Raise where a model's process has died and Triton does not notice: it would wait for it without end."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        log = self.process.log_text()
        # A server that has run out of files writes megabytes about it.
        text = read_unnoticed_crash(log[-_LOOKED_AT:])
        dead = self.process.dead_children()
        # A model may write such a text and live on; only where its process cannot be seen is it all there is.
        seen = [text] if text and (dead is None or is_out_of_files(text)) else [f"process {pid}" for pid in dead or ()]
        self._crashes = {crash: self._crashes.get(crash, now) for crash in seen}
        if any(now - since > _NOTICE_SECONDS for since in self._crashes.values()):
            raise _describe_crash(log, text)


def _describe_crash(log: str, text: str | None) -> TritonStartError:
    models = unfinished_models(log)
    loaded = f" while Triton loaded {', '.join(models)}" if models else ""
    said = f": {text}" if text else ""
    return TritonStartError(
        f"a model's process crashed{loaded}{said}; Triton would wait for it without end. Its last lines:\n"
        f"{last_lines(log)}",
        hint=name_shortage(log) or "look at the code of the model and at what it imports",
    )


def _describe_end(code: int, log: str) -> TritonStartError:
    kind = PortTakenError if names_port_clash(log) else LockClashError if names_lock_clash(log) else TritonStartError
    shortage = name_shortage(log, said=True)
    # Seen with 2.51: a warm-up request that fails can take the whole server down with a segmentation fault.
    crashed = code == -signal.SIGSEGV
    ended = "crashed at start" if crashed else f"ended at start with exit code {code}"
    warm_up = "a model's warm-up that fails can do that: try without model_warmup in config.pbtxt" if crashed else None
    return kind(f"Triton {ended}; its last lines:\n{last_lines(log)}", hint=shortage or warm_up)
