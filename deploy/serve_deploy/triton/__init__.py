"""Start and stop real Triton servers."""

from serve_deploy.endpoint.control import ModelState
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.server import TritonServer, start_server

__all__ = ["ModelState", "RuntimeName", "ServerOptions", "TritonServer", "start_server"]
