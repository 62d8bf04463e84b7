"""Where to send requests, and how: URL, headers, TLS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from serve_deploy.errors import UsageError
from serve_deploy.option import Option

if TYPE_CHECKING:
    import ssl

TOKEN_VARIABLE = "SERVE_TOKEN"  # noqa: S105 - the variable's name
_CONNECTION = "Connection"
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


def _read_header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip() or "\n" in text or "\r" in text:
        raise UsageError(f"`headers={text}` is not a header", hint="write it as 'Name: value'")
    return name.strip(), value.strip()


Headers = Annotated[
    tuple[tuple[str, str], ...],
    Option("Send this header; repeatable.", metavar="'NAME: VALUE'", group=_CONNECTION, read=_read_header),
]
TokenFile = Annotated[
    Path | None,
    Option(
        f"Send the bearer token in this file, or in the variable {TOKEN_VARIABLE}.", metavar="FILE", group=_CONNECTION
    ),
]
CaFile = Annotated[
    Path | None, Option("Trust certificates of this authority (PEM).", metavar="FILE", group=_CONNECTION)
]
CertificateFile = Annotated[
    Path | None, Option("Client certificate for mTLS (PEM).", metavar="FILE", group=_CONNECTION)
]
KeyFile = Annotated[Path | None, Option("Key of `certificate_file` (PEM).", metavar="FILE", group=_CONNECTION)]
Insecure = Annotated[bool, Option("Accept any certificate (HTTPS only).", group=_CONNECTION)]


def read_endpoint(
    url: Annotated[str, Option("http://host:8000, https://…, grpc://host:8001 or grpcs://…", metavar="URL")],
    *,
    headers: Headers = (),
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    certificate_file: CertificateFile = None,
    key_file: KeyFile = None,
    insecure: Insecure = False,
    compression: Annotated[
        Compression | None, Option("Compress requests, and accept compressed replies.", group=_CONNECTION)
    ] = None,
) -> Endpoint:
    """An endpoint with its headers, token and TLS files; UsageError says which of them does not fit."""
    if key_file and not certificate_file:
        raise UsageError("`key_file` needs `certificate_file`")
    endpoint = parse_endpoint(url)
    if (ca_file or certificate_file or insecure) and not endpoint.is_encrypted:
        raise UsageError(f"{url} does not use TLS", hint="write it as https:// or grpcs://")
    return replace(
        endpoint,
        headers=headers + _read_token(token_file, os.environ),
        tls=TlsOptions(ca_file=ca_file, certificate_file=certificate_file, key_file=key_file, insecure=insecure),
        compression=compression,
    )


def _read_token(path: Path | None, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    token = environment.get(TOKEN_VARIABLE, "")
    if path:
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"`token_file={path}` cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
    return (("Authorization", f"Bearer {token.strip()}"),) if token.strip() else ()


def parse_endpoint(url: str) -> Endpoint:
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
    )


def build_ssl_context(tls: TlsOptions) -> ssl.SSLContext:
    """A client context that checks certificates unless told otherwise; UsageError names the file it cannot use."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
        if tls.certificate_file:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (tls.ca_file, tls.certificate_file, tls.key_file) if path)
        raise UsageError(f"cannot use the TLS files {files}: {error.strerror or error}") from error
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
