"""Where a model store is: Triton's own addresses, OCI references, and local folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from serve_deploy.errors import UsageError

Kind = Literal["local", "s3", "gs", "azure", "oci"]
_FORMS_HINT = (
    "a store is a local folder, s3://bucket/path, s3://https://host:port/bucket/path, gs://bucket/path, "
    "as://account/container/path or oci://registry/image:tag"
)
# A snapshot's id or how it begins, after the last @ of an address.
_SNAPSHOT = re.compile(r"(.+)@([0-9a-f]{4,16})")
# What was meant as a scheme, and would be a folder's name.
_MISTYPED = re.compile(r"(s3|gs|as|oci|file)(:|//)", re.IGNORECASE)


@dataclass(frozen=True)
class StoreAddress:
    """A store, and perhaps one of its snapshots.

    `location` is bucket/path, account/container/path, registry/image, or a local path; `endpoint` is the http(s)
    address of an S3 server other than AWS. `snapshot` is how a snapshot's id begins, or an OCI tag or digest;
    without it, what the store names now.
    """

    kind: Kind
    location: str
    endpoint: str | None = None
    snapshot: str | None = None

    @property
    def root(self) -> StoreAddress:
        """The store itself, without a snapshot."""
        return replace(self, snapshot=None)

    def __str__(self) -> str:
        return _WRITERS[self.kind](self)


def is_store_address(text: str) -> bool:
    """Whether a text is the address of a remote store, and not a local path."""
    return text.partition("://")[0] in _READERS and "://" in text


def parse_address(text: str) -> StoreAddress:
    """Read an address; UsageError where no store can be there."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        if _MISTYPED.match(text):
            raise UsageError(f"{text} is not the address of a store", hint=_FORMS_HINT)
        return _read_local(text)
    reader = _READERS.get(scheme)
    if reader is None:
        raise UsageError(f"{text}: no store is read from {scheme}://", hint=_FORMS_HINT)
    _refuse_credentials(text)
    address = reader(rest)
    if address is None:
        raise UsageError(f"{text} is not the address of a store", hint=_FORMS_HINT)
    return address


def _refuse_credentials(text: str) -> None:
    if re.search(r"://[^/@\s]+:[^/@\s]+@", text):
        # The text itself is not repeated: it holds a secret.
        raise UsageError(
            "the address of the store contains a password",
            hint="leave it out; credentials come from the store's own environment variables and files",
        )
    address, query, _ = text.partition("?")
    if query and not text.startswith("file://"):
        # Nor is this: Azure's and S3's signed addresses have their secret here.
        raise UsageError(
            f"{address} is followed by ? and a query, which may be a secret",
            hint="leave it out; credentials come from the store's own environment variables and files",
        )


def _split_snapshot(text: str) -> tuple[str, str | None]:
    found = _SNAPSHOT.fullmatch(text)
    return (found[1], found[2]) if found else (text, None)


def _read_local(text: str) -> StoreAddress:
    path, snapshot = _split_snapshot(text)
    if not path:
        raise UsageError("the address of the store is empty", hint=_FORMS_HINT)
    return StoreAddress("local", path, snapshot=snapshot)


def _read_s3(rest: str) -> StoreAddress | None:
    path, snapshot = _split_snapshot(rest)
    found = re.fullmatch(r"(?:(https?)://)?([^/\s]+:\d+|(?<=://)[^/\s]+)/(\S+)", path)
    if not found:
        return _read_bucket("s3", path, snapshot)
    # As Triton does: an address with a port and without a scheme is plain http.
    endpoint = f"{found[1] or 'http'}://{found[2]}"
    bucket = _read_bucket("s3", found[3], snapshot)
    return replace(bucket, endpoint=endpoint) if bucket else None


def _read_bucket(kind: Kind, path: str, snapshot: str | None, least: int = 1) -> StoreAddress | None:
    parts = [part for part in path.split("/") if part]
    if len(parts) < least or path.startswith("/") or ":" in parts[0] or any(part in (".", "..") for part in parts):
        return None
    if "@" in parts[-1]:
        raise UsageError(
            f"@{parts[-1].rpartition('@')[2]} is not a snapshot's id",
            hint="an id has 16 of the digits 0 to 9 and a to f; the first four are enough",
        )
    return None if re.search(r"\s", path) else StoreAddress(kind, "/".join(parts), snapshot=snapshot)


def _read_gs(rest: str) -> StoreAddress | None:
    return _read_bucket("gs", *_split_snapshot(rest))


def _read_azure(rest: str) -> StoreAddress | None:
    return _read_bucket("azure", *_split_snapshot(rest), least=2)


def _read_oci(rest: str) -> StoreAddress | None:
    name, _, digest = rest.partition("@")
    if re.fullmatch(r"[0-9a-f]{4,16}", digest):
        raise UsageError(
            f"{digest} is not the digest of an image", hint=f"a snapshot of an image is a tag: oci://{name}:snapshot-ID"
        )
    found = re.fullmatch(r"([^/\s]+)/([a-z0-9][a-z0-9._/-]*)(?::([\w][\w.-]{0,127}))?", name)
    if not found or (digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest)):
        return None
    return StoreAddress("oci", f"{found[1]}/{found[2]}", snapshot=digest or found[3] or None)


def _write_url(scheme: str) -> Callable[[StoreAddress], str]:
    def write(address: StoreAddress) -> str:
        start = f"{address.endpoint}/" if address.endpoint else ""
        return f"{scheme}://{start}{address.location}" + (f"@{address.snapshot}" if address.snapshot else "")

    return write


def _write_local(address: StoreAddress) -> str:
    return str(PurePosixPath(address.location)) + (f"@{address.snapshot}" if address.snapshot else "")


def _write_oci(address: StoreAddress) -> str:
    if address.snapshot is None:
        return f"oci://{address.location}"
    return f"oci://{address.location}{'@' if ':' in address.snapshot else ':'}{address.snapshot}"


_READERS: Mapping[str, Callable[[str], StoreAddress | None]] = {
    "file": _read_local, "s3": _read_s3, "gs": _read_gs, "as": _read_azure, "oci": _read_oci,
}  # fmt: skip
_WRITERS: Mapping[str, Callable[[StoreAddress], str]] = {
    "local": _write_local, "s3": _write_url("s3"), "gs": _write_url("gs"), "azure": _write_url("as"), "oci": _write_oci,
}  # fmt: skip
