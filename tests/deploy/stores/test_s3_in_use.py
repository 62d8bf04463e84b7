"""Commands that take a repository, with one in S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pushing import push
from repositories import DIGITS, add_model
from store_servers import aws_environment
from typer.testing import CliRunner

from serve_cli.app import app
from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.store_check import StoreCheck, check_store
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.backends.objects import ObjectStore
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import find_snapshot, manifest_path, stored_path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The credentials that the server knows, and a cache of this test's own."""
    monkeypatch.setenv("SERVE_CACHE", str(tmp_path / "cache"))
    with aws_environment():
        yield tmp_path / "cache"


@pytest.fixture
def store(moto: str, new_path: Callable[[], str], tmp_path: Path) -> StoreAddress:
    """A store that the digits model was pushed to."""
    address = parse_address(f"s3://{moto}/models/{new_path()}")
    add_model(tmp_path / "models", "digits")
    push(tmp_path / "models", address)
    return address


def _check(store: StoreAddress, *, download: bool = False) -> StoreCheck:
    return check_store(CheckOptions(repository=store, download=download, load=False))


def _replace(store: StoreAddress, path: str, change: Callable[[bytes], bytes]) -> None:
    """Have other bytes at a path, as another tool would write them."""
    opened = open_store(store)
    where = stored_path(find_snapshot(opened, None).id, path)
    there = opened.read(where)
    assert there is not None
    opened.write(where, change(there.content), expected=there.tag)


def test_files_are_verified_without_receiving_them(store: StoreAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the checksums that the store listed after the push."""

    def receive(*_arguments: object) -> None:
        pytest.fail("a file was downloaded")

    monkeypatch.setattr(ObjectStore, "download", receive)
    checked = _check(store)
    assert (checked.compared, checked.problems, checked.unverified) == ("checksums", (), ())


@pytest.mark.parametrize(("download", "words"), [(False, "checksum"), (True, "its content is not what was pushed")])
def test_other_bytes_of_the_same_size_are_found(store: StoreAddress, download: bool, words: str) -> None:
    """Both ways."""
    _replace(store, "digits/config.pbtxt", lambda content: content.replace(b"8", b"9"))
    said = [(problem.path, problem.message) for problem in _check(store, download=download).problems]
    assert [path for path, _message in said] == ["digits/config.pbtxt"]
    assert words in said[0][1]


def test_the_same_content_written_in_another_way_is_no_damage(store: StoreAddress) -> None:
    """A checksum depends on how a file was written in parts; a download compares what counts."""
    opened = open_store(store)
    path = manifest_path(find_snapshot(opened, None).id)
    there = opened.read(path)
    assert there is not None
    opened.write(path, there.content.replace(b'"etag:', b'"etag:0'), expected=there.tag)
    assert {problem.kind for problem in _check(store).problems} == {"checksum"}
    assert _check(store, download=True).problems == ()


def test_the_next_version_is_packaged_beside_the_one_in_the_store(store: StoreAddress) -> None:
    """And the other models stay."""
    options = PackageOptions(repository=store, version=None, name="net", verify=False, max_batch_size=4)
    package([DIGITS / "digits.onnx"], options)
    summary = package([DIGITS / "digits.onnx"], options)
    (model,) = summary.packaged
    assert summary.pushed is not None
    assert model.folder == f"{store}/snapshots/{summary.pushed.snapshot}/net"
    files = {file.path for file in find_snapshot(open_store(store), None).files}
    assert {"net/1/model.onnx", "net/2/model.onnx", "digits/1/model.onnx"} <= files


def test_a_dry_run_and_a_failure_push_nothing(store: StoreAddress, tmp_path: Path) -> None:
    """The store is as it was."""
    before = open_store(store).list_files("")
    options = PackageOptions(repository=store, version=None, verify=False, max_batch_size=4)
    assert package([DIGITS / "digits.onnx"], replace(options, dry_run=True)).pushed is None
    (tmp_path / "broken.onnx").write_bytes(b"\0")
    summary = package([tmp_path / "broken.onnx"], options)
    assert (len(summary.failed), summary.pushed) == (1, None)
    assert open_store(store).list_files("") == before


def test_a_command_reads_a_snapshot_from_the_cache(store: StoreAddress, tmp_path: Path, cache: Path) -> None:
    """Received once; `serve diff` names what changed since."""
    first = find_snapshot(open_store(store), None).id
    (tmp_path / "models" / "digits" / "config.pbtxt").write_text("max_batch_size: 4")
    second = push(tmp_path / "models", store).snapshot
    result = CliRunner().invoke(app, ["diff", f"{store}@{first}", str(store), "--fail-on", "never"])
    assert "max_batch_size" in result.output, result.output
    assert {path.name for path in (cache / "snapshots").iterdir() if path.is_dir()} == {first, second}
