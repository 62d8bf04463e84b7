"""Open a store by its address."""

from __future__ import annotations

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.store import Store


def open_store(address: StoreAddress) -> Store:
    """The store at an address, whichever snapshot it names; nothing is asked of it yet.

    UsageError where the library that it needs is not installed.
    """
    root = address.root
    match root.kind:
        case "local":
            from serve_deploy.stores.backends.local import LocalStore

            return LocalStore(root)
    raise UsageError(f"{address}: this kind of store cannot be opened")
