"""What every store does, whatever is behind it: each backend's tests subclass this and say how to open one."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from serve_deploy.errors import EndpointError
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import prune
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.store import SourceChangedError, Store, StoreChangedError

LARGE = random.Random(7).randbytes(17 << 20)  # more than one part of an upload, and than one range of a download


def describe(content: bytes) -> SnapshotFile:
    """A file of a snapshot with this content."""
    return SnapshotFile(path="m/1/model.onnx", sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


class StoreBehaviour:
    """Subclass it with a fixture `open_empty` that opens a store which is empty, by a new address each time."""

    @pytest.fixture
    def store(self, open_empty: Callable[[], Store]) -> Store:
        """An empty store."""
        return open_empty()

    @pytest.fixture
    def send(self, store: Store, tmp_path: Path) -> Callable[[str, bytes], list[int]]:
        """Upload content to a path; what was told of the bytes."""

        def send(path: str, content: bytes) -> list[int]:
            told: list[int] = []
            source = tmp_path / "source"
            source.write_bytes(content)
            store.upload(source, describe(content), path, told.append)
            return told

        return send

    @pytest.fixture
    def receive(self, store: Store, tmp_path: Path) -> Callable[[str], bytes]:
        """Download a path's content."""

        def receive(path: str) -> bytes:
            target = tmp_path / f"received-{path.replace('/', '-')}"
            store.download(path, target, lambda _count: None)
            return target.read_bytes()

        return receive

    def test_an_empty_store_has_no_files(self, store: Store) -> None:
        """Nothing is listed, and nothing is read."""
        assert dict(store.list_files("snapshots/")) == {}
        assert store.read("current.json") is None

    @pytest.mark.parametrize("content", [b"", b"weights", LARGE], ids=["empty", "small", "large"])
    def test_what_is_sent_is_received(self, send, receive, content: bytes) -> None:  # type: ignore[no-untyped-def]
        """Byte by byte, whatever its size."""
        send("snapshots/a/m/1/model.onnx", content)
        assert receive("snapshots/a/m/1/model.onnx") == content

    def test_all_bytes_are_told(self, send, store: Store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        """While they are sent, and while they are received."""
        told: list[int] = []
        assert sum(send("snapshots/a/large", LARGE)) == len(LARGE)
        store.download("snapshots/a/large", tmp_path / "large", told.append)
        assert sum(told) == len(LARGE)

    def test_listing_has_sizes_below_a_folder(self, send, store: Store) -> None:  # type: ignore[no-untyped-def]
        """Paths from the store's root; a folder whose name only begins alike is another one."""
        for path in ("snapshots/a/m/1/x", "snapshots/a/n", "snapshots/ab/m"):
            send(path, path.encode())
        listed = store.list_files("snapshots/a/")
        assert {path: file.size_bytes for path, file in listed.items()} == {
            "snapshots/a/m/1/x": 17,
            "snapshots/a/n": 13,
        }

    def test_an_upload_says_what_listing_says(self, store: Store, tmp_path: Path) -> None:
        """The same checksum, so that a manifest can be compared with a listing later."""
        (tmp_path / "source").write_bytes(LARGE)
        stored = store.upload(tmp_path / "source", describe(LARGE), "snapshots/a/large", lambda _count: None)
        listed = store.list_files("snapshots/")["snapshots/a/large"]
        assert (stored.path, stored.size_bytes, stored.checksum) == (listed.path, listed.size_bytes, listed.checksum)

    def test_a_copy_has_the_content(self, send, receive, store: Store) -> None:  # type: ignore[no-untyped-def]
        """Or the store says that it cannot copy."""
        send("snapshots/a/large", LARGE)
        copied = store.copy("snapshots/a/large", "snapshots/b/large")
        if copied is not None:
            listed = store.list_files("snapshots/b/")["snapshots/b/large"]
            assert (copied.path, copied.size_bytes, copied.checksum) == (
                listed.path,
                listed.size_bytes,
                listed.checksum,
            )
            assert receive("snapshots/b/large") == LARGE

    def test_a_copy_is_of_what_was_stored(self, send, store: Store) -> None:  # type: ignore[no-untyped-def]
        """Another content is not copied, where the store has checksums; the right one is, however it was sent."""
        send("snapshots/a/large", LARGE)
        checksum = store.list_files("snapshots/a/")["snapshots/a/large"].checksum
        if checksum:
            assert store.copy("snapshots/a/large", "snapshots/b/large", checksum=checksum) is not None
            send("snapshots/a/large", LARGE[::-1])
            assert store.copy("snapshots/a/large", "snapshots/c/large", checksum=checksum) is None
            assert dict(store.list_files("snapshots/c/")) == {}

    def test_a_copy_of_what_is_gone_is_none(self, store: Store) -> None:
        """The caller sends the file instead."""
        assert store.copy("snapshots/a/gone", "snapshots/b/gone") is None

    def test_a_file_that_changed_since_it_was_hashed_is_refused(self, store: Store, tmp_path: Path) -> None:
        """And nothing of it is stored."""
        (tmp_path / "source").write_bytes(b"other content")
        with pytest.raises(SourceChangedError):
            store.upload(tmp_path / "source", describe(b"what was hashed"), "snapshots/a/file", lambda _count: None)
        assert dict(store.list_files("snapshots/")) == {}

    def test_a_transfer_ends_when_its_listener_raises(self, store: Store, tmp_path: Path) -> None:
        """As Ctrl-C does; nothing of the file is stored."""

        def stop(_count: int) -> None:
            raise KeyboardInterrupt

        (tmp_path / "source").write_bytes(LARGE)
        with pytest.raises(KeyboardInterrupt):
            store.upload(tmp_path / "source", describe(LARGE), "snapshots/a/large", stop)
        assert dict(store.list_files("snapshots/")) == {}

    def test_a_missing_file_cannot_be_received(self, store: Store, tmp_path: Path) -> None:
        """An error in words that names it."""
        with pytest.raises(EndpointError, match="gone"):
            store.download("snapshots/a/gone", tmp_path / "gone", lambda _count: None)

    def test_a_small_file_is_written_where_it_is_as_expected(self, store: Store) -> None:
        """New, then changed by who read it."""
        first = store.write("current.json", b"1", expected=None)
        second = store.write("current.json", b"2", expected=first.tag)
        assert store.read("current.json") == second
        assert second.content == b"2"

    @pytest.mark.parametrize("stale", [True, False])
    def test_a_small_file_that_changed_is_not_written(self, store: Store, stale: bool) -> None:
        """Whether the writer knew an older one or none."""
        first = store.write("current.json", b"1", expected=None)
        store.write("current.json", b"2", expected=first.tag)
        with pytest.raises(StoreChangedError):
            store.write("current.json", b"3", expected=first.tag if stale else None)
        found = store.read("current.json")
        assert found is not None
        assert found.content == b"2"

    def test_a_small_file_that_is_gone_is_not_written_again(self, store: Store) -> None:
        """The writer expected one."""
        first = store.write("current.json", b"1", expected=None)
        store.delete(["current.json"])
        with pytest.raises(StoreChangedError):
            store.write("current.json", b"2", expected=first.tag)

    def test_of_many_writers_at_once_one_wins(self, store: Store) -> None:
        """Each expects what all have read; the file is then the winner's."""
        before, won, barrier = store.write("current.json", b"-", expected=None), [], threading.Barrier(8)

        def write(content: bytes) -> None:
            barrier.wait()
            try:
                store.write("current.json", content, expected=before.tag)
            except StoreChangedError:
                return
            won.append(content)

        threads = [threading.Thread(target=write, args=(str(number).encode(),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = store.read("current.json")
        assert found is not None
        assert won == [found.content]

    def test_deleting_is_no_error_twice(self, send, store: Store) -> None:  # type: ignore[no-untyped-def]
        """Another run may have done it."""
        send("snapshots/a/m/1/model.onnx", b"weights")
        for _attempt in range(2):
            store.delete(["snapshots/a/m/1/model.onnx", "snapshots/a/none"])
        assert dict(store.list_files("snapshots/")) == {}

    @pytest.mark.parametrize("name", ["a b+c%20.bin", "größe-模型.bin", "#?&=.bin"])
    def test_names_are_kept(self, send, receive, store: Store, name: str) -> None:  # type: ignore[no-untyped-def]
        """Blanks, signs that URLs give a meaning, and letters of any language."""
        send(f"snapshots/a/{name}", name.encode())
        assert list(store.list_files("snapshots/a/")) == [f"snapshots/a/{name}"]
        assert receive(f"snapshots/a/{name}") == name.encode()

    def test_an_old_snapshot_is_removed_whole(self, store: Store, tmp_path: Path) -> None:
        """Of three that were pushed the last two stay, with nothing of the first, nor of the marks of these runs."""
        names = []
        for number in range(3):
            model = tmp_path / str(number) / "m"
            (model / "1").mkdir(parents=True)
            (model / "config.pbtxt").write_text('platform: "onnxruntime_onnx"\n')
            (model / "1" / "model.onnx").write_text(str(number))
            names.append(push_repository(PushOptions(repository=model.parent, store=store.address)).snapshot)
        # Pushed within a second, they may be of one age to the store.
        result = prune(PruneOptions(repository=store.address, keep=1, ignore_releases=True))
        assert [each.id for each in result.snapshots] == names[:1]
        left = {path.split("/")[1].partition(".")[0] for path in store.list_files("snapshots/")}
        assert left == set(names[1:])
        assert [path for path in store.list_files("") if path.startswith(("claims/", "removals/"))] == []
