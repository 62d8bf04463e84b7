"""Real Triton servers for the suites that need one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from serve_deploy.triton import ServerOptions, TritonServer, start_server


@pytest.fixture(scope="session")
def triton_server() -> Iterator[Callable[..., TritonServer]]:
    """Start an embedded Triton on a repository: `triton_server(path, **server_options)`; it ends with the session."""
    with ExitStack() as servers:

        def start(repository: Path, **options: Any) -> TritonServer:
            return servers.enter_context(
                start_server(
                    ServerOptions(repository=repository, runtime="embedded", exit_timeout_seconds=2, **options)
                )
            )

        yield start
