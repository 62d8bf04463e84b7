"""A store's list of files against a snapshot's manifest."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from serve_deploy.stores.manifests.verification import FileProblem, ProblemKind, check_contents, check_listing
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile, digest_listing
from serve_deploy.stores.store import StoredFile

_FILE = SnapshotFile(path="digits/1/model.onnx", sha256="a" * 64, size_bytes=10, stored="etag:one")


def _snapshot(*files: SnapshotFile) -> Snapshot:
    return Snapshot(sha256=digest_listing((file.path, file.sha256) for file in files), files=files)


def _listed(files: Iterable[StoredFile]) -> dict[str, StoredFile]:
    return {file.path: file for file in files}


def test_a_file_with_its_size_and_checksum_is_verified() -> None:
    """Nothing is wrong, and nothing is left open."""
    checked = check_listing(_snapshot(_FILE), _listed([StoredFile(_FILE.path, 10, "etag:one")]))
    assert not checked.problems
    assert not checked.unverified


@pytest.mark.parametrize(
    ("stored", "kind", "message"),
    [
        ([], "missing", "it is missing"),
        ([StoredFile(_FILE.path, 9, "etag:one")], "size", "it has 9 bytes, and 10 were pushed"),
        (
            [StoredFile(_FILE.path, 10, "etag:two")],
            "checksum",
            "the store's checksum of it is not the one after the push",
        ),
    ],
)
def test_a_file_that_is_not_as_it_was_pushed_is_named(
    stored: list[StoredFile], kind: ProblemKind, message: str
) -> None:
    """Missing, of another size, or with another checksum."""
    assert check_listing(_snapshot(_FILE), _listed(stored)).problems == (FileProblem(_FILE.path, kind, message),)


@pytest.mark.parametrize("checksum", ["", "md5:one"], ids=["none", "of another kind"])
def test_without_a_checksum_to_compare_a_file_is_not_called_verified(checksum: str) -> None:
    """The right size alone proves nothing."""
    checked = check_listing(_snapshot(_FILE), _listed([StoredFile(_FILE.path, 10, checksum)]))
    assert checked.unverified == (_FILE.path,)
    assert not checked.problems


def test_a_file_that_was_pushed_without_a_checksum_is_not_called_verified() -> None:
    """A checksum that the store has now says nothing of what was pushed."""
    bare = _FILE.model_copy(update={"stored": ""})
    assert check_listing(_snapshot(bare), _listed([StoredFile(_FILE.path, 10, "etag:one")])).unverified


def test_a_file_that_the_snapshot_does_not_have_is_extra() -> None:
    """Triton would serve a version that nobody pushed."""
    listed = [StoredFile(_FILE.path, 10, "etag:one"), StoredFile("digits/2/model.onnx", 3)]
    (problem,) = check_listing(_snapshot(_FILE), _listed(listed)).problems
    assert (problem.path, problem.kind) == ("digits/2/model.onnx", "extra")


def test_content_that_was_not_pushed_is_named() -> None:
    """By its sha256."""
    (problem,) = check_contents(_snapshot(_FILE), [(_FILE.path, "b" * 64)])
    assert problem.path == _FILE.path
    assert not list(check_contents(_snapshot(_FILE), [(_FILE.path, "a" * 64)]))
