"""Signed snapshots in stores: what a reader that requires a signature accepts, and what somebody else may do there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pushing import listing, pull, push
from repositories import add_model
from signing_pairs import Pair, make_pair

from serve_deploy.progress import silent
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import PASSPHRASE_VARIABLE, PullOptions, PushOptions, SigningOptions, TrustOptions
from serve_deploy.stores.pull.pull import pull_repository
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.signing.trust import SignatureError
from serve_deploy.stores.snapshot import digest_listing
from serve_deploy.stores.working_copy import working_copy

Serve = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The key that releases are signed with."""
    return make_pair(tmp_path_factory.mktemp("keys"), "release", passphrase=b"sesame")


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "sesame")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of two models."""
    add_model(tmp_path / "models", "digits")
    add_model(tmp_path / "models", "letters")
    return tmp_path / "models"


@pytest.fixture
def store(tmp_path: Path) -> StoreAddress:
    """A local store that does not exist yet."""
    return StoreAddress("local", str(tmp_path / "store"))


def push_signed(repository: Path, store: StoreAddress, pair: Pair, **options: Any) -> str:
    """The id of the snapshot that was pushed and signed."""
    signing = SigningOptions(sign_key=pair.private)
    return push_repository(PushOptions(repository=repository, store=store, signing=signing, **options)).snapshot


def pull_trusted(store: StoreAddress, folder: Path, pair: Pair) -> str | None:
    """Who signed, where what was pulled had to be signed by the key."""
    trust = TrustOptions(require_signature=(pair.public,))
    return pull_repository(PullOptions(store=store, repository=folder, trust=trust)).signed_by


@pytest.mark.parametrize("fixed", [False, True], ids=["snapshots", "fixed"])
def test_a_signed_snapshot_is_pulled(
    models: Path, store: StoreAddress, pair: Pair, tmp_path: Path, *, fixed: bool
) -> None:
    """The result says who signed."""
    push_signed(models, store, pair, fixed=fixed)
    assert pull_trusted(store, tmp_path / "pulled", pair) == "release.pub"
    assert listing(tmp_path / "pulled") == listing(models)


def test_an_unsigned_snapshot_is_refused_until_it_is_signed(
    models: Path, store: StoreAddress, pair: Pair, tmp_path: Path
) -> None:
    """Pushing it again with the key sends nothing and signs it."""
    push(models, store)
    with pytest.raises(SignatureError, match="is not signed"):
        pull_trusted(store, tmp_path / "pulled", pair)
    assert not (tmp_path / "pulled").exists()
    push_signed(models, store, pair)
    assert pull_trusted(store, tmp_path / "pulled", pair) == "release.pub"


def forge(store: StoreAddress, snapshot: str, path: str, content: bytes) -> str:
    """Do as somebody who may write to the store: a snapshot with another file, listed as it is, and named."""
    root = Path(store.location)
    manifest = json.loads((root / f"snapshots/{snapshot}.json").read_bytes())
    for file in manifest["files"]:
        if file["path"] == path:
            file |= {"sha256": sha256(content).hexdigest(), "size_bytes": len(content), "stored": ""}
    manifest["sha256"] = digest_listing((file["path"], file["sha256"]) for file in manifest["files"])
    forged = manifest["sha256"][:16]
    shutil.copytree(root / "snapshots" / snapshot, root / "snapshots" / forged)
    (root / "snapshots" / forged / path).unlink()
    (root / "snapshots" / forged / path).write_bytes(content)
    (root / f"snapshots/{forged}.json").write_text(json.dumps(manifest))
    (root / "current.json").write_text(json.dumps({"format": 1, "snapshot": forged, "previous": snapshot}))
    return forged


def test_a_forged_snapshot_is_refused_with_nothing_written(
    models: Path, store: StoreAddress, pair: Pair, tmp_path: Path
) -> None:
    """Without a signature, and with that of the snapshot that it was made from; without the key it would be pulled."""
    snapshot = push_signed(models, store, pair)
    forged = forge(store, snapshot, "digits/config.pbtxt", b"# worse")
    with pytest.raises(SignatureError, match=f"snapshot {forged} is not signed"):
        pull_trusted(store, tmp_path / "pulled", pair)
    folder = Path(store.location, "snapshots")
    shutil.copy(folder / f"{snapshot}.sigstore.json", folder / f"{forged}.sigstore.json")
    with pytest.raises(SignatureError, match=r"is of another digits/config\.pbtxt, by its sha256"):
        pull_trusted(store, tmp_path / "pulled", pair)
    assert not (tmp_path / "pulled").exists()
    assert pull(store, tmp_path / "pulled").signed_by is None


def test_a_key_does_not_sign_what_only_the_store_has(
    models: Path, store: StoreAddress, pair: Pair, tmp_path: Path
) -> None:
    """Somebody forged letters; a push of digits alone would take it over, and vouch for it."""
    snapshot = push_signed(models, store, pair)
    forge(store, snapshot, "letters/config.pbtxt", b"# worse")
    (models / "digits/config.pbtxt").write_bytes(b"# better")
    with pytest.raises(SignatureError, match=r"would vouch for what only the store has, of letters: .* is not signed"):
        push_signed(models, store, pair, models=("digits",))
    with pytest.raises(SignatureError, match="is not signed"):
        pull_trusted(store, tmp_path / "pulled", pair)


def test_a_working_copy_that_will_be_signed_starts_from_what_the_key_signed(
    models: Path, store: StoreAddress, pair: Pair
) -> None:
    """Packaging into a store receives the model's older versions, and pushes them again as its own."""
    snapshot = push_signed(models, store, pair)
    signing = SigningOptions(sign_key=pair.private)
    with working_copy(store, ["digits"], silent, signing=signing) as copy:
        assert copy.base is not None
    forge(store, snapshot, "digits/config.pbtxt", b"# worse")
    with (
        pytest.raises(SignatureError, match="would vouch for what only the store has, of digits, letters"),
        working_copy(store, ["digits"], silent, signing=signing),
    ):
        pass


