"""Files of a snapshot into a local folder, each under its name only once it is what the manifest says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from serve_deploy.errors import VerificationError
from serve_deploy.files.copying import copy_file
from serve_deploy.files.moving import flush_to_disk
from serve_deploy.files.staging import destination_errors
from serve_deploy.progress import Progress
from serve_deploy.stores.backends.local import is_whole
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import OnBytes, SourceChangedError, Store
from serve_deploy.stores.transfer.contents import EMPTY_SHA256
from serve_deploy.stores.transfer.transfer import Tally, transfer


@dataclass(frozen=True)
class Source:
    """Where a snapshot's file is: the same content in a local file, by sha256, or below `prefix` in the store.

    Without a store, a local file that is not what its sha256 says was changed meanwhile.
    """

    store: Store | None
    prefix: str
    local: Mapping[str, Path]


@dataclass(frozen=True)
class Received:
    """What came from the store, and what was copied from a local file."""

    received_bytes: int
    copied_bytes: int


def receive(
    source: Source, files: Sequence[SnapshotFile], folder: Path, *, parts: Path, concurrency: int, progress: Progress
) -> Received:
    """Put the files into a folder, by their paths; what an earlier attempt left there whole is kept.

    They arrive in the folder `parts` of the same file system, which the caller removes. VerificationError where what
    arrives, twice, is not what the manifest says.
    """
    with destination_errors(folder):
        parts.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not is_whole(folder / file.path, file)]
    copied = [file for file in missing if file.sha256 in source.local]
    tally = Tally("receiving", sum(file.size_bytes for file in missing), progress)

    def place(file: SnapshotFile, on_bytes: OnBytes) -> None:
        with placing(folder / file.path, parts) as part:
            _fetch(source, file, part, on_bytes)

    missing.sort(key=lambda file: -file.size_bytes)
    transfer(missing, place, concurrency=concurrency, tally=tally)
    copied_bytes = sum(file.size_bytes for file in copied)
    return Received(sum(file.size_bytes for file in missing) - copied_bytes, copied_bytes)


@contextmanager
def placing(target: Path, parts: Path) -> Iterator[Path]:
    """A file to write in the folder `parts`, which takes its place at the end of the block, or goes."""
    part = parts / uuid4().hex
    try:
        yield part
        with destination_errors(target):
            flush_to_disk(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def copy_local(local: Mapping[str, Path], file: SnapshotFile, part: Path) -> bool:
    """Copy a local file of the same content, where there is one that still has it."""
    source = local.get(file.sha256)
    if source is None or not source.is_file():
        return False
    with destination_errors(part.parent):
        copy_file(source, part)
        if is_whole(part, file):
            return True
        part.unlink()
    return False


def _fetch(source: Source, file: SnapshotFile, part: Path, on_bytes: OnBytes) -> None:
    if file.sha256 == EMPTY_SHA256:
        with destination_errors(part.parent):
            part.touch()
        return
    if copy_local(source.local, file, part):
        on_bytes(file.size_bytes)
        return
    if source.store is None:
        raise SourceChangedError(source.local.get(file.sha256) or Path(file.path))
    for _attempt in range(2):
        source.store.download(f"{source.prefix}{file.path}", part, on_bytes)
        if is_whole(part, file):
            return
        part.unlink()
        on_bytes(-file.size_bytes)
    raise VerificationError(
        f"{file.path} in {source.store.address} is damaged: it is not the content that its manifest lists",
        hint=f"push it again, or see what else is damaged: serve check {source.store.address}"
        if source.prefix
        else "a push may be under way: pull again when it has ended, or push again",
    )
