"""A repository as a user names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import SigningOptions
from serve_deploy.stores.repository_option import check_signing, read_repository, require_folder


@pytest.fixture(params=["current.json", "snapshot.json"], ids=["snapshots", "fixed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that was pushed to, in either layout."""
    (tmp_path / request.param).touch()
    return tmp_path


def test_an_address_is_a_store() -> None:
    """Whether anything is there is not asked yet."""
    assert read_repository("s3://bucket/models@0123") == StoreAddress("s3", "bucket/models", snapshot="0123")


def test_a_folder_that_was_pushed_to_is_a_store(store: Path) -> None:
    """Triton could not read it as it stands."""
    assert read_repository(str(store)) == StoreAddress("local", str(store))


def test_a_snapshot_of_a_local_store_is_named_as_in_any_other(store: Path) -> None:
    """By @ and how its id begins."""
    assert read_repository(f"{store}@0123") == StoreAddress("local", str(store), snapshot="0123")


@pytest.mark.parametrize("name", ["models", "models@0123", "no/such/folder"])
def test_any_other_path_is_a_folder(tmp_path: Path, name: str) -> None:
    """Also where it has an @ in its name, or is not there."""
    assert read_repository(str(tmp_path / name)) == tmp_path / name


def test_an_address_that_no_store_has_is_refused() -> None:
    """It is not taken for a folder of that name."""
    with pytest.raises(UsageError, match="no store is read from ftp://"):
        read_repository("ftp://host/models")


def test_only_what_is_pushed_is_signed(tmp_path: Path) -> None:
    """Whoever asks for a signature must not believe that a folder has one."""
    signing = SigningOptions(sign_key=tmp_path / "key.pem")
    check_signing(StoreAddress("s3", "bucket"), signing)
    check_signing(tmp_path, SigningOptions())
    with pytest.raises(UsageError, match="are for stores"):
        check_signing(tmp_path, signing)


def test_a_store_is_no_folder() -> None:
    """Who needs one says so."""
    with pytest.raises(UsageError, match="not on this machine"):
        require_folder(StoreAddress("s3", "bucket"))
