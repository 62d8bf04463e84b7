"""A snapshot: one whole content of a model repository, named by the digest of its files.

A store holds, under its address:

    snapshots/ID/MODEL/…       a model repository that Triton reads as it stands; never changed
    snapshots/ID.json          its manifest, written when all of it is there: without one it is not a snapshot yet
    current.json               the pointer: which snapshot counts

The fixed layout, for readers that know one path only, has one snapshot, and files of it change under their eyes:

    MODEL/…                    the models
    snapshot.json              their manifest, written last
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

POINTER_NAME = "current.json"
SNAPSHOTS_FOLDER = "snapshots"
FIXED_NAME = "snapshot.json"
ID_LENGTH = 16


class SnapshotFile(BaseModel):
    """A file by its path below the repository, such as digits/1/model.onnx.

    `stored` is the store's own checksum of it, such as "etag:9e10…", as the store gave it once serve had made sure of
    the content; empty where the store has none. The sha256 is of the content, and ours.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    sha256: str
    size_bytes: int
    stored: str = ""

    @property
    def model(self) -> str:
        """The model's folder that it is in."""
        return self.path.partition("/")[0]


class Snapshot(BaseModel):
    """The manifest of a snapshot; its files are sorted by path."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    sha256: str
    files: tuple[SnapshotFile, ...]

    @property
    def id(self) -> str:
        """How the digest begins: what the snapshot is called, and the chart's revision."""
        return self.sha256[:ID_LENGTH]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models' folders."""
        return tuple(sorted({file.model for file in self.files}))


class Pointer(BaseModel):
    """What `current.json` says: which snapshot counts, and which one did before."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    snapshot: str
    previous: str | None = None


def digest_listing(files: Iterable[tuple[str, str]]) -> str:
    """The sha256 of (path, sha256) pairs, one a line and sorted by path: as sha256sum would list them."""
    listed = "".join(f"{sha256} {path}\n" for path, sha256 in sorted(files))
    return hashlib.sha256(listed.encode()).hexdigest()
