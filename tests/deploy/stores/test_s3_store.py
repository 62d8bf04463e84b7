"""S3 as a store: all that every store does, on two servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from store_behaviour import StoreBehaviour
from store_servers import aws_environment

from serve_deploy.stores.address import parse_address
from serve_deploy.stores.opening import open_store
from serve_deploy.stores.store import Store


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


class TestMoto(StoreBehaviour):
    """moto, which looks at a condition and writes in two steps."""

    test_of_many_writers_at_once_one_wins = None  # type: ignore[assignment]

    @pytest.fixture
    def open_empty(self, moto: str, new_path: Callable[[], str]) -> Callable[[], Store]:
        """A store at a new path of its bucket."""
        return lambda: open_store(parse_address(f"s3://{moto}/models/{new_path()}"))
