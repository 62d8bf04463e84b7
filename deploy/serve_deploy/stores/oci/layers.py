"""Layers of an image: a tar for each model version and each model's other files, the same bytes for the same files."""

from __future__ import annotations

import hashlib
import os
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from serve_deploy.stores.snapshot import SnapshotFile, digest_listing
from serve_deploy.stores.store import OnBytes, SourceChangedError
from serve_deploy.stores.transfer.contents import LocalFile

MODELS_FOLDER = "models"
# Runtimes stack a directory for each layer; the lowest limit among them is 127.
_MOST_LAYERS = 100
_PIECE = 1 << 20


@dataclass(frozen=True)
class LayerFiles:
    """What goes into one layer, such as digits/1, sorted by path."""

    title: str
    files: tuple[SnapshotFile, ...]

    @property
    def listing(self) -> str:
        """The digest of its files, as of a layer that is stored."""
        return digest_listing((file.path, file.sha256) for file in self.files)


def group_files(files: Iterable[SnapshotFile]) -> tuple[LayerFiles, ...]:
    """The layers of a repository: version 1 of every model, then 2 and so on, and what stands beside the versions last.

    Nodes unpack a layer on top of those before it, so what changes most comes last. Of more layers than a runtime can
    stack, several models share one, by the digest of their names.
    """
    titles = {file.path: _title(file.path) for file in files}
    if len(set(titles.values())) > _MOST_LAYERS:
        titles = {path: _shared_title(path) for path in titles}
    ordered = sorted(files, key=lambda file: (_order(titles[file.path]), file.path))
    return tuple(
        LayerFiles(title, tuple(group)) for title, group in groupby(ordered, key=lambda file: titles[file.path])
    )


def _title(path: str) -> str:
    model, _, rest = path.partition("/")
    version, inside, _ = rest.partition("/")
    return f"{model}/{version}" if inside and version.isdecimal() else model


def _shared_title(path: str) -> str:
    name = path.partition("/")[0]
    return f"models {int(hashlib.sha256(name.encode()).hexdigest(), 16) % _MOST_LAYERS}"


def _order(title: str) -> tuple[bool, int, str]:
    model, _, version = title.partition("/")
    return (not version, int(version or 0), model)


class LayerSource:
    """The tar of a layer, read from local files piece by piece from any place on, and never held whole."""

    def __init__(self, layer: LayerFiles, local: Mapping[str, LocalFile]) -> None:
        self.files = layer
        self._parts: list[bytes | LocalFile] = []
        self._starts: list[int] = []
        self.size_bytes = 0
        for folder in list_folders(layer.files):
            self._add(_header(folder, size=0, mode=0o755, kind=tarfile.DIRTYPE))
        for file in layer.files:
            source = local[file.path]
            mode = 0o755 if _may_run(source.source) else 0o644
            self._add(_header(f"{MODELS_FOLDER}/{file.path}", size=file.size_bytes, mode=mode, kind=tarfile.REGTYPE))
            self._add(source)
            self._add(bytes(-file.size_bytes % tarfile.BLOCKSIZE))
        self._add(bytes(-(self.size_bytes + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE + 2 * tarfile.BLOCKSIZE))

    def _add(self, part: bytes | LocalFile) -> None:
        size = len(part) if isinstance(part, bytes) else part.file.size_bytes
        if size:
            self._parts.append(part)
            self._starts.append(self.size_bytes)
            self.size_bytes += size

    def digest(self, on_bytes: OnBytes) -> str:
        """sha256:…; SourceChangedError where a file is not what the snapshot says."""
        whole = hashlib.sha256()
        for part in self._parts:
            own = hashlib.sha256()
            for piece in _read(part, 0):
                whole.update(piece)
                own.update(piece)
                on_bytes(len(piece))
            if isinstance(part, LocalFile) and own.hexdigest() != part.file.sha256:
                raise SourceChangedError(part.source or Path(part.file.path))
        return f"sha256:{whole.hexdigest()}"

    def read_from(self, start: int) -> Iterator[bytes]:
        """The bytes from an offset on; SourceChangedError where a file has another size by now."""
        first = bisect_right(self._starts, start) - 1
        for index in range(first, len(self._parts)):
            yield from _read(self._parts[index], max(0, start - self._starts[index]))


def _read(part: bytes | LocalFile, start: int) -> Iterator[bytes]:
    if isinstance(part, bytes):
        yield part[start:]
        return
    left = part.file.size_bytes - start
    if part.source is None:
        return
    try:
        with part.source.open("rb") as stream:
            stream.seek(start)
            while left and (piece := stream.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece
            if left or os.fstat(stream.fileno()).st_size != part.file.size_bytes:
                raise SourceChangedError(part.source)
    except OSError as error:
        raise SourceChangedError(part.source) from error


def _may_run(source: Path | None) -> bool:
    if source is None:
        return False
    try:
        return bool(source.stat().st_mode & 0o100)
    except OSError as error:
        raise SourceChangedError(source) from error


def list_folders(files: Sequence[SnapshotFile]) -> list[str]:
    """The folders that a layer of these files holds."""
    names = {f"{MODELS_FOLDER}/{parent}" for file in files for parent in _parents(file.path)}
    return [MODELS_FOLDER, *sorted(names)]


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _header(name: str, *, size: int, mode: int, kind: bytes) -> bytes:
    """Owner, time and mode say nothing of the machine that pushes, and any user may read it."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.type = size, mode, kind
    return entry.tobuf(tarfile.PAX_FORMAT)
