"""What every object store's own library is made to say: one try of one request, and what became of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from serve_deploy.errors import ServeError
from serve_deploy.stores.backends.sources import Digest, Part, SourceStream
from serve_deploy.stores.store import OnBytes, SmallFile, StoredFile, UnfinishedUpload

_PIECE_BYTES = 1 << 18
Doing = Literal["list", "read", "write", "copy", "delete"]


class Body(io.BytesIO):
    """Bytes to send; `on_bytes` is told of each once, however often it is sent, and may raise to stop.

    What a library reads before `is_sent` is set, such as for a signature, is not told.
    """

    def __init__(self, content: bytes, on_bytes: OnBytes, *, is_sent: bool = True) -> None:
        super().__init__(content)
        self._on_bytes, self._size, self._told = on_bytes, len(content), 0
        self.is_sent = is_sent

    def read(self, size: int | None = -1) -> bytes:
        # Larger pieces than HTTP clients ask for, which is 16 KiB, are fewer calls; they send what they get.
        piece = super().read(max(size, _PIECE_BYTES) if size and size > 0 else size)
        if self.is_sent:
            new = max(self.tell() - self._told, 0)
            self._told += new
            self._on_bytes(new)
        return piece

    def __len__(self) -> int:
        return self._size


@dataclass(frozen=True)
class Sending:
    """An upload in parts that has begun."""

    key: str
    id: str
    size_bytes: int


@dataclass(frozen=True)
class Object:
    """An object's size, and what tells this writing of it from every other."""

    size_bytes: int
    tag: str


@dataclass(frozen=True)
class Page:
    """Some of the objects, and where the next page begins; None where there is none."""

    files: Sequence[StoredFile]
    next: str | None


@dataclass(frozen=True)
class Refusal:
    """Why a try failed, in words; what may work when tried again, and what was not as it had been read."""

    error: ServeError
    is_transient: bool = False
    is_changed: bool = False
    knows_no_conditions: bool = False


class CorruptedError(Exception):
    """The store says that it holds other bytes than were sent."""


class StrangeAnswerError(Exception):
    """What answers is not the store that it should be."""


class Bucket(Protocol):
    """One bucket or container: a single try of each request, by key; it raises `errors`, which `judge` puts in words.

    A method is called from several threads at once.
    """

    errors: tuple[type[Exception], ...]
    # What a range that is being received takes of memory.
    receiving_bytes: int

    @property
    def keeps_conditions(self) -> bool:
        """Whether the store is known to keep conditions on writes; where not, it is tried out first."""

    def judge(self, error: Exception, doing: Doing) -> Refusal:
        """What a failed try means."""

    def list_page(self, prefix: str, start: str | None) -> Page:
        """Objects whose keys begin so; their paths are whole keys."""

    def get(self, key: str) -> SmallFile | None:
        """A small object, or None."""

    def put(self, key: str, content: bytes, *, expected: str | None) -> SmallFile:
        """Write where the object has that tag, or where there is none."""

    def put_always(self, key: str, content: bytes) -> SmallFile:
        """Write whatever is there."""

    def copy(self, source: str, target: str, checksum: str) -> StoredFile | None:
        """Copy inside the store; None where the source is gone, or has another checksum than one that is given."""

    def receive(self, key: str, start: int, end: int, tag: str | None, write: Callable[[bytes], None]) -> Object | None:
        """Bytes from start up to, not including, end, of the writing with that tag; None where it does not exist."""

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there is no error."""

    def list_uploads(self, prefix: str) -> Sequence[UnfinishedUpload]:
        """Unfinished uploads whose keys begin so, which are their paths; none where the store forgets them itself."""

    def abandon(self, sending: Sending) -> None:
        """Remove what arrived of an upload that will not be finished; one that is gone is no error."""


class PartBucket(Bucket, Protocol):
    """A bucket that takes the parts of an object at once, and in any order."""

    # The least that a part holds.
    part_bytes: int

    def send(self, key: str, content: bytes, on_bytes: OnBytes) -> StoredFile:
        """Write an object whole; the store's checksum has been compared with the content."""

    def begin(self, key: str, size_bytes: int) -> Sending:
        """Begin an upload in parts."""

    def send_part(self, sending: Sending, part: Part, on_bytes: OnBytes) -> object:
        """Send a part, compared as `send` does; what it returns goes to `finish`."""

    def finish(self, sending: Sending, receipts: Sequence[object]) -> StoredFile:
        """Make the object of its parts, in their order."""


class StreamBucket(Bucket, Protocol):
    """A bucket whose library takes a stream of any size, and what is sent of it again by itself."""

    # What a stream that is being sent takes of memory.
    sending_bytes: int

    def new_digest(self) -> Digest:
        """What the store's own checksum is computed with."""

    def send_stream(self, key: str, stream: SourceStream) -> StoredFile:
        """Write an object; the store's checksum has been compared with the content."""
