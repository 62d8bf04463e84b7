"""Connections to an endpoint, over HTTP and gRPC, and what it means when there is no answer."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serve_deploy.endpoint.address import Endpoint, TlsOptions, build_ssl_context
from serve_deploy.errors import EndpointError, UsageError

SERVICE = "inference.GRPCInferenceService"
_JSON_LENGTH = "Inference-Header-Content-Length"
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class RefusedError(EndpointError):
    """The server answered with an error; `reason` is what it said, `status` that of HTTP."""

    def __init__(self, where: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{where}: {reason}")
        self.reason = reason
        self.status = status


class HttpConnection:
    """One connection to Triton's HTTP port; it is opened again when the server closed it between requests."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._connection = (
            http.client.HTTPSConnection(
                endpoint.host, endpoint.port, timeout=timeout_seconds, context=build_ssl_context(endpoint.tls)
            )
            if endpoint.is_encrypted
            else http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout_seconds)
        )

    def exchange(
        self, method: str, path: str, body: bytes | None = None, json_length: int | None = None
    ) -> tuple[bytes, int | None]:
        """The reply's content, and the length of the JSON that it starts with where tensors follow it.

        `json_length` is the same of the request. Raises RefusedError for an error reply, EndpointError for none.
        """
        headers = dict(self._endpoint.headers)
        if json_length is not None:
            headers = {"Content-Type": "application/octet-stream", _JSON_LENGTH: str(json_length), **headers}
        try:
            response, content = self._send(method, self._endpoint.path + path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise _unreachable(self._endpoint, error) from error
        if response.status != 200:
            raise RefusedError(self._endpoint.url + path, http_error_text(response.status, content), response.status)
        length = response.headers.get(_JSON_LENGTH)
        return content, int(length) if length else None

    def close(self) -> None:
        """Close it: an idle connection keeps Triton from exiting before its timeout."""
        self._connection.close()

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        was_open = self._connection.sock is not None
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            return response, response.read()
        except _CLOSED:
            self._connection.close()
            if not was_open:
                raise
            # The server may close a connection that idled through a long measurement.
            return self._send(method, path, body, headers)


class GrpcConnection:
    """One channel to Triton's gRPC port, for serialized messages."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._channel = _open_channel(endpoint)

    def call(self, method: str, request: bytes) -> bytes:
        """The reply to one call; RefusedError where Triton refuses it, EndpointError where nothing answers."""
        return self.call_together(method, [request])[0]

    def call_together(self, method: str, requests: Sequence[bytes]) -> list[bytes]:
        """Send all requests at once, and wait for every reply; in the order of the requests."""
        import grpc

        invoke = self._channel.unary_unary(f"/{SERVICE}/{method}")
        metadata = call_metadata(self._endpoint)
        calls = [invoke.future(request, timeout=self._timeout_seconds, metadata=metadata) for request in requests]
        try:
            return [call.result() for call in calls]
        except grpc.RpcError as error:
            raise _describe_rpc_error(self._endpoint, method, error) from error

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _open_channel(endpoint: Endpoint) -> Any:
    """A gRPC channel for messages of any size; it connects with the first call."""
    import grpc

    compression = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
    arguments = {
        "options": [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            # A connection of its own, not one of the process.
            ("grpc.use_local_subchannel_pool", 1),
        ],
        "compression": compression.get(endpoint.compression or ""),
    }
    if endpoint.is_encrypted:
        return grpc.secure_channel(endpoint.authority, _credentials(endpoint.tls), **arguments)
    return grpc.insecure_channel(endpoint.authority, **arguments)


def call_metadata(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """The headers of every call; gRPC wants their names in lower case."""
    return tuple((name.lower(), value) for name, value in endpoint.headers)


def _credentials(tls: TlsOptions) -> Any:
    import grpc

    if tls.insecure:
        raise UsageError(
            "`insecure`: gRPC always checks the certificate", hint="set `ca_file` to the certificate of its authority"
        )
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca_file),
        private_key=_read(tls.key_file),
        certificate_chain=_read(tls.certificate_file),
    )


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def http_error_text(status: int, content: bytes) -> str:
    """What an error reply says: Triton's, also as an event of a stream, or that of a server with OpenAI's protocol."""
    try:
        document = json.loads(content.removeprefix(b"data:"))
        said = next(document[key] for key in ("error", "message", "detail") if document.get(key))
    except (ValueError, TypeError, AttributeError, StopIteration):
        return f"HTTP {status}: {content[:200].decode(errors='replace').strip()}"
    if isinstance(said, dict):
        said = said.get("message") or said
    return said if isinstance(said, str) else json.dumps(said)


def _unreachable(endpoint: Endpoint, error: Exception) -> EndpointError:
    cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return EndpointError(
            f"{endpoint.url}: the host name {endpoint.host} cannot be resolved ({cause})", hint="check the host name"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return EndpointError(
            f"{endpoint.url}: its certificate was refused: {error.verify_message}",
            hint="set `ca_file` to the certificate of its authority, or accept any certificate with `insecure=True`",
        )
    if isinstance(error, ssl.SSLError):
        return EndpointError(
            f"{endpoint.url}: TLS failed: {cause}", hint="check the scheme, `certificate_file` and `key_file`"
        )
    if isinstance(error, TimeoutError):
        return EndpointError(f"{endpoint.url}: no answer in time", hint="check the address, or raise `timeout_seconds`")
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        return EndpointError(
            f"{endpoint.url}: the server does not speak HTTP/1.1",
            hint="is this Triton's gRPC port? Then write it as grpc:// or grpcs://",
        )
    return EndpointError(f"{endpoint.url}: cannot be reached: {cause}", hint="check that Triton runs there")


def _describe_rpc_error(endpoint: Endpoint, method: str, error: Any) -> EndpointError:
    code, details = error.code().name, error.details()
    # UNAVAILABLE is also what Triton says of a model that is not ready.
    if code == "DEADLINE_EXCEEDED" or (code == "UNAVAILABLE" and method == "ServerMetadata"):
        return EndpointError(
            f"{endpoint.url}: cannot be reached: {details}",
            hint="check the address, that it is Triton's gRPC port, and its certificate",
        )
    return RefusedError(endpoint.url, f"{details} ({code})")
