"""Local files as they are sent: in parts or as a stream, and never other content than was hashed."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import OnBytes, SourceChangedError


@dataclass(frozen=True)
class Part:
    """A piece of a file; the first has the number 1."""

    number: int
    content: bytes


class PartReader:
    """The parts of a file from its beginning to its end; SourceChangedError where they are not what was hashed."""

    def __init__(self, source: Path, file: SnapshotFile, part_bytes: int) -> None:
        self._source, self._file, self.part_bytes = source, file, part_bytes
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        self._number = 0
        self._stream = source.open("rb")

    @property
    def count(self) -> int:
        """How many parts the file has."""
        return max(-(-self._file.size_bytes // self.part_bytes), 1)

    def next(self) -> Part | None:
        """The next part, or None at the end."""
        with self._lock:
            if self._number == self.count:
                return None
            left = self._file.size_bytes - self._number * self.part_bytes
            content = self._stream.read(min(self.part_bytes, left))
            self._digest.update(content)
            self._number += 1
            if self._number == self.count and (self._stream.read(1) or self._digest.hexdigest() != self._file.sha256):
                raise SourceChangedError(self._source)
            return Part(self._number, content)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class Digest(Protocol):
    """A checksum that grows with what it is given."""

    def update(self, data: bytes, /) -> object:
        """Take bytes in."""

    def digest(self) -> bytes:
        """What it has come to."""


class SourceStream(io.RawIOBase):
    """A file as a stream that tells of each byte once; its end is not given where it is not what was hashed.

    `store_digest` is of all that has been read.
    """

    def __init__(self, source: Path, file: SnapshotFile, on_bytes: OnBytes, store_digest: Digest) -> None:
        self._source, self._file, self._on_bytes = source, file, on_bytes
        self._digest, self._seen = hashlib.sha256(), 0
        self._stream = source.open("rb")
        self.size_bytes, self.store_digest = file.size_bytes, store_digest

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is: what was sent in vain is read again."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes, all that are left with -1."""
        start = self._stream.tell()
        content = self._stream.read(size)
        new = content[max(self._seen - start, 0) :]
        self._digest.update(new)
        self.store_digest.update(new)
        self._seen += len(new)
        has_ended = size < 0 or len(content) < size or self._seen >= self._file.size_bytes
        if has_ended and (self._seen != self._file.size_bytes or self._digest.hexdigest() != self._file.sha256):
            raise SourceChangedError(self._source)
        self._on_bytes(len(new))
        return content

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()
