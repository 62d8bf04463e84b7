"""A folder as a store."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from store_behaviour import StoreBehaviour

from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.opening import open_store
from serve_deploy.stores.store import Store


@pytest.fixture
def open_empty(tmp_path: Path) -> Callable[[], Store]:
    """A store in a new folder that does not exist yet."""
    numbers = count()
    return lambda: open_store(StoreAddress("local", str(tmp_path / f"store-{next(numbers)}")))


class TestLocalStore(StoreBehaviour):
    """All that every store does."""
