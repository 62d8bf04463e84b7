"""Configurations that a running Triton has of ours in place of the files', and how they are taken back.

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
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from serve_deploy.endpoint.address import Endpoint, parse_endpoint
from serve_deploy.endpoint.connection import RefusedError
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Document
from serve_deploy.errors import DestinationError, EndpointError, UsageError
from serve_deploy.files.moving import interrupts_deferred
from serve_deploy.files.staging import destination_errors

# A model is loaded when the request is answered; one with an accelerator may take minutes.
CONTROL_SECONDS = 600.0
# A server that a killed run left may be gone.
ANSWER_SECONDS = 5.0
_RESTORE_SECONDS = 20.0
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


def unload(control: ControlPlane, name: str) -> None:
    """Unload a model, if it is there."""
    with suppress(RefusedError):  # one that did not load cannot be unloaded
        control.unload_model(name)


def _journal_folder(state: Path) -> Path:
    return state / "overrides"


def _journal_path(state: Path, url: str, model: str) -> Path:
    name = hashlib.sha256(f"{url} {model}".encode()).hexdigest()[:16]
    return _journal_folder(state) / f"{name}.json"


@contextmanager
def journals(state: Path, endpoint: Endpoint, before: Mapping[str, Document]) -> Iterator[None]:
    """Hold the journals while the server may have configurations of ours; put the models back at the end.

    `before` has every model's configuration, members before the ensembles that run them.
    """
    content = json.dumps({"url": endpoint.url, "host": platform.node(), "models": before}).encode()
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
        if not _try_lock(handle, path):
            raise DestinationError(f"{model} at {url} is being tuned by another run", hint="wait for its end")
        with destination_errors(path):
            os.truncate(handle, 0)
            # All of it, or an error: half a journal would be taken for one without an override.
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(content)
            os.fsync(handle)
        yield path
    finally:
        os.close(handle)


def _try_lock(handle: int, path: Path) -> bool:
    """Lock a journal that is open, and not one that its run has removed since: nobody would find that again."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def put_back(endpoint: Endpoint, before: Mapping[str, Document]) -> None:
    """Load the models as their files say, and read that back; EndpointError where the server does not do so.

    `before` has their configurations, members before the ensembles that run them.
    """
    deadline = time.monotonic() + _RESTORE_SECONDS
    problem = ""
    while True:
        try:
            with ControlPlane(endpoint, timeout_seconds=CONTROL_SECONDS) as control:
                for model in reversed(list(before)):
                    unload(control, model)
                for model in before:
                    control.load_model(model)
                if all(control.model_config(model) == config for model, config in before.items()):
                    return
            problem = "the configuration is not the one that was there before: a file was changed meanwhile"
        except EndpointError as error:
            problem = error.message
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    raise EndpointError(
        f"{', '.join(before)} at {endpoint.url} could not be put back: {problem}",
        hint="serve tune --restore tries again; unloading and loading there does the same",
    )


def restore_overrides(state: Path, endpoint: Endpoint | None = None) -> tuple[Restored, ...]:
    """Put back every model that a run left with a configuration of its own; those of running ones are left alone.

    `endpoint` has headers and TLS for the server that it names: neither is kept in the journal.
    """
    try:
        found = sorted(_journal_folder(state).glob("*.json"))
    except OSError:
        # What cannot be looked into is not ours.
        found = []
    restored = (_restore(state, path, endpoint) for path in found)
    # Models that were tuned together are said once.
    return tuple(dict.fromkeys(each for each in restored if each))


def _is_here(url: str) -> bool:
    """Whether an address means the machine itself, whichever that is."""
    name = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    return name in ("localhost", "::1") or name.startswith("127.")


def _say(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _restore(state: Path, path: Path, endpoint: Endpoint | None) -> Restored | None:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Restored(str(path), "what is named in this journal", f"it cannot be opened: {_say(error)}")
    try:
        if not _try_lock(handle, path):
            return None
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            url, before = str(entry["url"]), dict(entry["models"])
            target = endpoint if endpoint is not None and endpoint.url == url else parse_endpoint(url)
        except (ValueError, KeyError, TypeError, UsageError):
            # Killed while it was written: before the first override.
            path.unlink(missing_ok=True)
            return None
        models, host = ", ".join(before), entry.get("host")
        if endpoint is not target and host not in (None, platform.node()) and _is_here(url):
            return Restored(url, models, f"that is an address on {host}: serve tune --restore puts it back there")
        try:
            with ControlPlane(target, timeout_seconds=ANSWER_SECONDS) as control:
                control.server_metadata()
            with interrupts_deferred():
                put_back(target, before)
                for each in (path, *(_journal_path(state, url, model) for model in before)):
                    each.unlink(missing_ok=True)
        except EndpointError as error:
            return Restored(url, models, error.message)
        except OSError as error:
            return Restored(url, models, f"put back, but its journal {path} cannot be removed: {_say(error)}")
        return Restored(url, models)
    finally:
        os.close(handle)
