"""Commands that take a repository, with one in a registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker_registry import DockerRegistry, running_docker_registry
from repositories import DIGITS

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.store_check import StoreCheck, check_store
from serve_deploy.errors import VerificationError
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.listing import read_snapshots
from serve_deploy.stores.options import SnapshotsOptions
from serve_deploy.stores.pull.cache import pull_models_into_cache
from serve_deploy.stores.pull.readers import read_current

# A layer with a model in it has more.
_LAYER_BYTES = 20_000


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A real registry."""
    with running_docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def image(registry: DockerRegistry, request: pytest.FixtureRequest) -> StoreAddress:
    """A tag of this test's own, with the model `digits`."""
    address = parse_address(f"oci://{registry.host}/team/{request.node.name.replace('[', '-').strip(']')}:v1")
    _package(address, "digits")
    return address


def _package(image: StoreAddress, name: str) -> str:
    options = PackageOptions(repository=image, name=name, version=None, verify=False, max_batch_size=4)
    return str(package([DIGITS / "digits.onnx"], options).packaged[0].folder)


def _check(image: StoreAddress, *, download: bool = False) -> StoreCheck:
    return check_store(CheckOptions(repository=image, download=download, load=False))


def test_models_are_packaged_beside_those_of_the_image(image: StoreAddress) -> None:
    """The next version of one, and another one."""
    assert _package(image, "digits") == f"{image}#models/digits"
    _package(image, "letters")
    current = read_current(image)
    assert current is not None
    paths = {file.path for file in current.files}
    assert {"digits/1/model.onnx", "digits/2/model.onnx", "letters/1/model.onnx"} <= paths


def test_an_image_is_checked_by_its_layers_and_by_its_content(image: StoreAddress) -> None:
    """Both name the tag that was asked for; without a download nothing is called verified."""
    for download in (False, True):
        checked = _check(image, download=download)
        assert (checked.store, checked.models, checked.problems) == (str(image), ("digits",), ())
        assert checked.compared == ("content" if download else "sizes")
        assert len(checked.unverified) == (0 if download else checked.files)


def test_a_layer_that_is_gone_or_damaged_is_found(image: StoreAddress, registry: DockerRegistry) -> None:
    """Without a download where the registry knows, and by a download in any case."""
    large = [path for path in registry.folder.rglob("blobs/sha256/*/*/data") if path.stat().st_size > _LAYER_BYTES]
    before = {path: path.read_bytes() for path in large}
    for path, content in before.items():
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(VerificationError):
        _check(image, download=True)
    for path in large:
        path.unlink()
    assert {problem.kind for problem in _check(image).problems} == {"missing"}
    with pytest.raises(VerificationError, match="is missing"):
        read_snapshots(SnapshotsOptions(store=image, use=str(_check(image).snapshot)))
    for path, content in before.items():
        path.write_bytes(content)


def test_a_model_of_an_image_is_read_from_the_cache(
    image: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its tag, and by its snapshot's tag."""
    monkeypatch.setenv("SERVE_CACHE", str(tmp_path / "cache"))
    folder = pull_models_into_cache(image, ["digits"])
    assert (folder / "digits" / "config.pbtxt").is_file()
    assert pull_models_into_cache(replace(image, snapshot=f"snapshot-{folder.name}"), ()) == folder
