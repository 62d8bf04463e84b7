"""Pull an image's models: every digest is compared, and a layer holds what the image lists and nothing else."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.files.staging import destination_errors
from serve_deploy.progress import Progress
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.local import is_whole
from serve_deploy.stores.manifests.manifests import EmptyStoreError
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import StoredLayer, damaged
from serve_deploy.stores.oci.downloading import stream_blob
from serve_deploy.stores.oci.layers import MODELS_FOLDER, list_folders
from serve_deploy.stores.oci.reading import StoredImage, read_image
from serve_deploy.stores.oci.signatures import read_signatures
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import OnBytes
from serve_deploy.stores.transfer.receiving import Received, copy_local, placing
from serve_deploy.stores.transfer.transfer import Tally, transfer

_PIECE = 1 << 20
# Around the content of files; more is not what serve pushed.
_MOST_HEADER_BYTES, _MOST_NAME_BYTES, _MOST_END_BYTES = 4 << 10, 64 << 10, 64 << 10
_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *_NAMES)


@dataclass(frozen=True)
class ImageReader:
    """An image, ready to be received."""

    address: StoreAddress
    image: StoredImage

    @property
    def snapshot(self) -> Snapshot:
        """What it holds."""
        return self.image.snapshot

    def read_signatures(self) -> Sequence[bytes]:
        """The bundles that sign it, the newest first."""
        return tuple(reversed(read_signatures(self.image)))

    def receive(
        self,
        files: Sequence[SnapshotFile],
        folder: Path,
        *,
        parts: Path,
        local: Mapping[str, Path],
        concurrency: int,
        progress: Progress,
    ) -> Received:
        """Put files into a folder, by their paths; layers whose files are there or local are not received.

        They arrive in the folder `parts` of the same file system, which the caller removes.
        VerificationError where a layer or a file is not what its digest says, or a layer holds something that the image
        does not list. DestinationError where the folder cannot be written.
        """
        with destination_errors(folder):
            parts.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if not is_whole(folder / file.path, file)]
        copied = [file for file in missing if _copy(file, folder, parts, local)]
        wanted = {file.path for file in missing} - {file.path for file in copied}
        layers = [layer for layer in self.image.layers if any(file.path in wanted for file in layer.files)]
        tally = Tally("receiving", sum(layer.blob.size for layer in layers), progress)
        with Connection(self.image.reference) as connection:

            def pull(layer: StoredLayer, on_bytes: OnBytes) -> None:
                _Unpacking(layer, wanted, folder, parts, str(self.image.reference)).run(connection, on_bytes)

            layers.sort(key=lambda layer: -layer.blob.size)
            transfer(layers, pull, concurrency=concurrency, tally=tally)
        return Received(sum(layer.blob.size for layer in layers), sum(file.size_bytes for file in copied))


def open_image(address: StoreAddress) -> ImageReader:
    """The image that an address names, to be received; UsageError where there is none."""
    image = read_image(address)
    if image is None:
        repository = f"oci://{address.location}"
        error = UsageError if ":" in (address.snapshot or "") else EmptyStoreError
        raise error(f"the registry has no {address}", hint=f"list what it has: serve snapshots {repository}")
    return ImageReader(address, image)


def _copy(file: SnapshotFile, folder: Path, parts: Path, local: Mapping[str, Path]) -> bool:
    if file.sha256 not in local:
        return False
    with suppress(_NotCopiedError), placing(folder / file.path, parts) as part:
        if not copy_local(local, file, part):
            raise _NotCopiedError
        return True
    return False


class _NotCopiedError(Exception):
    """Leaves the block that would put a file into its place."""


@dataclass(frozen=True)
class _Unpacking:
    """A layer's way into a folder; `where` is what messages call the image."""

    layer: StoredLayer
    wanted: Collection[str]
    folder: Path
    parts: Path
    where: str

    def run(self, connection: Connection, on_bytes: OnBytes) -> None:
        """Receive the layer, and put those of its files into the folder that are wanted."""
        pieces = stream_blob(connection, self.layer.blob, self.where, on_bytes)
        source = _TarStream(_unzip(pieces, self.where) if self.layer.is_compressed else pieces, self.layer, self.where)
        listed = {f"{MODELS_FOLDER}/{file.path}": file for file in self.layer.files}
        seen: set[str] = set()
        try:
            with tarfile.TarFile(fileobj=cast(IO[bytes], source), tarinfo=_Entry) as archive:
                for entry in archive:
                    if not self._is_listed_folder(entry, listed):
                        self._extract(source, entry, self._find_listed(entry, listed, seen))
        except tarfile.TarError as error:
            raise self._lie(f"layer {self.layer.title} is no tar archive") from error
        source.finish()
        if missing := sorted(set(listed) - seen):
            raise self._lie(f"layer {self.layer.title} lacks {missing[0]!a}")

    def _is_listed_folder(self, entry: tarfile.TarInfo, listed: Mapping[str, SnapshotFile]) -> bool:
        if not entry.isdir():
            return False
        name = entry.name.rstrip("/")
        if name != MODELS_FOLDER and not any(path.startswith(f"{name}/") for path in listed):
            raise self._lie(f"a layer holds the folder {entry.name!a}, which the image does not list")
        return True

    def _find_listed(self, entry: tarfile.TarInfo, listed: Mapping[str, SnapshotFile], seen: set[str]) -> SnapshotFile:
        """Links, devices, paths that lead outside and marks that hide files are in no listing."""
        file = listed.get(entry.name)
        if file is None or not entry.isreg() or entry.issparse():
            kind = "sparse file" if entry.issparse() else "file" if entry.isreg() else "link or device"
            raise self._lie(f"a layer holds the {kind} {entry.name!a}, which the image does not list")
        if entry.name in seen:
            raise self._lie(f"a layer holds {entry.name!a} twice")
        if entry.size != file.size_bytes:
            raise self._lie(f"{entry.name!a} has {entry.size} bytes, and the image lists {file.size_bytes}")
        seen.add(entry.name)
        return file

    def _extract(self, source: _TarStream, entry: tarfile.TarInfo, file: SnapshotFile) -> None:
        if file.path not in self.wanted:
            return
        digest = hashlib.sha256()
        with placing(self.folder / file.path, self.parts) as part:
            source.seek(entry.offset_data)
            with destination_errors(self.folder), part.open("xb") as writer:
                for piece in source.take(entry.size):
                    digest.update(piece)
                    writer.write(piece)
                if entry.mode & 0o100:
                    part.chmod(part.stat().st_mode | 0o111)
            if digest.hexdigest() != file.sha256:
                raise self._lie(f"{file.path!a} has another sha256 than the image lists")

    def _lie(self, why: str) -> VerificationError:
        return damaged(self.where, why)


