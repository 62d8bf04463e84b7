"""The endpoint's control plane, asked before and after a measurement: metadata, configuration, statistics."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any, Protocol

from serve_deploy.endpoint.address import Endpoint, build_ssl_context
from serve_deploy.endpoint.model import Model, model_path, read_model
from serve_deploy.errors import EndpointError

Document = dict[str, Any]


class ControlPlane(Protocol):
    """Triton's documents as dictionaries with the HTTP protocol's keys; EndpointError where there is no answer."""

    def server_metadata(self) -> Document: ...
    def model_metadata(self, model: str, version: str) -> Document: ...
    def model_config(self, model: str, version: str) -> Document: ...
    def statistics(self, model: str, version: str) -> list[Document]: ...
    def repository_index(self) -> list[Document]: ...
    def register_shared_memory(self, region: str, key: str, size_bytes: int) -> None: ...
    def unregister_shared_memory(self, region: str) -> None: ...
    def close(self) -> None: ...


def connect_control_plane(endpoint: Endpoint, *, timeout_seconds: float) -> ControlPlane:
    """The control plane that fits the endpoint's protocol; nothing is sent yet."""
    if endpoint.protocol == "http":
        return HttpControlPlane(endpoint, timeout_seconds)
    from serve_deploy.endpoint.grpc_control import GrpcControlPlane

    return GrpcControlPlane(endpoint, timeout_seconds)


def ask_model(control: ControlPlane, endpoint: Endpoint, model: str, version: str) -> Model:
    """What the model takes; EndpointError lists the models that there are where it is none of them."""
    try:
        return read_model(control.model_metadata(model, version), control.model_config(model, version))
    except EndpointError as error:
        served = _served_models(control)
        if served and model not in served:
            raise EndpointError(
                f"{endpoint.url} serves no model {model!r}", hint=f"it has {', '.join(served)}"
            ) from error
        raise


def _served_models(control: ControlPlane) -> list[str]:
    try:
        return sorted({str(entry["name"]) for entry in control.repository_index()})
    except EndpointError:
        return []


def unreachable(endpoint: Endpoint, error: Exception) -> EndpointError:
    """What kept us from an answer, in words that say what to look at."""
    cause = str(error) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return EndpointError(
            f"{endpoint.url}: the host name {endpoint.host} cannot be resolved ({cause})", hint="check the host name"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return EndpointError(
            f"{endpoint.url}: its certificate was refused: {error.verify_message}",
            hint="name the authority that signed it with --ca-cert, or accept any certificate with --insecure",
        )
    if isinstance(error, ssl.SSLError):
        return EndpointError(f"{endpoint.url}: TLS failed: {cause}", hint="check the scheme, --cert and --key")
    if isinstance(error, TimeoutError):
        return EndpointError(f"{endpoint.url}: no answer in time", hint="check the address, or give a longer --timeout")
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        return EndpointError(
            f"{endpoint.url}: what answers does not speak HTTP/1.1",
            hint="is this Triton's gRPC port? then write it as grpc:// or grpcs://",
        )
    return EndpointError(f"{endpoint.url}: cannot be reached: {cause}", hint="check that Triton runs there")


class HttpControlPlane:
    """Triton's HTTP endpoint, over one connection that is opened again when it was closed."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._connection = (
            http.client.HTTPSConnection(
                endpoint.host, endpoint.port, timeout=timeout_seconds, context=build_ssl_context(endpoint.tls)
            )
            if endpoint.is_encrypted
            else http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout_seconds)
        )

    def server_metadata(self) -> Document:
        return self._ask("GET", "/v2")  # type: ignore[no-any-return]

    def model_metadata(self, model: str, version: str) -> Document:
        return self._ask("GET", model_path(model, version))  # type: ignore[no-any-return]

    def model_config(self, model: str, version: str) -> Document:
        return self._ask("GET", model_path(model, version) + "/config")  # type: ignore[no-any-return]

    def statistics(self, model: str, version: str) -> list[Document]:
        return self._ask("GET", model_path(model, version) + "/stats")["model_stats"]  # type: ignore[no-any-return]

    def repository_index(self) -> list[Document]:
        return self._ask("POST", "/v2/repository/index")  # type: ignore[no-any-return]

    def register_shared_memory(self, region: str, key: str, size_bytes: int) -> None:
        body = {"key": key, "offset": 0, "byte_size": size_bytes}
        self._ask("POST", f"/v2/systemsharedmemory/region/{region}/register", body)

    def unregister_shared_memory(self, region: str) -> None:
        self._ask("POST", f"/v2/systemsharedmemory/region/{region}/unregister")

    def close(self) -> None:
        # An idle connection would keep Triton from exiting before its timeout.
        self._connection.close()

    def _ask(self, method: str, path: str, body: Document | None = None) -> Any:
        try:
            status, answer = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise unreachable(self._endpoint, error) from error
        if status >= 400:
            raise EndpointError(f"{self._endpoint.url}{path}: {_reason(status, answer)}")
        try:
            return json.loads(answer or b"{}")
        except ValueError as error:
            raise EndpointError(
                f"{self._endpoint.url}{path}: the answer is not JSON: {answer[:80]!r}",
                hint="is this Triton's HTTP port?",
            ) from error

    def _exchange(self, method: str, path: str, body: Document | None) -> tuple[int, bytes]:
        content = json.dumps(body or {}).encode() if method == "POST" else None
        for attempt in (1, 2):
            try:
                self._connection.request(method, self._endpoint.path + path, content, dict(self._endpoint.headers))
                response = self._connection.getresponse()
                return response.status, response.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # The server may close a connection that idled through a long measurement.
                self._connection.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")


def _reason(status: int, answer: bytes) -> str:
    try:
        return f"{json.loads(answer)['error']} (HTTP {status})"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}: {answer[:120].decode(errors='replace').strip()}"
