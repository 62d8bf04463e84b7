"""Start and stop real Triton servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serve_deploy.endpoint.model import ModelState
from serve_deploy.triton.options import RuntimeName, ServerOptions

if TYPE_CHECKING:
    from serve_deploy.triton.server import TritonServer, start_server

__all__ = ["ModelState", "RuntimeName", "ServerOptions", "TritonServer", "start_server"]


def __getattr__(name: str) -> Any:
    # Who only wants the options should not wait for the rest.
    if name in ("TritonServer", "start_server"):
        from serve_deploy.triton import server

        return getattr(server, name)
    raise AttributeError(name)