class _Entry(tarfile.TarInfo):
    """Names are kept in memory, so they have a limit."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED and self.size > _MOST_NAME_BYTES:
            raise tarfile.ReadError("a name is too long")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


class _TarStream:
    """The tar in a layer as a file that is read forwards, no longer than its listing makes it."""

    def __init__(self, pieces: Iterator[bytes], layer: StoredLayer, where: str) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._position = 0
        self._digest = hashlib.sha256()
        entries = len(layer.files) + len(list_folders(layer.files))
        self._left = sum(file.size_bytes for file in layer.files) + entries * _MOST_HEADER_BYTES + _MOST_END_BYTES
        self._layer = layer
        self._where = where

    def tell(self) -> int:
        """How far it was read."""
        return self._position

    def seek(self, position: int) -> None:
        """Go on from there, which is not before what was read."""
        if position < self._position:
            raise tarfile.ReadError("its entries overlap")
        for _piece in self.take(position - self._position):
            pass

    def read(self, size: int) -> bytes:
        """A header or the like."""
        return b"".join(self.take(size))

    def take(self, size: int) -> Iterator[memoryview]:
        """So many bytes, or what is left, in the pieces that came: files are not copied on their way."""
        while size and (self._rest or self._next()):
            piece, self._rest = self._rest[:size], self._rest[size:]
            self._position += len(piece)
            size -= len(piece)
            yield piece

    def _next(self) -> bool:
        piece = next(self._pieces, b"")
        self._left -= len(piece)
        if self._left < 0:
            raise damaged(self._where, f"layer {self._layer.title} holds more than the image lists")
        if self._layer.is_compressed:
            self._digest.update(piece)
        self._rest = memoryview(piece)
        return bool(piece)

    def finish(self) -> None:
        """Read to the end, and compare with what the configuration says of the tar."""
        while self._next():
            pass
        # What is not compressed was compared as a blob.
        digest = f"sha256:{self._digest.hexdigest()}" if self._layer.is_compressed else self._layer.blob.digest
        if digest != self._layer.diff_id:
            raise damaged(self._where, f"layer {self._layer.title} is not the one of its configuration")


def _unzip(pieces: Iterator[bytes], where: str) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if block := stream.decompress(rest, _PIECE):
                    yield block
                rest = stream.unconsumed_tail
                if stream.eof and (rest := stream.unused_data):
                    stream = zlib.decompressobj(wbits=31)
        while not stream.eof and (block := stream.decompress(b"", _PIECE)):
            yield block
    except zlib.error as error:
        raise damaged(where, "a layer is not compressed as it says") from error
    if not stream.eof:
        raise damaged(where, "a compressed layer ends early")
