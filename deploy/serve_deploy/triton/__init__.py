"""Start and stop real Triton servers."""

from serve_deploy.triton.options import ModelState, RuntimeName, ServerOptions
from serve_deploy.triton.server import TritonServer, start_server

__all__ = ["ModelState", "RuntimeName", "ServerOptions", "TritonServer", "start_server"]
