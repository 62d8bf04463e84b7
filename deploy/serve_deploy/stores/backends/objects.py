"""A store in a bucket: what S3, Google Cloud Storage and Azure have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from serve_deploy.errors import EndpointError
from serve_deploy.files.staging import destination_errors
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.bucket import Bucket, PartBucket, Sending, StreamBucket
from serve_deploy.stores.backends.parallel import ByteBudget, in_threads
from serve_deploy.stores.backends.persistence import Persistence, RefusedError
from serve_deploy.stores.backends.uploads import PartUploads, StreamUploads, Uploads
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import OnBytes, SmallFile, StoreChangedError, StoredFile, UnfinishedUpload

_IN_MEMORY_BYTES = 96 << 20
_RANGES_AT_ONCE = 4
_RANGE_BYTES = 16 << 20


class ObjectStore:
    """Files as the objects of a bucket whose keys begin with the store's path."""

    def __init__(
        self,
        address: StoreAddress,
        bucket: Bucket,
        prefix: str,
        uploads: Uploads,
        tries: Persistence,
        budget: ByteBudget,
    ) -> None:
        self._address, self._bucket = address, bucket
        self._start = f"{prefix}/" if prefix else ""
        self._uploads, self._tries, self._budget = uploads, tries, budget
        self._keeps_conditions: bool | None = None

    @property
    def address(self) -> StoreAddress:
        """Where it is, without a snapshot."""
        return self._address

    @property
    def caution(self) -> str | None:
        """What this store cannot promise, once a write has shown it."""
        if self._keeps_conditions is False:
            return "this store ignores conditions on writes: of two pushes at the same moment, the later one wins whole"
        return None

    def list_files(self, prefix: str) -> Mapping[str, StoredFile]:
        """Every file whose path begins so, by path."""
        files: dict[str, StoredFile] = {}
        start: str | None = None
        while True:
            page = self._tries.do(partial(self._bucket.list_page, self._start + prefix, start), "list")
            for file in page.files:
                path = file.path.removeprefix(self._start)
                # Consoles make an empty object for a folder.
                if not path.endswith("/"):
                    files[path] = replace(file, path=path)
            if (start := page.next) is None:
                return files

    def read(self, path: str) -> SmallFile | None:
        """A small file, or None where there is none."""
        return self._tries.do(lambda: self._bucket.get(self._start + path), "read")

    def write(self, path: str, content: bytes, *, expected: str | None) -> SmallFile:
        """Write a small file whole, where it still has the tag `expected` (None: where it does not exist)."""
        if self._keeps_conditions is None:
            self._keeps_conditions = self._bucket.keeps_conditions or self._find_conditions()
        if not self._keeps_conditions:
            return self._write_and_look(path, content, expected)
        key = self._start + path
        try:
            return self._tries.attempt(lambda: self._bucket.put(key, content, expected=expected), "write")
        except RefusedError as refused:
            refusal = refused.refusal
        if not refusal.is_changed:
            raise refusal.error
        # The answer to a write that succeeded may have been lost, and its second try refused.
        now = self.read(path)
        if now is None or now.content != content:
            raise self._changed(path)
        return now

    def upload(self, source: Path, file: SnapshotFile, path: str, on_bytes: OnBytes) -> StoredFile:
        """Send a local file; the store's checksums have been compared with the content, or it raises."""
        return replace(self._uploads.upload(source, file, self._start + path, on_bytes), path=path)

    def copy(self, source: str, target: str, *, checksum: str = "") -> StoredFile | None:
        """Copy inside the store; None where the source is gone, or has another checksum than one that is given."""
        origin, goal = self._start + source, self._start + target
        try:
            stored = self._tries.attempt(lambda: self._bucket.copy(origin, goal, checksum), "copy")
            return replace(stored, path=target) if stored else None
        except RefusedError as refused:
            refusal = refused.refusal
        if refusal.is_changed:
            return None
        raise refusal.error

    def download(self, path: str, target: Path, on_bytes: OnBytes) -> None:
        """Receive a file into a local one that does not exist yet; large ones in ranges, several at once."""
        with destination_errors(target.parent):
            target.open("xb").close()
        total, tag = self._receive(path, target, 0, None, on_bytes)
        ranges = iter(range(_RANGE_BYTES, total, _RANGE_BYTES))

        def work(tell: OnBytes) -> int | None:
            start = next(ranges, None)
            return None if start is None else self._receive(path, target, start, tag, tell)[0]

        if total > _RANGE_BYTES:
            in_threads(work, on_bytes, _RANGES_AT_ONCE)

    def delete(self, paths: Sequence[str]) -> None:
        """Remove files; one that is not there is no error."""
        if paths:
            self._tries.do(lambda: self._bucket.delete([self._start + path for path in paths]), "delete")

    def list_uploads(self, prefix: str) -> Sequence[UnfinishedUpload]:
        """Uploads below a folder that were begun and not ended."""
        found = self._tries.do(lambda: self._bucket.list_uploads(self._start + prefix), "list")
        return [replace(each, path=each.path.removeprefix(self._start)) for each in found]

    def abandon(self, upload: UnfinishedUpload) -> None:
        """Remove the parts of an upload; one that is gone is no error."""
        sending = Sending(self._start + upload.path, upload.id, upload.size_bytes)
        self._tries.do(lambda: self._bucket.abandon(sending), "delete")

    def _changed(self, path: str) -> StoreChangedError:
        return StoreChangedError(f"{path} of {self._address} was changed by another run", hint="try again")

    def _find_conditions(self) -> bool:
        """Whether the store refuses a write whose condition does not hold, found out with an object of no use."""
        # Not in a folder: one that a kill leaves would be a model in the fixed layout.
        key = f"{self._start}.conditions-{uuid4().hex}"
        self._tries.do(lambda: self._bucket.put_always(key, b""), "write")
        try:
            return all(self._is_refused(key, expected) for expected in (None, "0" * 32))
        finally:
            self._tries.do(lambda: self._bucket.delete([key]), "delete")

    def _is_refused(self, key: str, expected: str | None) -> bool:
        try:
            self._tries.attempt(lambda: self._bucket.put(key, b"", expected=expected), "write")
        except RefusedError as refused:
            refusal = refused.refusal
        else:
            return False
        if not (refusal.is_changed or refusal.knows_no_conditions):
            raise refusal.error
        return refusal.is_changed

    def _write_and_look(self, path: str, content: bytes, expected: str | None) -> SmallFile:
        before = self.read(path)
        if (before.tag if before else None) != expected:
            raise self._changed(path)
        self._tries.do(lambda: self._bucket.put_always(self._start + path, content), "write")
        after = self.read(path)
        if after is None or after.content != content:
            raise self._changed(path)
        return after

    def _receive(
        self, path: str, target: Path, start: int, tag: str | None, on_bytes: OnBytes
    ) -> tuple[int, str | None]:
        """Receive a range to its place in a file, going on where a connection broke; the object's size and tag."""
        position = reached = start
        total = 0

        def write(piece: bytes) -> None:
            nonlocal position, reached
            writer.write(piece)
            position += len(piece)
            on_bytes(max(position - reached, 0))
            reached = max(position, reached)

        def attempt() -> None:
            nonlocal position, tag, total
            # One byte again, so that no range is empty.
            position = max(start, reached - 1)
            writer.seek(position)
            received = self._bucket.receive(self._start + path, position, start + _RANGE_BYTES, tag, write)
            if received is None:
                raise EndpointError(
                    f"{self._address}/{path} is gone", hint="check its name, or whether another run removed it"
                )
            total, tag = received.size_bytes, received.tag

        held = self._budget.holding(self._bucket.receiving_bytes)
        with held, destination_errors(target.parent), target.open("r+b") as writer:
            self._tries.do(attempt, "read", on_bytes, lambda: reached)
        return total, tag


def open_part_store(address: StoreAddress, bucket: PartBucket, prefix: str) -> ObjectStore:
    """A store in a bucket that takes parts."""
    tries, budget = Persistence(bucket), ByteBudget(_IN_MEMORY_BYTES)
    return ObjectStore(address, bucket, prefix, PartUploads(bucket, tries, budget), tries, budget)


def open_stream_store(address: StoreAddress, bucket: StreamBucket, prefix: str) -> ObjectStore:
    """A store in a bucket that takes streams."""
    tries, budget = Persistence(bucket), ByteBudget(_IN_MEMORY_BYTES)
    return ObjectStore(address, bucket, prefix, StreamUploads(bucket, tries, budget), tries, budget)
