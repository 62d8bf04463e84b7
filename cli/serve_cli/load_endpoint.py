"""The options that say how to reach an endpoint: headers, tokens, TLS, compression."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.endpoint.address import Endpoint

TOKEN_VARIABLE = "SERVE_TOKEN"  # noqa: S105 - the variable's name


class CompressionName(StrEnum):
    """How request bodies are compressed, and replies asked for."""

    GZIP = "gzip"
    DEFLATE = "deflate"


Header = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Send this header; may be repeated."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="FILE", help=f"Send the bearer token in FILE, or in the variable {TOKEN_VARIABLE}."
    ),
]
CaCertificate = Annotated[
    Path | None, typer.Option("--ca-cert", metavar="FILE", help="Trust what this authority signed (PEM).")
]
Certificate = Annotated[Path | None, typer.Option("--cert", metavar="FILE", help="Our certificate, for mTLS (PEM).")]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The key of --cert (PEM).")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Accept any certificate (HTTPS only).")]
Compression = Annotated[
    CompressionName | None, typer.Option("--compression", help="Compress requests, and accept compressed replies.")
]


def read_endpoint(
    url: str,
    *,
    header: list[str] | None = None,
    token_file: Path | None = None,
    ca_cert: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    insecure: bool = False,
    compression: CompressionName | None = None,
) -> Endpoint:
    """Put the options together; UsageError says which of them does not fit."""
    from serve_deploy.endpoint.address import TlsOptions, parse_endpoint

    if key and not cert:
        raise UsageError("--key needs a --cert")
    endpoint = parse_endpoint(
        url,
        headers=tuple(map(_read_header, header or [])) + _read_token(token_file),
        tls=TlsOptions(ca_file=ca_cert, certificate_file=cert, key_file=key, insecure=insecure),
        compression=compression.value if compression else None,
    )
    if (ca_cert or cert or insecure) and not endpoint.is_encrypted:
        raise UsageError(f"{url} does not speak TLS", hint="write it as https:// or grpcs://")
    return endpoint


def _read_header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip() or "\n" in text or "\r" in text:
        raise UsageError(f"--header {text!r}: not a header", hint="write it as 'Name: value'")
    return name.strip(), value.strip()


def _read_token(path: Path | None) -> tuple[tuple[str, str], ...]:
    token = os.environ.get(TOKEN_VARIABLE, "")
    if path:
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--token-file {path} cannot be read: {error}") from error
    return (("Authorization", f"Bearer {token.strip()}"),) if token.strip() else ()
