"""Packaging into a store: what it starts from, and what others push meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from pushing import push
from repositories import add_ensemble, add_model

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.progress import silent
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.manifests.manifests import BaseChangedError
from serve_deploy.stores.options import SigningOptions
from serve_deploy.stores.pull.readers import read_current
from serve_deploy.stores.working_copy import model_address, working_copy

_UNSIGNED = SigningOptions()


@pytest.fixture
def store(tmp_path: Path) -> StoreAddress:
    """A local store that does not exist yet."""
    return StoreAddress("local", str(tmp_path / "store"))


@pytest.fixture
def models(tmp_path: Path, store: StoreAddress) -> Path:
    """Two models, in the store too."""
    repository = tmp_path / "models"
    add_model(repository, "digits")
    add_model(repository, "letters", packaged=False)
    push(repository, store)
    return repository


def _models_of(store: StoreAddress) -> tuple[str, ...]:
    current = read_current(store)
    return current.models if current else ()


def _edit(repository: Path, model: str) -> None:
    with (repository / model / "config.pbtxt").open("a") as config:
        config.write("\n# edited")


def test_a_store_without_anything_is_begun(store: StoreAddress) -> None:
    """The first model is packaged into an empty folder."""
    with working_copy(store, ["digits"], silent) as copy:
        assert list(copy.folder.iterdir()) == []
        add_model(copy.folder, "digits")
        pushed = copy.push(["digits"], _UNSIGNED)
    assert _models_of(store) == ("digits",)
    assert (Path(model_address(pushed, "digits")) / "config.pbtxt").is_file()


def test_a_snapshot_is_refused_before_the_work(store: StoreAddress) -> None:
    """A push to it would be, after minutes of packaging."""
    named = StoreAddress("local", store.location, snapshot="93f4")
    with pytest.raises(UsageError, match="names a snapshot"), working_copy(named, ["digits"], silent):
        pytest.fail("it was opened")


@pytest.mark.usefixtures("models")
def test_only_the_named_models_are_received_and_the_others_stay(store: StoreAddress) -> None:
    """What is not known to the store is no error: it is new."""
    with working_copy(store, ["digits", "forest"], silent) as copy:
        assert [path.name for path in copy.folder.iterdir()] == ["digits"]
        add_model(copy.folder, "forest", packaged=False)
        copy.push(["forest"], _UNSIGNED)
    assert _models_of(store) == ("digits", "forest", "letters")


def test_an_ensemble_comes_with_its_members(models: Path, store: StoreAddress) -> None:
    """It could not be tried without them."""
    add_ensemble(models, "inner", "letters")
    add_ensemble(models, "outer", "inner")
    push(models, store)
    with working_copy(store, ["outer"], silent) as copy:
        assert copy.models == ("inner", "letters", "outer")


def test_a_push_of_another_model_meanwhile_is_kept(models: Path, store: StoreAddress) -> None:
    """Two people package two models at once: both are there."""
    with working_copy(store, ["digits"], silent) as copy:
        add_model(models, "forest", packaged=False)
        push(models, store, "forest")
        _edit(copy.folder, "digits")
        copy.push(["digits"], _UNSIGNED)
    assert _models_of(store) == ("digits", "forest", "letters")


def test_a_push_of_the_same_model_meanwhile_is_not_lost(models: Path, store: StoreAddress) -> None:
    """The later one is refused, and the store is as the first left it."""
    with working_copy(store, ["digits"], silent) as copy:
        _edit(models, "digits")
        first = push(models, store, "digits").snapshot
        _edit(copy.folder, "digits")
        add_model(copy.folder, "forest")
        with pytest.raises(BaseChangedError, match="another push changed digits"):
            copy.push(["forest"], _UNSIGNED)
    current = read_current(store)
    assert current is not None
    assert current.id == first


@pytest.mark.usefixtures("models")
def test_an_error_names_the_store_and_nothing_is_left(store: StoreAddress) -> None:
    """Not the folder, which is gone."""
    folders = []

    def fail() -> None:
        with working_copy(store, ["digits"], silent) as copy:
            folders.append(copy.folder)
            raise DestinationError(f"{copy.folder}/digits/1 already exists", hint=f"look into {copy.folder}")

    with pytest.raises(DestinationError) as caught:
        fail()
    assert (caught.value.message, caught.value.hint) == (f"{store}/digits/1 already exists", f"look into {store}")
    assert not folders[0].parent.exists()


def test_a_fixed_layout_stays_one(tmp_path: Path, store: StoreAddress) -> None:
    """Whoever polls one path goes on reading there."""
    add_model(tmp_path / "models", "digits")
    push(tmp_path / "models", store, fixed=True)
    with working_copy(store, ["forest"], silent) as copy:
        add_model(copy.folder, "forest")
        pushed = copy.push(["forest"], _UNSIGNED)
    assert model_address(pushed, "forest") == f"{store}/forest"
    assert (Path(store.location) / "forest" / "config.pbtxt").is_file()
