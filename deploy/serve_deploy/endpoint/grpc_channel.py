"""gRPC channels to an endpoint, for the control plane and the hot loop alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serve_deploy.endpoint.address import Endpoint, TlsOptions
from serve_deploy.errors import UsageError

SERVICE = "inference.GRPCInferenceService"


def channel_options() -> list[tuple[str, int]]:
    """Messages of any size; a channel of our own, not one shared by process-wide pooling."""
    return [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    ]


def channel_credentials(tls: TlsOptions) -> Any:
    """TLS or mTLS credentials; UsageError names the file that cannot be read."""
    import grpc

    if tls.insecure:
        raise UsageError(
            "--insecure: gRPC always checks the certificate", hint="name the authority that signed it with --ca-cert"
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


def call_metadata(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """The headers of every call; gRPC wants their names in lower case."""
    return tuple((name.lower(), value) for name, value in endpoint.headers)
