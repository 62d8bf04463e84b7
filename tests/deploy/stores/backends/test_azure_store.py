"""Azure Blob Storage as a store: all that every store does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import generate_container_sas
from store_behaviour import StoreBehaviour, describe
from store_servers import AZURE_ACCOUNT, AZURE_KEY, azure_environment, environment

from serve_deploy.stores.address import parse_address
from serve_deploy.stores.backends.azure_access import make_transport
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import make_snapshot, read_snapshot, stored_path, write_snapshot
from serve_deploy.stores.manifests.verification import check_listing
from serve_deploy.stores.snapshot import Snapshot
from serve_deploy.stores.store import Store


@pytest.fixture(autouse=True)
def credentials(azurite: str) -> Iterator[None]:
    """Those of Azurite."""
    with azure_environment(azurite):
        yield


class TestAzurite(StoreBehaviour):
    """Azurite."""

    @pytest.fixture
    def open_empty(self, new_path: Callable[[], str]) -> Callable[[], Store]:
        """A store at a new path of its container."""
        return lambda: open_store(parse_address(f"as://{AZURE_ACCOUNT}/models/{new_path()}"))

    def test_the_same_push_at_once_leaves_nothing_that_looks_damaged(self, store: Store, tmp_path: Path) -> None:
        """Azure gives each writing its own ETag: the later manifest has those of the later writing, not of its own."""
        (tmp_path / "file").write_bytes(b"weights")
        path, file = "m/1/model.onnx", describe(b"weights")
        snapshot = make_snapshot([file])
        place = stored_path(snapshot.id, path)

        def send() -> Snapshot:
            stored = store.upload(tmp_path / "file", file, place, lambda _count: None)
            return make_snapshot([file.model_copy(update={"stored": stored.checksum})])

        ours, theirs = send(), send()
        write_snapshot(store, theirs)
        write_snapshot(store, ours)
        complete, listed = read_snapshot(store, snapshot.id), store.list_files(place)
        assert complete
        assert check_listing(complete, {path: listed[place]}).problems == ()

    def test_a_token_lets_in_to_what_is_copied(self, azurite: str, store: Store, tmp_path: Path) -> None:
        """Azurite uses it for the source where it is given; Azure copies nothing without it."""
        token = generate_container_sas(
            AZURE_ACCOUNT, "models", account_key=AZURE_KEY, permission="rcwdl",
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )  # fmt: skip
        endpoint = {"AZURE_STORAGE_SERVICE_ENDPOINT": f"{azurite}/{AZURE_ACCOUNT}"}
        with environment(("AZURE_",), {"AZURE_STORAGE_SAS_TOKEN": f"?{token}", **endpoint}):
            by_token = open_store(store.address)
            written = by_token.write("one", b"weights", expected=None)
            assert by_token.copy("one", "other", checksum=f"etag:{written.tag}")
            assert by_token.read("other")


def test_no_connection_is_waited_for_longer_than_a_minute() -> None:
    """The library forgets what its client was told where it is given a transport, and waits for five."""
    config = make_transport().connection_config
    assert (config.timeout, config.read_timeout) == (10, 60)
    assert config.data_block_size >= 1 << 20
