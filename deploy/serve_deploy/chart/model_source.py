"""Where a release reads its models from, told apart by how the address begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.chart.values import ChartValues

Found = re.Match[str]
_IDENTITIES = {
    "s3": "by serviceAccount.annotations (eks.amazonaws.com/role-arn, or a Pod Identity on EKS), or ",
    "gcs": "by serviceAccount.annotations (iam.gke.io/gcp-service-account on GKE), or ",
    "azure": "",
}
_LOOPBACK = re.compile(r"//(127\.\d+\.\d+\.\d+|localhost|\[::1\])(?=[:/])")
# These can be stores of snapshots, of which the address may name one.
_STORES = ("s3", "gs", "as", "pvc")
_SNAPSHOT = re.compile(r"(.+)@([0-9a-f]{4,16})")
_SOURCES_HINT = (
    "a release can read s3://bucket/path, gs://bucket/path, as://account/container/path, pvc://claim[/path],"
    " oci://registry/image:tag[#path] or https://host/models.tar.gz; @ID after a store names a snapshot"
)


def read_source(source: str | None) -> dict[str, Any]:
    """The chart's modelRepository values for an address; without one the chart carries the repository."""
    if source is None:
        return {"source": "carried", "carried": {"path": "files/models"}}
    scheme, separator, _ = source.partition("://")
    if scheme in _STORES and (named := _SNAPSHOT.fullmatch(source)):
        return read_source(named[1]) | {"layout": "snapshots", "revision": named[2]}
    if not separator or scheme not in _FORMS:
        local = "a cluster cannot read a path on this machine; " if not separator or scheme == "file" else ""
        raise UsageError(f"`source={source}`: a release cannot read that", hint=f"{local}{_SOURCES_HINT}")
    pattern, form, read = _FORMS[scheme]
    found = re.fullmatch(pattern, source)
    if found is None:
        raise UsageError(f"`source={source}` is incomplete", hint=f"write it as {form}")
    return read(found)


def copies_locally(values: Mapping[str, Any]) -> bool:
    """Whether each replica copies the repository to its own disk before it loads a model."""
    return values["source"] in ("s3", "gcs", "azure", "http")


def find_port(values: Mapping[str, Any]) -> int | None:
    """The port of an S3 server of one's own, which the network policy has to let through; None for 443."""
    found = re.match(r"s3://(?:(https?)://)?[^/]+?(?::(\d+))?/", values.get("uri", ""))
    if not found or not (found[1] or found[2]):
        return None
    port = int(found[2] or (80 if found[1] == "http" else 443))
    return port if port != 443 else None


def note_credentials(values: ChartValues) -> Iterator[str]:
    """What lets the replicas read a private source, where nothing says so yet."""
    repository = values.model_repository
    if found := _LOOPBACK.search(repository.uri):
        yield f"inside a pod, {found[1]} is the pod itself: give `source` the address by which pods reach this store"
    given = repository.credentials.existing_secret or values.external_secret.enabled
    if repository.source == "oci" and not values.image.pull_secrets:
        yield "a private registry needs its Secret in image.pullSecrets, unless the nodes may pull from it"
    if repository.source not in _IDENTITIES or given or values.service_account.annotations:
        return
    own_server = "://" in repository.uri.partition("://")[2] or find_port({"uri": repository.uri})
    identity = "" if own_server else _IDENTITIES[repository.source]
    yield (
        f"the replicas must be allowed to read {repository.uri}: {identity}"
        "by a Secret that modelRepository.credentials.existingSecret names"
    )


def _read_uri(kind: str) -> Callable[[Found], dict[str, Any]]:
    return lambda found: {"source": kind, "uri": found[0]}


def _read_claim(found: Found) -> dict[str, Any]:
    return {"source": "pvc", "pvc": {"existingClaim": found[1], "path": (found[3] or "").strip("/")}}


def _read_image(found: Found) -> dict[str, Any]:
    return {"source": "oci", "oci": {"reference": found[1], **({"path": found[2].strip("/")} if found[2] else {})}}


def _read_archive(found: Found) -> dict[str, Any]:
    return {"source": "http", "http": {"url": found[0]}}


_ARCHIVE = (r"https?://\S+\.(tar|tar\.gz|tgz)(\?\S*)?", "https://host/path/models.tar.gz", _read_archive)
_FORMS: dict[str, tuple[str, str, Callable[[Found], dict[str, Any]]]] = {
    "s3": (
        r"s3://(https?://)?[^/\s]+(/\S*)?",
        "s3://bucket/path or s3://https://host:port/bucket/path",
        _read_uri("s3"),
    ),
    "gs": (r"gs://[^/\s]+(/\S*)?", "gs://bucket/path", _read_uri("gcs")),
    "as": (r"as://[^/\s]+/[^/\s]+(/\S*)?", "as://account/container/path", _read_uri("azure")),
    "pvc": (r"pvc://([a-z0-9]([-a-z0-9.]*[a-z0-9])?)(/\S*)?", "pvc://claim or pvc://claim/path", _read_claim),
    "oci": (r"oci://([^\s#]+[:@][^\s#]+)(?:#(\S+))?", "oci://registry/image:tag[#path]", _read_image),
    "http": _ARCHIVE,
    "https": _ARCHIVE,
}
