"""A folder as a store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from store_behaviour import StoreBehaviour

from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.store import Store


@pytest.fixture
def open_empty(tmp_path: Path) -> Callable[[], Store]:
    """A store in a new folder that does not exist yet."""
    numbers = count()
    return lambda: open_store(StoreAddress("local", str(tmp_path / f"store-{next(numbers)}")))


class TestLocalStore(StoreBehaviour):
    """All that every store does."""


def test_a_folder_may_go_while_another_run_writes_into_it(open_empty: Callable[[], Store]) -> None:
    """The last file's removal takes the folder with it, at any moment of the other's write."""
    store, ended = open_empty(), threading.Event()

    def clear_up() -> None:
        while not ended.is_set():
            store.delete(["marks/gone"])

    with ThreadPoolExecutor(3) as pool:
        clearing = [pool.submit(clear_up) for _ in range(3)]
        try:
            for number in range(400):
                store.write(f"marks/{number}", b"{}", expected=None)
                store.delete([f"marks/{number}"])
        finally:
            ended.set()
    assert [each.exception() for each in clearing] == [None] * 3
