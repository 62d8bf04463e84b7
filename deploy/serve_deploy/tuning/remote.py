"""A running Triton in explicit mode: configurations are given to it in place of the files', and taken back.

An override stays with a plain load, and goes when the model is unloaded. Before the first one, a journal in the state
folder says what is about to happen; it is removed once the files' configurations have been read back. Whoever finds
the journal of a run that is gone puts the models back. Each model has a journal, and each says all that were tuned
together: an ensemble loads only with members that take its batches.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
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
    has = "have their files' configurations" if ", " in restored.model else "has its file's configuration"
    return f"{restored.model} at {restored.url} {has} again, which an earlier run had replaced"


@dataclass
class RemoteServed:
    """The running server, with a configuration of ours."""

    endpoint: Endpoint
    start_seconds: float | None

    def is_alive(self) -> bool:
        """Whether the server answers."""
        try:
            with ControlPlane(self.endpoint, timeout_seconds=_ANSWER_SECONDS) as control:
                control.server_metadata()
        except EndpointError:
            return False
        return True

    def memory_bytes(self) -> int | None:
        """Not to be seen from here."""
        return None

    def close(self) -> None:
        """The next configuration takes its place."""


@dataclass
class RemoteServers:
    """One server, which serves one candidate after the other."""

    endpoint: Endpoint
    folders: Mapping[str, ModelFolder]
    staging: Path
    description: str
    are_parallel: bool = False
    _loaded: dict[str, Document] = field(default_factory=dict)

    def serve(self, configs: Mapping[str, Any]) -> RemoteServed:
        """Load the models with these configurations, and read them back."""
        begun = time.monotonic()
        wanted = {name: _as_json(config) for name, config in configs.items()}
        with ControlPlane(self.endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
            # While a member changes its ensembles are away: they may not load with it.
            for name in self._ensembles():
                self._loaded.pop(name, None)
                _unload(control, name)
            for name, config in wanted.items():
                if self._loaded.get(name) != config:
                    self._load(control, name, config)
        return RemoteServed(self.endpoint, time.monotonic() - begun)

    def _ensembles(self) -> list[str]:
        return [name for name, folder in reversed(list(self.folders.items())) if folder.members]

    def _load(self, control: ControlPlane, name: str, wanted: Document) -> None:
        self._loaded.pop(name, None)
        try:
            control.load_model(name, wanted)
        except RefusedError as error:
            raise InvalidModelError(f"Triton did not load {name}: {error.reason}") from error
        if not _is_served(wanted, control.model_config(name)):
            raise InvalidModelError(f"the server does not serve the configuration of {name} that it was given")
        self._loaded[name] = wanted


def _unload(control: ControlPlane, name: str) -> None:
    with suppress(RefusedError):  # one that did not load cannot be unloaded
        control.unload_model(name)


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
def remote_servers(endpoint: Endpoint, folders: Mapping[str, ModelFolder], state: Path) -> Iterator[RemoteServers]:
    """The running server; at the end, however it comes, the models have their files' configurations again.

    UsageError where the server serves another configuration than the repository's file, EndpointError where it cannot
    be asked, or where the models could not be put back.
    """
    with ControlPlane(endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
        version = str(control.server_metadata().get("version", ""))
        before = {name: control.model_config(name) for name in folders}
    for name, folder in folders.items():
        _require_same(endpoint, folder, before[name])
    place = make_temporary("tune")
    try:
        with _journals(state, endpoint, before):
            yield RemoteServers(endpoint, folders, place, f"Triton {version} at {endpoint.url}")
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


def _journal_path(state: Path, url: str, model: str) -> Path:
    name = hashlib.sha256(f"{url} {model}".encode()).hexdigest()[:16]
    return _journal_folder(state) / f"{name}.json"


@contextmanager
def _journals(state: Path, endpoint: Endpoint, before: Mapping[str, Document]) -> Iterator[None]:
    """Hold the journals while the server may have configurations of ours; put the models back at the end.

    `before` has every model's configuration, members before the ensembles that run them.
    """
    content = json.dumps({"url": endpoint.url, "models": before}).encode()
    with ExitStack() as held:
        paths = [held.enter_context(_journal(state, endpoint.url, model, content)) for model in before]
        try:
            yield
        finally:
            with interrupts_deferred():
                put_back(endpoint, before)
                for path in paths:
                    path.unlink(missing_ok=True)


@contextmanager
def _journal(state: Path, url: str, model: str, content: bytes) -> Iterator[Path]:
    """A journal that is written and locked."""
    path = _journal_path(state, url, model)
    with destination_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _try_lock(handle):
            raise DestinationError(f"{model} at {url} is being tuned by another run", hint="wait for its end")
        with destination_errors(path):
            os.truncate(handle, 0)
            os.write(handle, content)
            os.fsync(handle)
        yield path
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
    before: Mapping[str, Document],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Load the models as their files say, and read that back; EndpointError where the server does not do so.

    `before` has their configurations, members before the ensembles that run them.
    """
    deadline = clock() + _RESTORE_SECONDS
    problem = ""
    while True:
        try:
            with ControlPlane(endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
                for model in reversed(list(before)):
                    _unload(control, model)
                for model in before:
                    control.load_model(model)
                if all(control.model_config(model) == config for model, config in before.items()):
                    return
            problem = "the configuration is not the one that was there before: a file was changed meanwhile"
        except EndpointError as error:
            problem = error.message
        if clock() >= deadline:
            break
        sleep(_POLL_SECONDS)
    raise EndpointError(
        f"{', '.join(before)} at {endpoint.url} could not be put back: {problem}",
        hint="serve tune --restore tries again; unloading and loading there does the same",
    )


def restore_overrides(state: Path, endpoint: Endpoint | None = None) -> tuple[Restored, ...]:
    """Put back every model that a run left with a configuration of its own; those of running ones are left alone.

    `endpoint` has headers and TLS for the server that it names: neither is kept in the journal.
    """
    folder = _journal_folder(state)
    found = sorted(folder.glob("*.json")) if folder.is_dir() else []
    restored = (_restore(state, path, endpoint) for path in found)
    # Models that were tuned together are said once.
    return tuple(dict.fromkeys(each for each in restored if each))


def _restore(state: Path, path: Path, endpoint: Endpoint | None) -> Restored | None:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        if not _try_lock(handle):
            return None
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            url, before = str(entry["url"]), dict(entry.get("models") or {entry["model"]: entry["before"]})
        except (ValueError, KeyError, TypeError):
            # Killed while it was written: before the first override.
            path.unlink(missing_ok=True)
            return None
        models = ", ".join(before)
        target = endpoint if endpoint is not None and endpoint.url == url else parse_endpoint(url)
        try:
            with ControlPlane(target, timeout_seconds=_ANSWER_SECONDS) as control:
                control.server_metadata()
            with interrupts_deferred():
                put_back(target, before)
                for each in (path, *(_journal_path(state, url, model) for model in before)):
                    each.unlink(missing_ok=True)
        except EndpointError as error:
            return Restored(url, models, error.message)
        return Restored(url, models)
    finally:
        os.close(handle)
