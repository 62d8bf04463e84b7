"""S3 as a store: all that every store does, on two servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broken_network import broken_wire
from store_behaviour import LARGE, StoreBehaviour, describe
from store_servers import aws_environment

from serve_deploy.stores.address import parse_address
from serve_deploy.stores.backends.objects import ObjectStore, open_part_store
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.backends.s3 import S3Bucket
from serve_deploy.stores.store import Store, StoreChangedError


@pytest.fixture(autouse=True)
def credentials() -> Iterator[None]:
    """Those that the servers know."""
    with aws_environment():
        yield


class TestSeaweed(StoreBehaviour):
    """SeaweedFS."""

    @pytest.fixture
    def open_empty(self, seaweed: str, new_path: Callable[[], str]) -> Callable[[], Store]:
        """A store at a new path of its bucket."""
        return lambda: open_store(parse_address(f"s3://{seaweed}/models/{new_path()}"))

    def test_a_large_file_is_copied_in_parts(self, seaweed: str, new_path: Callable[[], str], tmp_path: Path) -> None:
        """None of them takes so long that the connection is given up; what is told of it is what the list says."""

        class Slow(S3Bucket):
            copied_bytes = 6 << 20

        path = new_path()
        address = parse_address(f"s3://{seaweed}/models/{path}")
        store = open_part_store(address, Slow(address), path)
        (tmp_path / "file").write_bytes(LARGE)
        sent = store.upload(tmp_path / "file", describe(LARGE), "one", lambda _count: None)
        copied = store.copy("one", "other", checksum=sent.checksum)
        assert copied
        assert copied.checksum == store.list_files("other")["other"].checksum
        assert copied.checksum.endswith("-3")
        store.download("other", tmp_path / "copied", lambda _count: None)
        assert (tmp_path / "copied").read_bytes() == LARGE


def _forget_conditions(piece: bytes) -> bytes:
    return piece.replace(b"If-None-Match:", b"X-Nothing:").replace(b"If-Match:", b"X-Nothing:")


class TestServerThatKnowsNoConditions:
    """moto, where the conditions get lost on the way."""

    @pytest.fixture
    def store(self, moto: str, new_path: Callable[[], str]) -> Iterator[Store]:
        """A store there."""
        with broken_wire(moto, change=_forget_conditions) as wire:
            yield open_store(parse_address(f"s3://{wire.url}/models/{new_path()}"))

    def test_it_is_said(self, store: Store, moto: str) -> None:
        """Once a write has shown it, and only there."""
        store.write("current.json", b"1", expected=None)
        knowing = open_store(parse_address(f"s3://{moto}/models/{store.address.location.partition('/')[2]}-other"))
        knowing.write("current.json", b"1", expected=None)
        assert isinstance(store, ObjectStore)
        assert isinstance(knowing, ObjectStore)
        assert "ignores conditions" in str(store.caution)
        assert knowing.caution is None
        assert [*store.list_files("")] == ["current.json"]

    @pytest.mark.parametrize("expected", [None, "0" * 32])
    def test_what_changed_before_the_write_is_seen(self, store: Store, expected: str | None) -> None:
        """By reading it first."""
        store.write("current.json", b"1", expected=None)
        with pytest.raises(StoreChangedError):
            store.write("current.json", b"2", expected=expected)
        found = store.read("current.json")
        assert found is not None
        assert found.content == b"1"


class TestMoto:
    """moto, which answers some conditions as AWS does and SeaweedFS does not."""

    @pytest.fixture
    def store(self, moto: str, new_path: Callable[[], str]) -> Store:
        """A store at a new path of its bucket."""
        return open_store(parse_address(f"s3://{moto}/models/{new_path()}"))

    test_written = StoreBehaviour.test_a_small_file_is_written_where_it_is_as_expected
    test_changed = StoreBehaviour.test_a_small_file_that_changed_is_not_written
    test_gone = StoreBehaviour.test_a_small_file_that_is_gone_is_not_written_again
    test_copied = StoreBehaviour.test_a_copy_of_what_is_gone_is_none
