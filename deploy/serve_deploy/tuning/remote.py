"""A running Triton in explicit mode: configurations are given to it in place of the file's, and taken back.

An override stays with a plain load, and goes when the model is unloaded. Before the first one, a journal in the state
folder says what is about to happen; it is removed once the file's configuration has been read back. Whoever finds the
journal of a run that is gone puts the model back.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_deploy.endpoint.address import Endpoint, parse_endpoint
from serve_deploy.endpoint.connection import RefusedError
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Document
from serve_deploy.errors import DestinationError, EndpointError, InvalidModelError, UsageError
from serve_deploy.files.moving import interrupts_deferred
from serve_deploy.files.staging import destination_errors
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.model_config.digest import config_sha256, instance_count
from serve_deploy.repository.model_folder import ModelFolder

# A model is loaded when the request is answered; one with an accelerator may take minutes.
_CONTROL_SECONDS = 600.0
_RESTORE_SECONDS = 20.0
# A server that a killed run left may be gone.
_ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Restored:
    """A model that was put back, or the reason why it could not be."""

    url: str
    model: str
    problem: str | None = None


def describe_restored(restored: Restored) -> str:
    """What was done for a run that is gone."""
    if restored.problem:
        return f"an earlier run left {restored.model} at {restored.url} otherwise configured: {restored.problem}"
    return f"{restored.model} at {restored.url} has its file's configuration again, which an earlier run had replaced"


@dataclass
class RemoteServed:
    """The running server, with a configuration of ours."""

    endpoint: Endpoint
    start_seconds: float | None

    def memory_bytes(self) -> int | None:
        """Not to be seen from here."""
        return None

    def close(self) -> None:
        """The next configuration takes its place."""


@dataclass
class RemoteServers:
    """One server, which serves one configuration after the other."""

    endpoint: Endpoint
    model: str
    staging: Path
    description: str
    are_parallel: bool = False

    def serve(self, config: Any) -> RemoteServed:
        """Load the model with a configuration, and read it back."""
        wanted, begun = _as_json(config), time.monotonic()
        with ControlPlane(self.endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
            try:
                control.load_model(self.model, wanted)
            except RefusedError as error:
                raise InvalidModelError(f"Triton did not load it: {error.reason}") from error
            served = control.model_config(self.model)
        if not _is_served(wanted, served):
            raise InvalidModelError("the server does not serve the configuration that it was given")
        return RemoteServed(self.endpoint, time.monotonic() - begun)


def _as_json(config: Any) -> Document:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(config, preserving_proto_field_name=True)  # type: ignore[no-any-return]


def _is_served(wanted: Document, served: Document) -> bool:
    """Whether what is served is what was asked for, as far as Triton does not complete it."""
    if instance_count(wanted) not in (None, instance_count(served)):
        return False
    whole = bool(wanted.get("input") and wanted.get("output"))
    return not whole or config_sha256(wanted) == config_sha256(served)


@contextmanager
def remote_servers(endpoint: Endpoint, folder: ModelFolder, state: Path) -> Iterator[RemoteServers]:
    """The running server; at the end, however it comes, the model has its file's configuration again.

    UsageError where the server serves another configuration than the repository's file, EndpointError where it cannot
    be asked, or where the model could not be put back.
    """
    with ControlPlane(endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
        version = str(control.server_metadata().get("version", ""))
        before = control.model_config(folder.name)
    _require_same(endpoint, folder, before)
    place = make_temporary("tune")
    try:
        with _journal(state, endpoint, folder.name, before):
            yield RemoteServers(endpoint, folder.name, place, f"Triton {version} at {endpoint.url}")
    finally:
        remove_temporary(place)


def _require_same(endpoint: Endpoint, folder: ModelFolder, served: Document) -> None:
    own = folder.config_sha256
    counts = (folder.instances, instance_count(served))
    if (own is not None and own != config_sha256(served)) or (counts[0] is not None and counts[0] != counts[1]):
        raise UsageError(
            f"{endpoint.url} serves another configuration of {folder.name} than {folder.path} has",
            hint="name the repository that the server loads from, or reload the model there",
        )


# --- the journal ---------------------------------------------------------------------------------------------------


def _journal_folder(state: Path) -> Path:
    return state / "overrides"


@contextmanager
def _journal(state: Path, endpoint: Endpoint, model: str, before: Document) -> Iterator[None]:
    """Hold the journal while the server may have a configuration of ours; put the model back at the end."""
    folder = _journal_folder(state)
    name = hashlib.sha256(f"{endpoint.url} {model}".encode()).hexdigest()[:16]
    path = folder / f"{name}.json"
    with destination_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _try_lock(handle):
            raise DestinationError(f"{model} at {endpoint.url} is being tuned by another run", hint="wait for its end")
        with destination_errors(path):
            os.truncate(handle, 0)
            os.write(handle, json.dumps({"url": endpoint.url, "model": model, "before": before}).encode())
            os.fsync(handle)
        try:
            yield
        finally:
            with interrupts_deferred():
                put_back(endpoint, model, before)
                path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def put_back(
    endpoint: Endpoint,
    model: str,
    before: Document,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Load the model as its file says, and read that back; EndpointError where the server does not do so."""
    deadline = clock() + _RESTORE_SECONDS
    problem = ""
    while True:
        try:
            with ControlPlane(endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
                with suppress(RefusedError):  # one that did not load cannot be unloaded
                    control.unload_model(model)
                control.load_model(model)
                if control.model_config(model) == before:
                    return
            problem = "its configuration is not the one that it had before: the file was changed meanwhile"
        except EndpointError as error:
            problem = error.message
        if clock() >= deadline:
            break
        sleep(_POLL_SECONDS)
    raise EndpointError(
        f"{model} at {endpoint.url} could not be put back: {problem}",
        hint="serve tune --restore tries again; unloading and loading the model there does the same",
    )


def restore_overrides(state: Path, endpoint: Endpoint | None = None) -> tuple[Restored, ...]:
    """Put back every model that a run left with a configuration of its own; those of running ones are left alone.

    `endpoint` has headers and TLS for the server that it names: neither is kept in the journal.
    """
    folder = _journal_folder(state)
    found = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return tuple(restored for path in found if (restored := _restore(path, endpoint)))


def _restore(path: Path, endpoint: Endpoint | None) -> Restored | None:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        if not _try_lock(handle):
            return None
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            url, model, before = str(entry["url"]), str(entry["model"]), entry["before"]
        except (ValueError, KeyError, TypeError):
            # Killed while it was written: before the first override.
            path.unlink(missing_ok=True)
            return None
        target = endpoint if endpoint is not None and endpoint.url == url else parse_endpoint(url)
        try:
            with ControlPlane(target, timeout_seconds=_ANSWER_SECONDS) as control:
                control.server_metadata()
            with interrupts_deferred():
                put_back(target, model, before)
                path.unlink(missing_ok=True)
        except EndpointError as error:
            return Restored(url, model, error.message)
        return Restored(url, model)
    finally:
        os.close(handle)