def test_a_key_signs_again_what_it_has_signed(models: Path, store: StoreAddress, pair: Pair, tmp_path: Path) -> None:
    """A push of one model takes the others over from a snapshot that it signed itself."""
    push_signed(models, store, pair)
    (models / "digits/config.pbtxt").write_bytes(b"# better")
    push_signed(models, store, pair, models=("digits",))
    assert pull_trusted(store, tmp_path / "pulled", pair) == "release.pub"
    assert (tmp_path / "pulled/digits/config.pbtxt").read_bytes() == b"# better"


def test_a_fixed_layout_is_not_signed_with_what_only_the_store_has(
    models: Path, store: StoreAddress, pair: Pair
) -> None:
    """Models that the pusher does not have stay there, and would be listed."""
    push(models, store, fixed=True)
    shutil.rmtree(models / "letters")
    with pytest.raises(SignatureError, match="would vouch for what only the store has, of letters"):
        push_signed(models, store, pair, fixed=True)


def test_the_shell_refuses_in_words(models: Path, store: StoreAddress, pair: Pair, serve: Serve) -> None:
    """With exit code 8, and no passphrase in what is printed."""
    push(models, store)
    done = serve("pull", store, models.parent / "pulled", "--require-signature", pair.public)
    assert (done.returncode, "is not signed" in done.stderr) == (8, True), done.stderr
    environment = {**os.environ, PASSPHRASE_VARIABLE: "planted"}
    done = serve("push", models, store, "--sign-key", pair.private, env=environment)
    assert (done.returncode, "the passphrase of" in done.stderr) == (2, True), done.stderr
    assert "planted" not in done.stderr + done.stdout


def test_a_named_snapshot_is_verified_as_well(models: Path, store: StoreAddress, pair: Pair, tmp_path: Path) -> None:
    """Not only the current one."""
    old = push(models, store).snapshot
    (models / "digits/config.pbtxt").write_bytes(b"# better")
    push_signed(models, store, pair)
    with pytest.raises(SignatureError, match=f"snapshot {old} is not signed"):
        pull_trusted(replace(store, snapshot=old), tmp_path / "pulled", pair)
