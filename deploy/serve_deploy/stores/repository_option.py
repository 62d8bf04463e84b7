"""A model repository as a user names it: a folder of this machine, or a store."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.options import SigningOptions


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
    """Whether a folder was pushed to, and is no model repository of its own."""
    from serve_deploy.stores.snapshot import FIXED_NAME, POINTER_NAME

    return any((path / name).is_file() for name in (POINTER_NAME, FIXED_NAME))


def require_folder(repository: Path | StoreAddress) -> Path:
    """The folder; UsageError where it is a store."""
    if isinstance(repository, StoreAddress):
        raise UsageError(f"{repository} is not on this machine", hint="pull it into a folder first")
    return repository


def check_signing(repository: Path | StoreAddress, signing: SigningOptions) -> None:
    """UsageError where a folder is to be signed: only what is pushed is."""
    if signing != SigningOptions() and not isinstance(repository, StoreAddress):
        raise UsageError("`sign_key` and `sign_keyless` are for stores", hint="serve push signs what it sends")
