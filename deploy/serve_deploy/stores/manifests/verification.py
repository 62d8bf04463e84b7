"""Compare what a store lists with what a snapshot's manifest says, without reading a file. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import StoredFile

ProblemKind = Literal["missing", "size", "checksum", "content", "extra"]


@dataclass(frozen=True)
class FileProblem:
    """A file that is not as the snapshot says, by its path below the repository; an extra one only the store has."""

    path: str
    kind: ProblemKind
    message: str


@dataclass(frozen=True)
class ListingCheck:
    """`problems` are certain; `unverified` files have the right size, and the store has no checksum to compare."""

    problems: tuple[FileProblem, ...]
    unverified: tuple[str, ...]


def check_listing(snapshot: Snapshot, listed: Mapping[str, StoredFile]) -> ListingCheck:
    """Every file of the manifest against the store's own list of them, by the same paths; what is extra, too."""
    problems, unverified = [], []
    known = {file.path for file in snapshot.files}
    for file in snapshot.files:
        stored = listed.get(file.path)
        problem = find_problem(file, stored)
        if problem:
            problems.append(problem)
        elif stored is None or not _are_comparable(file.stored, stored.checksum):
            unverified.append(file.path)
    problems += [
        FileProblem(path, "extra", "the snapshot does not have this file") for path in sorted(listed.keys() - known)
    ]
    return ListingCheck(tuple(problems), tuple(unverified))


def check_contents(snapshot: Snapshot, contents: Iterable[tuple[str, str]]) -> Iterator[FileProblem]:
    """Of (path, sha256) pairs, those whose content is not the snapshot's."""
    expected = {file.path: file.sha256 for file in snapshot.files}
    for path, sha256 in contents:
        if sha256 != expected[path]:
            yield FileProblem(path, "content", f"its content is not what was pushed: its sha256 is {sha256[:16]}…")


def find_problem(file: SnapshotFile, stored: StoredFile | None) -> FileProblem | None:
    """What a listing shows of a file that is not as its manifest says."""
    if stored is None:
        return FileProblem(file.path, "missing", "it is missing")
    if stored.size_bytes != file.size_bytes:
        message = f"it has {stored.size_bytes:,} bytes, and {file.size_bytes:,} were pushed"
        return FileProblem(file.path, "size", message)
    if _are_comparable(file.stored, stored.checksum) and file.stored != stored.checksum:
        return FileProblem(file.path, "checksum", "the store's checksum of it is not the one after the push")
    return None


def _are_comparable(expected: str, found: str) -> bool:
    """Whether both are checksums of one kind, such as two that begin with etag:."""
    kind, separator, _ = expected.partition(":")
    return bool(separator) and found.startswith(f"{kind}:")
