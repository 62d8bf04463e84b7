"""A store in a bucket: what S3, Google Cloud Storage and Azure have in common."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from serve_deploy.errors import EndpointError
from serve_deploy.files.staging import destination_errors
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.bucket import Bucket, Doing, Sending
from serve_deploy.stores.backends.parts import ByteBudget, PartReader, in_threads
from serve_deploy.stores.backends.persistence import Persistence, RefusedError, Sleep
from serve_deploy.stores.snapshot import SNAPSHOTS_FOLDER, SnapshotFile
from serve_deploy.stores.store import OnBytes, SmallFile, SourceChangedError, StoreChangedError, StoredFile

T = TypeVar("T")
_IN_MEMORY_BYTES = 96 << 20
_PARTS_AT_ONCE = 4
_RANGE_BYTES = 16 << 20


class ObjectStore:
    """Files as the objects of a bucket whose keys begin with the store's path."""

    def __init__(self, address: StoreAddress, bucket: Bucket, prefix: str, sleep: Sleep = time.sleep) -> None:
        self._address, self._bucket = address, bucket
        self._start = f"{prefix}/" if prefix else ""
        self._tries = Persistence(bucket, sleep)
        self._budget = ByteBudget(_IN_MEMORY_BYTES)
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
            page = self._do(partial(self._bucket.list_page, self._start + prefix, start), "list")
            for file in page.files:
                path = file.path.removeprefix(self._start)
                # Consoles make an empty object for a folder.
                if not path.endswith("/"):
                    files[path] = replace(file, path=path)
            if (start := page.next) is None:
                return files

    def read(self, path: str) -> SmallFile | None:
        """A small file, or None where there is none."""
        return self._do(lambda: self._bucket.get(self._start + path), "read")

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
        try:
            reader = PartReader(source, file, self._part_bytes(file))
        except OSError:
            raise SourceChangedError(source) from None
        try:
            if reader.count == 1:
                stored = self._send_whole(reader, file, self._start + path, on_bytes)
            else:
                stored = self._send_parts(reader, file, self._start + path, on_bytes)
        finally:
            reader.close()
        return replace(stored, path=path)

    def copy(self, source: str, target: str) -> StoredFile | None:
        """Copy inside the store; None where the source is gone."""
        stored = self._do(lambda: self._bucket.copy(self._start + source, self._start + target), "copy")
        return replace(stored, path=target) if stored else None

    def download(self, path: str, target: Path, on_bytes: OnBytes) -> None:
        """Receive a file into a local one that does not exist yet; large ones in ranges, several at once."""
        with destination_errors(target.parent):
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            total, tag = self._receive(path, handle, 0, None, on_bytes)
            ranges = iter(range(_RANGE_BYTES, total, _RANGE_BYTES))

            def work(tell: OnBytes) -> int | None:
                start = next(ranges, None)
                return None if start is None else self._receive(path, handle, start, tag, tell)[0]

            if total > _RANGE_BYTES:
                in_threads(work, on_bytes, _PARTS_AT_ONCE)
        finally:
            os.close(handle)

    def delete(self, paths: Sequence[str]) -> None:
        """Remove files; one that is not there is no error."""
        if paths:
            self._do(lambda: self._bucket.delete([self._start + path for path in paths]), "delete")

    def _do(self, call: Callable[[], T], doing: Doing, on_bytes: OnBytes | None = None) -> T:
        try:
            return self._tries.attempt(call, doing, on_bytes)
        except RefusedError as refused:
            error = refused.refusal.error
        raise error

    def _changed(self, path: str) -> StoreChangedError:
        return StoreChangedError(f"{path} of {self._address} was changed by another run", hint="try again")

    def _find_conditions(self) -> bool:
        """Whether the store refuses a write whose condition does not hold, found out with an object of no use."""
        key = f"{self._start}{SNAPSHOTS_FOLDER}/.conditions-{uuid4().hex}"
        self._do(lambda: self._bucket.put_always(key, b""), "write")
        try:
            return all(self._is_refused(key, expected) for expected in (None, "0" * 32))
        finally:
            self._do(lambda: self._bucket.delete([key]), "delete")

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
        self._do(lambda: self._bucket.put_always(self._start + path, content), "write")
        after = self.read(path)
        if after is None or after.content != content:
            raise self._changed(path)
        return after

    def _part_bytes(self, file: SnapshotFile) -> int:
        # Stores take 10,000 parts and more.
        return max(self._bucket.part_bytes, -(-file.size_bytes // 10_000))

    def _send_whole(self, reader: PartReader, file: SnapshotFile, key: str, on_bytes: OnBytes) -> StoredFile:
        with self._budget.holding(file.size_bytes):
            part = reader.next()
            content = part.content if part else b""
            return self._do(lambda: self._bucket.send(key, content, file.sha256, on_bytes), "write", on_bytes)

    def _send_parts(self, reader: PartReader, file: SnapshotFile, key: str, on_bytes: OnBytes) -> StoredFile:
        sending = self._do(lambda: self._bucket.begin(key, file.size_bytes), "write", on_bytes)

        def work(tell: OnBytes) -> tuple[int, object] | None:
            with self._budget.holding(self._part_bytes(file)):
                if (part := reader.next()) is None:
                    return None
                return part.number, self._do(lambda: self._bucket.send_part(sending, part, tell), "write", tell)

        try:
            receipts = in_threads(work, on_bytes, 1 if sending.in_order else _PARTS_AT_ONCE)
            in_turn = [receipt for _, receipt in sorted(receipts, key=lambda each: each[0])]
            return self._do(lambda: self._bucket.finish(sending, in_turn), "write", on_bytes)
        except BaseException:
            self._abandon(sending)
            raise

    def _abandon(self, sending: Sending) -> None:
        try:
            self._bucket.abandon(sending)
        except self._bucket.errors:
            # What matters is why it is abandoned; the store's own rule for unfinished uploads takes the rest.
            return

    def _receive(
        self, path: str, handle: int, start: int, tag: str | None, on_bytes: OnBytes
    ) -> tuple[int, str | None]:
        """Receive a range to its place in a file, going on where a connection broke; the object's size and tag."""
        position, end, total = start, start + _RANGE_BYTES, 0

        def attempt() -> None:
            nonlocal position, tag, total
            if tag is not None and total and position >= min(end, total):
                return
            with self._bucket.receive(self._start + path, position, end, tag) as received:
                if received is None:
                    raise EndpointError(f"{self._address}/{path} is gone", hint="another run may have removed it")
                total, tag = received.total_bytes, received.tag
                for piece in received.pieces:
                    with destination_errors(Path(path)):
                        position += os.pwrite(handle, piece, position)
                    on_bytes(len(piece))

        self._do(attempt, "read", on_bytes)
        return total, tag
