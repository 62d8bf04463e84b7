"""A model repository as a user names it: a folder of this machine, or a store."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.snapshot import POINTER_NAME, SNAPSHOTS_FOLDER


def read_repository(text: str) -> Path | StoreAddress:
    """A folder, or the store that an address, or a local store's folder, names; UsageError where it is no address."""
    path = Path(text)
    if "://" in text:
        return parse_address(text)
    if is_local_store(path):
        return StoreAddress("local", text)
    if "@" in text and not path.exists():
        address = parse_address(text)
        if address.snapshot and is_local_store(Path(address.location)):
            return address
    return path


def is_local_store(path: Path) -> bool:
    """Whether a folder is a store with snapshots, and not a model repository."""
    return (path / POINTER_NAME).is_file() and (path / SNAPSHOTS_FOLDER).is_dir()


def require_folder(repository: Path | StoreAddress) -> Path:
    """The folder; UsageError where it is a store."""
    if isinstance(repository, StoreAddress):
        raise UsageError(f"{repository} is not on this machine", hint="pull it into a folder first")
    return repository
