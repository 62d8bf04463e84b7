"""A running Triton in explicit mode: configurations are given to it in place of the files', and taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.connection import RefusedError
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Document
from serve_deploy.errors import EndpointError, InvalidModelError, UsageError
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.model_config.digest import config_sha256, instance_count
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.tuning.servers.overrides import ANSWER_SECONDS, CONTROL_SECONDS, journals, unload


@dataclass
class RemoteServed:
    """The running server, with a configuration of ours."""

    endpoint: Endpoint
    start_seconds: float | None
    # What the server said of each model once it was loaded.
    serves: Mapping[str, Document] = field(default_factory=dict)

    def is_alive(self) -> bool:
        """Whether the server answers."""
        try:
            with ControlPlane(self.endpoint, timeout_seconds=ANSWER_SECONDS) as control:
                control.server_metadata()
        except EndpointError:
            return False
        return True

    def require_unchanged(self) -> None:
        """EndpointError where the server was started again, or somebody else loads models there."""
        with ControlPlane(self.endpoint, timeout_seconds=CONTROL_SECONDS) as control:
            for name, config in self.serves.items():
                try:
                    is_same = control.model_config(name) == config
                except RefusedError:
                    is_same = False
                if not is_same:
                    raise EndpointError(
                        f"{self.endpoint.url} does not serve {name} any more as it was told to: it was started again, "
                        "or somebody else loads models there",
                        hint="the same command goes on, once nobody else uses the server",
                    )

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
        with ControlPlane(self.endpoint, timeout_seconds=CONTROL_SECONDS) as control:
            # While a member changes its ensembles are away: they may not load with it.
            for name in self._ensembles():
                self._loaded.pop(name, None)
                unload(control, name)
            for name, config in wanted.items():
                if self._loaded.get(name) != config:
                    self._load(control, name, config)
            serves = {name: control.model_config(name) for name in wanted}
        return RemoteServed(self.endpoint, time.monotonic() - begun, serves)

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


def _as_json(config: Any) -> Document:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(config, preserving_proto_field_name=True)  # type: ignore[no-any-return]


def _is_served(wanted: Document, served: Document) -> bool:
    """Whether what is served is what was asked for, as far as Triton does not complete it."""
    if instance_count(wanted) not in (None, instance_count(served)):
        return False
    largest = int(wanted.get("max_batch_size") or 0)
    if largest and largest != int(served.get("max_batch_size") or 0):
        return False
    whole = bool(wanted.get("input") and wanted.get("output"))
    return not whole or config_sha256(wanted) == config_sha256(served)


@contextmanager
def remote_servers(endpoint: Endpoint, folders: Mapping[str, ModelFolder], state: Path) -> Iterator[RemoteServers]:
    """The running server; at the end, however it comes, the models have their files' configurations again.

    UsageError where the server serves another configuration than the repository's file, EndpointError where it cannot
    be asked, or where the models could not be put back.
    """
    with ControlPlane(endpoint, timeout_seconds=CONTROL_SECONDS) as control:
        version = str(control.server_metadata().get("version", ""))
        before = {name: _read_config(control, endpoint.url, name) for name in folders}
    for name, folder in folders.items():
        _require_same(endpoint, folder, before[name])
    place = make_temporary("tune")
    try:
        with journals(state, endpoint, before):
            yield RemoteServers(endpoint, folders, place, f"Triton {version} at {endpoint.url}")
    finally:
        remove_temporary(place)


def _read_config(control: ControlPlane, url: str, name: str) -> Document:
    try:
        return control.model_config(name)
    except RefusedError as error:
        if "unknown model" in error.reason:
            error.hint = f"load it first: serve models {url} --load {name}"
        raise


def _require_same(endpoint: Endpoint, folder: ModelFolder, served: Document) -> None:
    own = folder.config_sha256
    counts = (folder.instances, instance_count(served))
    if (own is not None and own != config_sha256(served)) or (counts[0] is not None and counts[0] != counts[1]):
        raise UsageError(
            f"{endpoint.url} serves another configuration of {folder.name} than {folder.path} has",
            hint="name the repository that the server loads from, or reload the model there",
        )
