"""Releases as helm stores them, and a cluster that has them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve_deploy.errors import EndpointError


def stored(release: str, revision: int, document: dict[str, Any], *, is_secret: bool = True) -> dict[str, Any]:
    """A revision as helm keeps it: JSON, packed, in base64; a Secret's data is in base64 itself."""
    text = base64.b64encode(gzip.compress(json.dumps(document).encode()))
    data = (base64.b64encode(text) if is_secret else text).decode()
    metadata = {
        "name": f"sh.helm.release.v1.{release}.v{revision}", "namespace": "models",
        "labels": {"owner": "helm", "name": release, "version": str(revision)},
    }  # fmt: skip
    return {"metadata": metadata, "data": {"release": data}}


def values(revision: str) -> dict[str, Any]:
    """A release whose values name a snapshot."""
    return {"config": None, "chart": {"values": {"modelRepository": {"revision": revision}}}, "manifest": ""}


@dataclass(frozen=True)
class Answering:
    """A cluster that has these objects, by path; a refusal is raised."""

    routes: Mapping[str, list[dict[str, Any]] | EndpointError]

    def find_each(self, path: str, _selector: str = "", *, at_once: int = 0) -> Iterator[dict[str, Any]]:
        found = self.routes.get(path, [])
        if isinstance(found, EndpointError):
            raise found
        yield from found

    def connect(self, _context: str | None) -> Any:
        """The cluster of whatever context."""
        return self
