"""How a local file becomes an object: whole, in parts at once, or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from serve_deploy.stores.backends.bucket import PartBucket, Sending, StreamBucket
from serve_deploy.stores.backends.parallel import ByteBudget, in_threads
from serve_deploy.stores.backends.persistence import Persistence
from serve_deploy.stores.backends.sources import PartReader, SourceStream
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import OnBytes, SourceChangedError, StoredFile

R = TypeVar("R", PartReader, SourceStream)
_PARTS_AT_ONCE = 4
# Stores take 10,000 parts and more.
_MOST_PARTS = 10_000


class Uploads(Protocol):
    """A way to send files."""

    def upload(self, source: Path, file: SnapshotFile, key: str, on_bytes: OnBytes) -> StoredFile:
        """Send a file; its path is the whole key."""


class PartUploads:
    """Small files whole, large ones in parts, several at once."""

    def __init__(self, bucket: PartBucket, tries: Persistence, budget: ByteBudget) -> None:
        self._bucket, self._tries, self._budget = bucket, tries, budget

    def upload(self, source: Path, file: SnapshotFile, key: str, on_bytes: OnBytes) -> StoredFile:
        """Send a file; its path is the whole key."""
        part_bytes = max(self._bucket.part_bytes, -(-file.size_bytes // _MOST_PARTS))
        with _opening(source, lambda: PartReader(source, file, part_bytes)) as reader:
            if reader.count == 1:
                return self._send_whole(reader, file, key, on_bytes)
            return self._send_parts(reader, file, key, on_bytes)

    def _send_whole(self, reader: PartReader, file: SnapshotFile, key: str, on_bytes: OnBytes) -> StoredFile:
        with self._budget.holding(file.size_bytes):
            part = reader.next()
            content = part.content if part else b""
            return self._tries.do(lambda: self._bucket.send(key, content, on_bytes), "write", on_bytes)

    def _send_parts(self, reader: PartReader, file: SnapshotFile, key: str, on_bytes: OnBytes) -> StoredFile:
        sending = self._tries.do(lambda: self._bucket.begin(key, file.size_bytes), "write", on_bytes)

        def work(tell: OnBytes) -> tuple[int, object] | None:
            with self._budget.holding(reader.part_bytes):
                if (part := reader.next()) is None:
                    return None
                receipt = self._tries.do(lambda: self._bucket.send_part(sending, part, tell), "write", tell)
                return part.number, receipt

        try:
            receipts = in_threads(work, on_bytes, _PARTS_AT_ONCE)
            in_turn = [receipt for _, receipt in sorted(receipts, key=lambda each: each[0])]
            return self._tries.do(lambda: self._bucket.finish(sending, in_turn), "write", on_bytes)
        except BaseException:
            self._abandon(sending)
            raise

    def _abandon(self, sending: Sending) -> None:
        try:
            self._bucket.abandon(sending)
        except self._bucket.errors:
            # What matters is why it is abandoned; the store's own rule for unfinished uploads takes the rest.
            return


class StreamUploads:
    """Every file as one stream, by the store's own library."""

    def __init__(self, bucket: StreamBucket, tries: Persistence, budget: ByteBudget) -> None:
        self._bucket, self._tries, self._budget = bucket, tries, budget

    def upload(self, source: Path, file: SnapshotFile, key: str, on_bytes: OnBytes) -> StoredFile:
        """Send a file; its path is the whole key."""
        held = min(self._bucket.sending_bytes, 2 * file.size_bytes)
        with (
            self._budget.holding(held),
            _opening(source, lambda: SourceStream(source, file, on_bytes, self._bucket.new_digest())) as stream,
        ):

            def attempt() -> StoredFile:
                stream.seek(0)
                return self._bucket.send_stream(key, stream)

            return self._tries.do(attempt, "write", on_bytes)


@contextmanager
def _opening(source: Path, make: Callable[[], R]) -> Iterator[R]:
    try:
        opened = make()
    except OSError:
        # It was there when it was hashed.
        raise SourceChangedError(source) from None
    try:
        yield opened
    finally:
        opened.close()
