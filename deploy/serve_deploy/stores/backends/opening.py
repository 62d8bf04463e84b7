"""Open a store by its address."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.extras import install_command
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.store import Store


def open_store(address: StoreAddress) -> Store:
    """The store at an address, whichever snapshot it names; nothing is asked of it yet.

    UsageError where the library that it needs is not installed, or a file is in the place of a folder.
    """
    root = address.root
    match root.kind:
        case "local":
            return _open_folder(root)
        case "s3" | "gs" | "azure":
            return _open_bucket(root)
    raise UsageError(f"{address}: this kind of store cannot be opened")


def require_apart(repository: Path, store: StoreAddress) -> None:
    """UsageError where one is the other, or in the other: each would become a part of it."""
    if store.kind != "local":
        return
    one, other = repository.resolve(), Path(store.location).resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UsageError(
            f"the repository {repository} and the store {store.root} are one folder, or one is inside the other",
            hint="name a folder beside it",
        )


def _open_folder(address: StoreAddress) -> Store:
    from serve_deploy.stores.backends.local import LocalStore

    if Path(address.location).is_file():
        raise UsageError(f"{address} is a file, not a folder", hint="name the store's folder")
    return LocalStore(address)


def _open_bucket(address: StoreAddress) -> Store:
    from serve_deploy.stores.backends.objects import open_part_store, open_stream_store

    try:
        match address.kind:
            case "s3":
                from serve_deploy.stores.backends.s3 import S3Bucket

                return open_part_store(address, S3Bucket(address), address.location.partition("/")[2])
            case "gs":
                from serve_deploy.stores.backends.gcs import GcsBucket

                return open_stream_store(address, GcsBucket(address), address.location.partition("/")[2])
            case _:
                from serve_deploy.stores.backends.azure import AzureContainer

                return open_part_store(address, AzureContainer(address), "/".join(address.location.split("/")[2:]))
    except ImportError:
        raise UsageError(
            f"{address} needs a library that is not installed", hint=f"install it: {install_command(address.kind)}"
        ) from None
