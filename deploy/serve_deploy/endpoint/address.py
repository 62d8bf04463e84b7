"""Where to send requests, and how: URL, headers, TLS. Shared by the control plane and the hot loop."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from serve_deploy.errors import UsageError

Compression = Literal["gzip", "deflate"]
_PORTS = {"http": 8000, "https": 443, "grpc": 8001, "grpcs": 443}


@dataclass(frozen=True, kw_only=True)
class TlsOptions:
    """Paths of PEM files; `insecure` accepts any certificate."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One Triton endpoint; `path` is a prefix that a gateway may need, without a closing slash."""

    scheme: Literal["http", "https", "grpc", "grpcs"]
    host: str
    port: int
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    tls: TlsOptions = TlsOptions()
    compression: Compression | None = None

    @property
    def protocol(self) -> Literal["http", "grpc"]:
        """The protocol, with or without TLS."""
        return "http" if self.scheme.startswith("http") else "grpc"

    @property
    def is_encrypted(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme in ("https", "grpcs")

    @property
    def authority(self) -> str:
        """host:port, as it stands in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The endpoint written out."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_endpoint(
    url: str,
    *,
    headers: tuple[tuple[str, str], ...] = (),
    tls: TlsOptions | None = None,
    compression: Compression | None = None,
) -> Endpoint:
    """Read http://host:8000, https://…, grpc://host:8001, grpcs://… or host:8000 (HTTP)."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url}: not a URL ({error})") from error
    if parts.scheme not in _PORTS or not host:
        raise UsageError(f"{url}: not an endpoint", hint="write it as http://host:8000 or grpc://host:8001")
    if parts.scheme.startswith("grpc") and parts.path.strip("/"):
        raise UsageError(f"{url}: a gRPC endpoint has no path")
    return Endpoint(
        scheme=parts.scheme,  # type: ignore[arg-type]  # one of _PORTS
        host=host,
        port=port or _PORTS[parts.scheme],
        path=parts.path.rstrip("/"),
        headers=headers,
        tls=tls or TlsOptions(),
        compression=compression,
    )


def build_ssl_context(tls: TlsOptions) -> ssl.SSLContext:
    """A client context that checks certificates unless told otherwise; UsageError names the file it cannot use."""
    try:
        context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
        if tls.certificate_file:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (tls.ca_file, tls.certificate_file, tls.key_file) if path)
        raise UsageError(f"cannot use the TLS files {files}: {error}") from error
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
