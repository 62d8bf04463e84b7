"""Azure Blob Storage as a store: all that every store does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from store_behaviour import StoreBehaviour
from store_servers import AZURE_ACCOUNT, azure_environment

from serve_deploy.stores.address import parse_address
from serve_deploy.stores.opening import open_store
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
