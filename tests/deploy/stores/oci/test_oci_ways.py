"""What registries other than docker's do: limits, waits, referrers. And layers, without a registry."""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picky_registry import PickyRegistry, running_picky_registry
from web_server import served

from serve_deploy.errors import DestinationError, EndpointError, VerificationError
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.manifests.manifests import make_snapshot
from serve_deploy.stores.oci import ImagePush, open_image, push_image, read_signatures
from serve_deploy.stores.oci.documents import (
    LAYER_TYPE,
    Descriptor,
    Manifest,
    StoredLayer,
    build_documents,
    parse_layers,
    parse_manifest,
    read_snapshot,
)
from serve_deploy.stores.oci.layers import LayerFiles, LayerSource, group_files
from serve_deploy.stores.oci.reference import read_reference
from serve_deploy.stores.snapshot import SnapshotFile
from serve_deploy.stores.transfer.contents import LocalFile, read_contents


def address(registry: PickyRegistry) -> StoreAddress:
    """An image of a registry."""
    return parse_address(f"oci://{registry.host}/team/models:v1")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of a model of 10 MB."""
    folder = tmp_path / "models" / "large" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(random.Random(1).randbytes(10_000_000))
    (folder.parent / "config.pbtxt").write_text('name: "large" backend: "onnxruntime" max_batch_size: 0')
    return tmp_path / "models"


def push(models: Path, registry: PickyRegistry, **options: object) -> None:
    """Push all of it, without waiting between attempts."""
    contents = read_contents(models)
    local, snapshot = {each.file.path: each for each in contents}, make_snapshot([each.file for each in contents])
    options |= {"sleep": lambda _seconds: None}
    push_image(local, snapshot, address(registry), None, ImagePush(**options))  # type: ignore[arg-type]


def test_a_registry_that_takes_small_bodies_gets_pieces(models: Path) -> None:
    """As GitHub's takes 4 MiB at once, and says so only when it is sent more."""
    with running_picky_registry(most_bytes=4 << 20) as registry:
        push(models, registry)
        assert [body for body in registry.bodies if body[0]] == [
            ("0-4194303", 4194304), ("4194304-8388607", 4194304), ("8388608-10004479", 1615872),
        ]  # fmt: skip
        assert open_image(address(registry)).image.size_bytes > 0


def test_what_is_too_large_in_any_piece_is_said(models: Path) -> None:
    """With what the registry said of it."""
    with (
        running_picky_registry(most_bytes=1 << 20) as registry,
        pytest.raises(DestinationError, match=r"larger than it takes .416 .*the request body is too large"),
    ):
        push(models, registry)


def test_a_broken_upload_goes_on_where_the_registry_says(models: Path) -> None:
    """What arrived is not sent again."""
    with running_picky_registry(drop_after=3_000_000) as registry:
        push(models, registry)
        large = [(start, length) for start, length in registry.bodies if length > 100_000]
        assert [start for start, _length in large] == ["", "3000000-10004479"]


def test_a_registry_that_is_busy_is_waited_for(models: Path) -> None:
    """429 is no refusal."""
    with running_picky_registry(busy=4) as registry:
        push(models, registry)
        assert open_image(address(registry)).snapshot.models == ("large",)


def test_a_quota_is_said(models: Path) -> None:
    """As a matter of room, not of rights."""
    with (
        running_picky_registry(quota=True) as registry,
        pytest.raises(DestinationError, match=r"has no room to push: 403 Forbidden: adding 1 MiB will exceed"),
    ):
        push(models, registry)


def test_a_signature_is_found_by_the_list_of_referrers(models: Path) -> None:
    """Where the registry keeps one."""
    with running_picky_registry() as registry:
        push(models, registry, signature=b'{"bundle": 1}')
        assert read_signatures(open_image(address(registry)).image) == (b'{"bundle": 1}',)
        assert not [name for name in registry.manifests if name.startswith("sha256-")]


def test_what_answers_but_is_no_registry_is_said() -> None:
    """A web server has no repositories either."""
    with running_web_server() as host, pytest.raises(EndpointError, match="not as a registry does"):
        open_image(parse_address(f"oci://{host}/models"))


@contextmanager
def running_web_server() -> Iterator[str]:
    """A server with no pages."""
    with served(ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler)) as server:
        yield f"127.0.0.1:{server.server_port}"


