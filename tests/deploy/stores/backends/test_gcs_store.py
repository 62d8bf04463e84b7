"""Google Cloud Storage as a store: all that every store does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from store_behaviour import StoreBehaviour
from store_servers import gcs_environment

from serve_deploy.stores.address import parse_address
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.store import Store


@pytest.fixture(autouse=True)
def emulator(gcs: str) -> Iterator[None]:
    """Where it is."""
    with gcs_environment(gcs):
        yield


class TestGcs(StoreBehaviour):
    """fake-gcs-server."""

    @pytest.fixture
    def open_empty(self, new_path: Callable[[], str]) -> Callable[[], Store]:
        """A store at a new path of its bucket."""
        return lambda: open_store(parse_address(f"gs://models/{new_path()}"))
