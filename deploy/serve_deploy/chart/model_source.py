"""Where a release reads its models from, told apart by how the address begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from serve_deploy.errors import UsageError

_SOURCES_HINT = (
    "a release can read s3://bucket/path, gs://bucket/path, as://account/container/path, pvc://claim[/path],"
    " oci://registry/image:tag[#path] or https://host/models.tar.gz"
)


def read_source(source: str | None) -> dict[str, Any]:
    """The chart's modelRepository values for an address; without one the chart carries the repository."""
    if source is None:
        return {"source": "carried", "carried": {"path": "files/models"}}
    scheme = source.partition("://")[0]
    reader = _READERS.get(scheme) if "://" in source else None
    if reader is None:
        local = "a cluster cannot read a path on this machine; " if "://" not in source or scheme == "file" else ""
        raise UsageError(f"`source={source}`: a release cannot read that", hint=f"{local}{_SOURCES_HINT}")
    return reader(source)


def copies_locally(values: Mapping[str, Any]) -> bool:
    """Whether each replica copies the repository to its own disk before it loads a model."""
    return values["source"] in ("s3", "gcs", "azure", "http")


def _require(source: str, pattern: str, form: str) -> re.Match[str]:
    found = re.fullmatch(pattern, source)
    if found is None:
        raise UsageError(f"`source={source}` is incomplete", hint=f"its form is {form}")
    return found


def _read_s3(source: str) -> dict[str, Any]:
    _require(source, r"s3://(https?://)?[^/\s]+(/\S*)?", "s3://bucket/path or s3://https://host:port/bucket/path")
    return {"source": "s3", "uri": source}


def _read_gcs(source: str) -> dict[str, Any]:
    _require(source, r"gs://[^/\s]+(/\S*)?", "gs://bucket/path")
    return {"source": "gcs", "uri": source}


def _read_azure(source: str) -> dict[str, Any]:
    _require(source, r"as://[^/\s]+/[^/\s]+(/\S*)?", "as://account/container/path")
    return {"source": "azure", "uri": source}


def _read_claim(source: str) -> dict[str, Any]:
    found = _require(source, r"pvc://([a-z0-9]([-a-z0-9.]*[a-z0-9])?)(/\S*)?", "pvc://claim or pvc://claim/path")
    return {"source": "pvc", "pvc": {"existingClaim": found[1], "path": (found[3] or "").strip("/")}}


def _read_image(source: str) -> dict[str, Any]:
    found = _require(source, r"oci://([^\s#]+[:@][^\s#]+)(?:#(\S+))?", "oci://registry/image:tag[#path]")
    return {"source": "oci", "oci": {"reference": found[1], **({"path": found[2].strip("/")} if found[2] else {})}}


def _read_archive(source: str) -> dict[str, Any]:
    _require(source, r"https?://\S+\.(tar|tar\.gz|tgz)(\?\S*)?", "https://host/path/models.tar.gz")
    return {"source": "http", "http": {"url": source}}


_READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "s3": _read_s3, "gs": _read_gcs, "as": _read_azure, "pvc": _read_claim, "oci": _read_image,
    "http": _read_archive, "https": _read_archive,
}  # fmt: skip