class QuietHandler(BaseHTTPRequestHandler):
    """404 for everything."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_arguments: object) -> None:
        return


def local_file(path: str, content: bytes, folder: Path) -> LocalFile:
    """A file of a repository."""
    source = folder / path
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(content)
    file = SnapshotFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    return LocalFile(file, source if content else None)


NAMES = st.text("abcé-_.", min_size=1, max_size=120).filter(lambda name: name.strip("."))


@given(contents=st.dictionaries(NAMES, st.binary(max_size=1200), min_size=1, max_size=4), start=st.floats(0, 1))
def test_a_layer_is_a_tar_that_can_be_read_from_anywhere(
    contents: dict[str, bytes], start: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Python's tarfile finds the files in it, and its end follows from any offset."""
    folder = tmp_path_factory.mktemp("layer")
    files = [local_file(f"m/1/{name}", content, folder) for name, content in contents.items()]
    layer = LayerFiles("m/1", tuple(sorted((each.file for each in files), key=lambda file: file.path)))
    source = LayerSource(layer, {each.file.path: each for each in files})
    whole = b"".join(source.read_from(0))
    offset = int(start * source.size_bytes)
    assert len(whole) == source.size_bytes
    assert b"".join(source.read_from(offset)) == whole[offset:]
    assert source.digest(lambda _count: None) == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    with tarfile.open(fileobj=BytesIO(whole)) as archive:
        found = {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}  # type: ignore[union-attr]
    assert found == {f"models/m/1/{name}": content for name, content in contents.items()}


def of(*paths: str) -> list[SnapshotFile]:
    """Files by their paths."""
    return [SnapshotFile(path=path, sha256="0" * 64, size_bytes=1) for path in paths]


def test_a_new_version_changes_the_end_of_the_stack() -> None:
    """Nodes keep what they have unpacked below it."""
    files = of("a/1/m", "a/config.pbtxt", "b/1/m", "b/1/sub/x", "b/config.pbtxt", "b/10/m", "b/9/m", "b/labels/l.txt")
    assert [layer.title for layer in group_files(files)] == ["a/1", "b/1", "b/9", "b/10", "a", "b"]


@pytest.mark.parametrize("models", [1, 49, 50, 51, 400])
def test_runtimes_can_stack_the_layers_of_many_models(models: int) -> None:
    """All files of a model are in one layer then, and none is lost."""
    files = of(*(path for number in range(models) for path in (f"m{number}/1/x", f"m{number}/config.pbtxt")))
    layers = group_files(files)
    assert len(layers) <= 100
    assert sorted(file.path for layer in layers for file in layer.files) == sorted(file.path for file in files)
    if models > 50:
        assert {
            len({layer.title for layer in layers if any(f.model == f"m{n}" for f in layer.files)})
            for n in range(models)
        } == {1}


REFERENCES = {
    "oci://registry.example/team/models": ("registry.example", "team/models", "latest", False),
    "oci://registry.example:5000/models:v1": ("registry.example:5000", "models", "v1", False),
    "oci://localhost:5000/models:v1": ("localhost:5000", "models", "v1", True),
    "oci://127.0.0.2/models:v1": ("127.0.0.2", "models", "v1", True),
    "oci://[::1]:5000/models:v1": ("[::1]:5000", "models", "v1", True),
    "oci://docker.io/models:v1": ("registry-1.docker.io", "library/models", "v1", False),
    "oci://docker.io/team/models:v1": ("registry-1.docker.io", "team/models", "v1", False),
}


@pytest.mark.parametrize("text", REFERENCES)
def test_an_image_is_looked_for_where_docker_looks(text: str) -> None:
    """Its hub has another name for its API, and a folder of its own; without a tag it is the latest."""
    reference = read_reference(parse_address(text))
    found = (reference.api_host, reference.api_repository, reference.version, reference.is_loopback)
    assert found == REFERENCES[text]


@pytest.fixture(scope="module")
def documents() -> tuple[Manifest, dict[str, Any]]:
    """The manifest and the configuration of an image."""
    files = (*of("m/1/x"), *of("m/config.pbtxt"))
    snapshot = make_snapshot(list(files))
    blob = Descriptor(mediaType=LAYER_TYPE, digest=f"sha256:{'1' * 64}", size=10240)
    layers = [StoredLayer(layer.title, layer.files, blob, blob.digest) for layer in group_files(files)]
    built = build_documents(snapshot, layers)
    return parse_manifest(built.manifests[0].content, "image"), json.loads(built.configs[0].content)


def test_any_other_value_in_a_configuration_is_refused_in_words_or_changes_nothing(
    documents: tuple[Manifest, dict[str, Any]],
) -> None:
    """Whatever its kind, and wherever it stands."""
    manifest, config = documents
    for container, key in list(list_places(config)):
        kept = container[key]
        for other in (None, True, -1, 10**30, "x", "../x", [], {}, [kept], {"a": kept}):
            container[key] = other
            content = json.dumps(config).encode()
            with suppress(VerificationError):
                layers = parse_layers(manifest, content, "image")
                assert layers is None or read_snapshot(layers, content, "image").models == ("m",)
        container[key] = kept


def list_places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a document, as what it is in and where."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield value, key
        yield from list_places(inner)
