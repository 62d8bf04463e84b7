"""The servers that candidates run on: each has one of its own, of any runtime, on copies of the models' folders."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from serve_deploy.endpoint.address import Endpoint, parse_endpoint
from serve_deploy.errors import DestinationError
from serve_deploy.files.copying import link_tree
from serve_deploy.files.staging import destination_errors, staging_folder
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME
from serve_deploy.model_config import CONFIG_NAME, format_config
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.triton import RuntimeName, ServerOptions, TritonServer, start_server

_CACHE_BYTES = 256 << 20


class Served(Protocol):
    """A server that serves one candidate."""

    endpoint: Endpoint
    # None where it was not started, but changed.
    start_seconds: float | None

    def is_alive(self) -> bool:
        """Whether the server still runs."""

    def require_unchanged(self) -> None:
        """EndpointError where the server does not serve the candidate any more."""

    def memory_bytes(self) -> int | None:
        """Resident memory of the server; None where that cannot be seen."""

    def close(self) -> None:
        """End it."""


class Servers(Protocol):
    """Serves configurations of the models that are tuned."""

    description: str
    # A folder for what is sent and expected.
    staging: Path
    # Whether several can be served at the same time.
    are_parallel: bool

    def serve(self, configs: Mapping[str, Any]) -> Served:
        """Serve models with these configurations, members before their ensembles; ServeError where Triton does not."""


@dataclass
class LocalServed:
    """A server of our own."""

    server: TritonServer
    repository: Path
    start_seconds: float | None
    endpoint: Endpoint = field(init=False)

    def __post_init__(self) -> None:
        self.endpoint = parse_endpoint(self.server.http_url)

    def is_alive(self) -> bool:
        """Whether the server still runs."""
        return self.server.poll() is None

    def require_unchanged(self) -> None:
        """Nobody else speaks to it."""

    def memory_bytes(self) -> int | None:
        """Resident memory of the server and its models' processes."""
        return self.server.memory_bytes() or None

    def close(self) -> None:
        """End it."""
        self.server.stop(drain=False)


@dataclass
class LocalServers:
    """Starts a server for each configuration, on copies (hard links) in a folder that goes when we go."""

    folders: Mapping[str, ModelFolder]
    staging: Path
    runtime: RuntimeName | None
    release: str | None
    description: str = "servers of its own"
    are_parallel: bool = True
    version: str = ""
    _count: int = 0

    def serve(self, configs: Mapping[str, Any]) -> LocalServed:
        """Start a server that loads nothing but these models."""
        self._count += 1
        repository = self.staging / str(self._count)
        for name, config in configs.items():
            self._lay_out(repository, self.folders[name], config)
        cached = any(config.response_cache.enable for config in configs.values())
        options = ServerOptions(
            repository=repository,
            models=tuple(configs),
            runtime=self.runtime,
            release=self.release,
            extra_arguments=(f"--cache-config=local,size={_CACHE_BYTES}",) if cached else (),
        )
        begun = time.monotonic()
        server = start_server(options)
        try:
            server.require_models()
            self.version, self.description = server.version, f"{server.runtime} Triton {server.version}"
            return LocalServed(server, repository, time.monotonic() - begun)
        except BaseException:
            server.stop(drain=False)
            raise

    def _lay_out(self, repository: Path, folder: ModelFolder, config: Any) -> None:
        target = repository / folder.name
        with destination_errors(self.staging):
            target.mkdir(parents=True)
            for entry in sorted(folder.path.iterdir()):
                if entry.name not in (CONFIG_NAME, MANIFEST_NAME, SAMPLES_NAME):
                    link_tree(entry, target / entry.name, follow=True)
            (target / CONFIG_NAME).write_text(format_config(config, {}), encoding="utf-8")


@contextmanager
def local_servers(
    folders: Mapping[str, ModelFolder], runtime: RuntimeName | None, release: str | None
) -> Iterator[LocalServers]:
    """Servers on copies beside the repository, or in the temporary folder where nothing can be written there."""
    repository = next(iter(folders.values())).path.parent
    with ExitStack() as stack:
        try:
            place = stack.enter_context(staging_folder(repository, beside=True))
        except DestinationError:
            place = make_temporary("tune")
            stack.callback(remove_temporary, place)
        yield LocalServers(folders, place, runtime, release)
