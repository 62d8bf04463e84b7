"""Which snapshots a cluster still names: in releases that helm could roll back to, and in workloads."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from serve_deploy.cluster.api import Cluster, Forbidden, Object
from serve_deploy.errors import EndpointError

# The ID of a snapshot or the digest of an image, wherever it stands: in a path, a value, an annotation.
_IDENTITY = re.compile(r"sha256:[0-9a-f]{64}|(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
# Where helm keeps releases (HELM_DRIVER), and what was made by a chart without helm's memory, as Argo CD does.
_MEMORY = ("/api/v1", ("secrets", "configmaps"))
_ADDED = "/apis/leaderworkerset.x-k8s.io/v1"
_WORKLOADS = (
    ("/apis/apps/v1", ("deployments", "replicasets", "controllerrevisions", "statefulsets")),
    (_ADDED, ("leaderworkersets",)),
    ("/api/v1", ("pods",)),
)
# A release takes up to 1 MiB.
_AT_ONCE = 50
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Named:
    """Snapshots and images with what names each of them, and how many revisions of releases were looked at."""

    revisions: int = 0
    by: dict[str, str] = field(default_factory=dict)


def find_named(cluster: Cluster, namespaces: Sequence[str] = ()) -> Named:
    """What the releases and workloads of these namespaces name, or those of all.

    EndpointError where the cluster does not answer, may not be asked, or has a release that cannot be read.
    """
    by: dict[str, str] = {}
    revisions = 0
    for _plural, item in _find(cluster, (_MEMORY,), "owner=helm", namespaces):
        _note(by, _read_release(item), _describe_release(item))
        revisions += 1
    for plural, item in _find(cluster, _WORKLOADS, "app.kubernetes.io/component=server", namespaces):
        metadata = item["metadata"]
        said = f"{plural.removesuffix('s')} {metadata['name']} in namespace {metadata['namespace']}"
        _note(by, json.dumps(item.get("spec") or item.get("data") or {}), said)
    return Named(revisions, by)


def _find(
    cluster: Cluster, kinds: Iterable[tuple[str, Sequence[str]]], selector: str, namespaces: Sequence[str]
) -> Iterator[tuple[str, Object]]:
    for scope in [f"namespaces/{namespace}/" for namespace in namespaces] or [""]:
        for root, plurals in kinds:
            for plural in plurals:
                # Kubernetes' own roles know no kinds that were added; a group's releases and pods name the same.
                with suppress(Forbidden) if root == _ADDED else nullcontext():
                    found = cluster.find_each(f"{root}/{scope}{plural}", selector, at_once=_AT_ONCE)
                    yield from ((plural, item) for item in found)


def _note(by: dict[str, str], text: str, said: str) -> None:
    for identity in _IDENTITY.findall(text):
        by.setdefault(identity, said)


def _describe_release(item: Object) -> str:
    labels = item["metadata"].get("labels") or {}
    name, version = labels.get("name", item["metadata"]["name"]), labels.get("version", "?")
    return f"revision {version} of release {name} in namespace {item['metadata']['namespace']}"


def _read_release(item: Object) -> str:
    """The values and manifests of a stored release: JSON, packed, in base64, and in a Secret's once more."""
    try:
        packed = base64.b64decode(item["data"]["release"])
        document = json.loads(gzip.decompress(packed if packed.startswith(_GZIP) else base64.b64decode(packed)))
        return json.dumps(list(_said(document)))
    except (KeyError, TypeError, ValueError, AttributeError, OSError, EOFError, binascii.Error) as error:
        raise EndpointError(
            f"{_describe_release(item)} cannot be read, so it is not known what it names",
            hint="is it damaged? helm get all shows it",
        ) from error


def _said(document: Any) -> Iterator[Any]:
    chart = document.get("chart") or {}
    yield document.get("config")
    yield [part.get("values") for part in (chart, *(chart.get("dependencies") or []))]
    yield document.get("manifest")
    yield [hook.get("manifest") for hook in document.get("hooks") or []]
