"""Model repositories in a real registry."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import random
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from docker_registry import CuttingProxy, DockerRegistry, running_docker_registry
from signing_pairs import make_pair

from serve_deploy.errors import DestinationError, EndpointError, ServeError, UsageError, VerificationError
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.listing import read_snapshots
from serve_deploy.stores.manifests.manifests import make_snapshot
from serve_deploy.stores.oci import (
    ForeignImageError,
    ImagePush,
    PushedImage,
    check_image,
    describe_images,
    name_image,
    open_image,
    push_image,
    read_image,
    read_signatures,
)
from serve_deploy.stores.options import PullOptions, PushOptions, SigningOptions, SnapshotsOptions, TrustOptions
from serve_deploy.stores.pull.cache import pull_into_cache
from serve_deploy.stores.pull.pull import pull_repository
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.signing.trust import SignatureError
from serve_deploy.stores.snapshot import Snapshot
from serve_deploy.stores.store import SourceChangedError, StoreChangedError
from serve_deploy.stores.transfer.contents import read_contents

CONFIG = 'name: "{}" backend: "onnxruntime" max_batch_size: 0'


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """One registry for the whole module; each test has a repository of its own."""
    with running_docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def image(registry: DockerRegistry, request: pytest.FixtureRequest) -> StoreAddress:
    """An image that is not there yet."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return parse_address(f"oci://{registry.host}/team/{name}:v1")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two models, one with two versions; half a megabyte of weights each."""
    repository = tmp_path / "models"
    for model, version in (("digits", 1), ("digits", 2), ("words", 1)):
        write_model(repository, model, version, seed=version)
    return repository


def write_model(repository: Path, model: str, version: int, *, seed: int | str, size: int = 500_000) -> None:
    """A version of a model with random weights."""
    folder = repository / model / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(random.Random(f"{model} {seed}").randbytes(size))
    (repository / model / "config.pbtxt").write_text(CONFIG.format(model))


def repository_of(image: StoreAddress) -> str:
    """The repository's name in its registry."""
    return image.location.partition("/")[2]


def snapshot_of(repository: Path) -> Snapshot:
    """What a repository holds."""
    return make_snapshot([each.file for each in read_contents(repository)])


def push(repository: Path, image: StoreAddress, **options: Any) -> PushedImage:
    """Push all of a repository."""
    contents = read_contents(repository)
    snapshot = make_snapshot([each.file for each in contents])
    local = {each.file.path: each for each in contents}
    return push_image(local, snapshot, image, options.pop("current", None), ImagePush(**options))


def pull(image: StoreAddress, folder: Path, **options: Any) -> Path:
    """Pull all of an image."""
    reader = open_image(image)
    folder.mkdir(exist_ok=True)
    settings = {
        "parts": folder.parent / "parts",
        "local": {},
        "concurrency": 4,
        "progress": lambda _line: None,
    } | options
    reader.receive(reader.snapshot.files, folder, **settings)
    return folder


def test_what_is_pulled_is_what_was_pushed(models: Path, image: StoreAddress, tmp_path: Path) -> None:
    """Every file, by tag and by digest."""
    pushed = push(models, image)
    by_digest = parse_address(f"oci://{pushed.pinned}")
    for address in (image, by_digest):
        assert snapshot_of(pull(address, tmp_path / str(address == image))) == snapshot_of(models)


def test_a_file_far_down_comes_along(models: Path, image: StoreAddress, tmp_path: Path) -> None:
    """Each folder above it has a header, too."""
    deep = models / "words" / "1" / "/".join(f"größer{number}" for number in range(60))
    deep.mkdir(parents=True)
    (deep / "vocabulary.txt").write_text("a b")
    push(models, image)
    assert snapshot_of(pull(image, tmp_path / "out")) == snapshot_of(models)


def test_a_files_right_to_be_run_comes_along(models: Path, image: StoreAddress, tmp_path: Path) -> None:
    """A Python backend of its own has to be started."""
    stub = models / "words" / "triton_python_backend_stub"
    stub.write_bytes(b"#!/bin/sh\n")
    stub.chmod(0o700)
    push(models, image)
    pulled = pull(image, tmp_path / "out")
    assert (pulled / "words" / stub.name).stat().st_mode & 0o111 == 0o111
    assert (pulled / "words" / "config.pbtxt").stat().st_mode & 0o111 == 0


def test_the_same_models_make_the_same_image(models: Path, image: StoreAddress, tmp_path: Path) -> None:
    """Whoever pushes, whenever: times and owners are left out."""
    first = push(models, image)
    copy = tmp_path / "copy"
    pull(image, copy)
    (copy / "digits" / "config.pbtxt").touch()
    again = push(copy, image)
    assert (again.digest, again.sent_layers, again.replaced) == (first.digest, 0, None)


def test_only_layers_that_changed_are_sent(models: Path, image: StoreAddress, registry: DockerRegistry) -> None:
    """A new version is a layer of its own; no byte of another is sent, or uploaded and dropped."""
    push(models, image)
    write_model(models, "words", 2, seed=7)
    before = len(registry.requests())
    pushed = push(models, image)
    started = [line for line in registry.requests()[before:] if line.startswith("POST") and "uploads" in line]
    # The layer, and a configuration for each of two platforms.
    assert (pushed.sent_layers, pushed.kept_layers, len(started)) == (1, 5, 3)
    assert pushed.sent_bytes < 600_000


def test_a_push_says_what_it_replaced(models: Path, image: StoreAddress) -> None:
    """To find the way back."""
    first = push(models, image)
    write_model(models, "words", 1, seed=9)
    assert push(models, image).replaced == first.digest


def test_a_dry_run_sends_nothing(models: Path, image: StoreAddress, registry: DockerRegistry) -> None:
    """But says what a push would send."""
    planned = push(models, image, dry_run=True)
    assert read_image(image) is None
    pushed = push(models, image)
    assert (planned.digest, planned.sent_layers, planned.sent_bytes) == (
        pushed.digest, pushed.sent_layers, pushed.sent_bytes,
    )  # fmt: skip


def test_kubernetes_finds_the_models_on_every_node(models: Path, image: StoreAddress, registry: DockerRegistry) -> None:
    """An index of both platforms; runtimes unpack configurations whose diff_ids are the tars of the layers."""
    index = registry.read(push(models, image).digest)
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [each["platform"] for each in index["manifests"]] == [
        {"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux"},
    ]  # fmt: skip
    for each in index["manifests"]:
        manifest = registry.read(each["digest"])
        config = registry.read(manifest["config"]["digest"])
        assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
        assert config["architecture"] == each["platform"]["architecture"]
        assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"] for layer in manifest["layers"]]}
        assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}


def test_any_user_can_read_what_a_node_unpacks(
    models: Path, image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """The layers on top of each other are the repository below models/, for UID 1000 too."""
    (models / "digits" / "config.pbtxt").chmod(0o600)
    index = registry.read(push(models, image).digest)
    for layer in registry.read(index["manifests"][0]["digest"])["layers"]:
        with tarfile.open(registry.blob(layer["digest"])) as archive:
            assert {(entry.uid, entry.gid, entry.mtime) for entry in archive} == {(0, 0, 0)}
            assert {entry.mode for entry in archive if entry.isdir()} == {0o755}
            assert {entry.mode for entry in archive if entry.isfile()} == {0o644}
            archive.extractall(tmp_path / "root", filter="data")
    assert snapshot_of(tmp_path / "root" / "models") == snapshot_of(models)


def test_some_models_are_pushed_and_the_others_kept(models: Path, image: StoreAddress, tmp_path: Path) -> None:
    """By their layers in the registry: they need not be on this machine."""
    push(models, image)
    other = tmp_path / "other"
    write_model(other, "words", 2, seed=2)
    pushed = push_repository(PushOptions(repository=other, store=image, models=("words",)))
    assert [file.path for file in pushed.files if file.action == "send"] == ["words/2/model.onnx"]
    write_model(models, "words", 2, seed=2)
    shutil.rmtree(models / "words" / "1")
    assert snapshot_of(pull(image, tmp_path / "out")) == snapshot_of(models)


def test_one_of_many_models_is_pushed(image: StoreAddress, tmp_path: Path) -> None:
    """Where several share a layer: what the others have in it is received, and the layer is made anew."""
    models, other = tmp_path / "many", tmp_path / "other"
    for number in range(51):
        write_model(models, f"m{number}", 1, seed=1, size=10)
    push(models, image)
    write_model(other, "m7", 2, seed=2, size=10)
    pushed = push_repository(PushOptions(repository=other, store=image, models=("m7",)))
    sent = {file.path.partition("/")[0] for file in pushed.files if file.action == "send"}
    assert "m7" in sent
    assert len(sent) < 10
    shutil.rmtree(models / "m7")
    write_model(models, "m7", 2, seed=2, size=10)
    assert snapshot_of(pull(image, tmp_path / "out")) == snapshot_of(models)


def test_a_tag_that_another_push_moved_is_left_alone(models: Path, image: StoreAddress) -> None:
    """Where the new image was made from the one that it named."""
    push(models, image)
    base = open_image(image).image
    write_model(models, "words", 1, seed=3)
    second = push(models, image, current=base, only_from_current=True)
    write_model(models, "words", 1, seed=4)
    with pytest.raises(StoreChangedError, match=second.digest):
        push(models, image, current=base, only_from_current=True)
    assert open_image(image).image.digest == second.digest


def test_a_push_that_was_overtaken_says_so(models: Path, image: StoreAddress) -> None:
    """The last one wins whole, and names the image that it replaced."""
    pushed: list[PushedImage] = []

    def meanwhile(_line: str) -> None:
        if not pushed:
            pushed.append(None)  # type: ignore[arg-type]
            pushed[0] = push(models.parent / "others", image)

    write_model(models.parent / "others", "words", 1, seed=5)
    last = push(models, image, progress=meanwhile)
    assert (last.replaced, last.overtaken) == (None, pushed[0].digest)
    assert open_image(image).image.digest == last.digest


def test_a_file_that_changed_since_it_was_hashed_is_refused(models: Path, image: StoreAddress) -> None:
    """Nothing names half of it."""
    contents = read_contents(models)
    snapshot = make_snapshot([each.file for each in contents])
    write_model(models, "words", 1, seed=99)
    with pytest.raises(SourceChangedError, match="changed while it was sent"):
        push_image({each.file.path: each for each in contents}, snapshot, image, None, ImagePush())
    assert read_image(image) is None


def test_an_image_is_received_once_into_the_cache(
    models: Path, image: StoreAddress, registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `serve run oci://…` starts on; of a new version only its own layer comes."""
    monkeypatch.setenv("SERVE_CACHE", str(tmp_path / "cache"))
    push(models, image)
    received = []
    for version in (0, 0, 3):
        if version:
            write_model(models, "words", version, seed=version)
            push(models, image)
        layers = {f"GET /v2/{repository_of(image)}/blobs/{each.blob.digest}" for each in open_image(image).image.layers}
        before = len(registry.requests())
        assert snapshot_of(pull_into_cache(image)) == snapshot_of(models)
        received.append(len([line for line in registry.requests()[before:] if line in layers]))
    assert received == [5, 0, 1]


def test_a_file_that_is_gone_since_it_was_hashed_is_refused(models: Path, image: StoreAddress) -> None:
    """In words, too."""
    contents = read_contents(models)
    snapshot = make_snapshot([each.file for each in contents])
    (models / "words" / "1" / "model.onnx").unlink()
    with pytest.raises(SourceChangedError, match="changed while it was sent"):
        push_image({each.file.path: each for each in contents}, snapshot, image, None, ImagePush())


def test_rolling_back_is_pointing_the_tag_back(models: Path, image: StoreAddress) -> None:
    """Each snapshot keeps a tag of its own, so that no clean-up removes what a release runs."""
    first = push(models, image)
    write_model(models, "words", 2, seed=2)
    second = push(models, image)
    listed = read_snapshots(SnapshotsOptions(store=image))
    assert {each.id: each.is_current for each in listed.snapshots} == {
        first.snapshot.id: False, second.snapshot.id: True,
    }  # fmt: skip
    named = read_snapshots(SnapshotsOptions(store=image, use=first.snapshot.id[:8]))
    assert (named.current, named.previous) == (first.snapshot.id, second.snapshot.id)
    assert open_image(image).image.digest == first.digest


def test_a_signature_is_required_of_an_image(models: Path, image: StoreAddress, tmp_path: Path) -> None:
    """By the tag that stands for a list of referrers where the registry has none; each key's is kept."""
    ours, others = make_pair(tmp_path, "ours"), make_pair(tmp_path, "others")
    push_repository(PushOptions(repository=models, store=image))
    required = PullOptions(
        store=image, repository=tmp_path / "out", trust=TrustOptions(require_signature=(ours.public,))
    )
    with pytest.raises(SignatureError, match="not signed"):
        pull_repository(required)
    for pair in (others, ours):
        signing = SigningOptions(sign_key=pair.private)
        signed = push_repository(PushOptions(repository=models, store=image, signing=signing))
        assert signed.sent_bytes == 0
    assert pull_repository(required).signed_by is not None
    assert len(read_signatures(open_image(image).image)) == 2


def test_what_is_not_there_is_said(image: StoreAddress) -> None:
    """A repository, a tag, a snapshot."""
    assert read_image(image) is None
    assert describe_images(image).images == ()
    with pytest.raises(UsageError, match="the registry has no"):
        open_image(image)
    with pytest.raises(UsageError, match="no snapshot that begins with 0123"):
        name_image(image, "0123")


def test_a_check_finds_a_layer_that_is_missing(models: Path, image: StoreAddress, registry: DockerRegistry) -> None:
    """Without receiving any."""
    # The registry keeps equal layers of all tests in one place.
    write_model(models, "digits", 1, seed="goes")
    push(models, image)
    layers = open_image(image).image.layers
    registry.blob(layers[0].blob.digest).unlink()
    check = check_image(image)
    assert check is not None
    assert [problem.partition(":")[0] for problem in check.problems] == ["layer digits/1 is missing"]


def test_a_check_finds_other_models_for_other_machines(
    models: Path, image: StoreAddress, registry: DockerRegistry
) -> None:
    """A signature would be of those for this machine alone."""
    repository = repository_of(image)
    push(models, image)
    index = registry.read(registry.tagged(repository, "v1"))
    other = next(each for each in index["manifests"] if each["platform"]["architecture"] != own_architecture())
    manifest = registry.read(other["digest"])
    manifest["layers"][0] |= {"digest": registry.put_blob(repository, b"others"), "size": 6}
    registry.put_manifest(repository, "other", manifest)
    other |= {"digest": registry.tagged(repository, "other"), "size": len(json.dumps(manifest))}
    registry.put_manifest(repository, "v1", index)
    check = check_image(image)
    assert check is not None
    assert check.problems == ("its platforms have different layers, and only those for this machine's were compared",)


def own_architecture() -> str:
    """As images call it."""
    return {"aarch64": "arm64"}.get(platform.machine(), "amd64")


def test_a_layer_that_rotted_is_not_shown(
    models: Path, image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """One byte of half a million."""
    write_model(models, "words", 1, seed="rots")
    push(models, image)
    layer = next(each for each in open_image(image).image.layers if each.title == "words/1")
    content = bytearray(registry.blob(layer.blob.digest).read_bytes())
    content[300_000] ^= 1
    registry.replace(layer.blob.digest, bytes(content))
    with pytest.raises(VerificationError, match="damaged"):
        pull(image, tmp_path / "out")
    assert not (tmp_path / "out" / "words" / "1" / "model.onnx").exists()


def test_documents_that_rotted_are_refused(models: Path, image: StoreAddress, registry: DockerRegistry) -> None:
    """The index, a manifest and a configuration, each by its digest."""
    digest = push(models, image).digest
    by_digest = parse_address(f"oci://{image.location}@{digest}")
    manifest = registry.read(digest)["manifests"][0]["digest"]
    for each in (registry.read(manifest)["config"]["digest"], manifest, digest):
        content = registry.blob(each).read_bytes()
        registry.replace(each, content.replace(b"digits", b"digit5"))
        with pytest.raises(ServeError):
            read_image(by_digest)
        registry.replace(each, content)
    assert read_image(by_digest) is not None


def test_connections_that_break_lose_nothing(
    models: Path, image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """Cut in the middle of layers, on the way there and back."""
    with CuttingProxy(registry.host, cuts=3, after_bytes=200_000) as proxy:
        through = parse_address(f"oci://{proxy.host}/{repository_of(image)}:v1")
        push(models, through, sleep=lambda _seconds: None)
        assert proxy.done == 3
    with CuttingProxy(registry.host, cuts=3, after_bytes=200_000) as proxy:
        through = parse_address(f"oci://{proxy.host}/{repository_of(image)}:v1")
        assert snapshot_of(pull(through, tmp_path / "out")) == snapshot_of(models)
        assert proxy.done == 3


Entry = tuple[str, bytes, Mapping[str, Any]]
WEIGHTS = b"weights"
SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(len(WEIGHTS))}
LYING_LAYERS: dict[str, list[Entry]] = {
    "a path that leads outside": [("models/../../evil", WEIGHTS, {})],
    "an absolute path": [("/etc/evil", WEIGHTS, {})],
    "a symbolic link": [("models/m/1/model.onnx", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})],
    "a hard link": [("models/m/1/model.onnx", b"", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})],
    "a device": [("models/m/1/model.onnx", b"", {"type": tarfile.CHRTYPE})],
    "a folder instead of the file": [("models/m/1/model.onnx", b"", {"type": tarfile.DIRTYPE})],
    "a mark that hides files": [("models/m/1/model.onnx", WEIGHTS, {}), ("models/m/.wh..wh..opq", b"", {})],
    "a file that is not listed": [("models/m/1/model.onnx", WEIGHTS, {}), ("models/m/1/more", b"x", {})],
    "a folder that is not listed": [("models/m/1/model.onnx", WEIGHTS, {}), ("x", b"", {"type": tarfile.DIRTYPE})],
    "a file twice": [("models/m/1/model.onnx", WEIGHTS, {}), ("models/m/1/model.onnx", WEIGHTS, {})],
    "a file that is longer": [("models/m/1/model.onnx", WEIGHTS * 2, {})],
    "other content": [("models/m/1/model.onnx", b"Weights", {})],
    "a sparse file": [
        (
            "models/m/1/model.onnx",
            f"1\n0\n{len(WEIGHTS)}\n".encode().ljust(512, b"\0") + WEIGHTS,
            {"pax_headers": SPARSE},
        )
    ],
    "nothing": [],
    "far more than is listed": [("models/m/1/model.onnx", WEIGHTS, {}), ("models/m/1/x", bytes(1 << 20), {})],
    "a name that fills the memory": [(f"models/{'x' * 200_000}", WEIGHTS, {})],
}


def push_by_hand(registry: DockerRegistry, image: StoreAddress, layer: bytes, **listing: Any) -> None:
    """An image as serve would push it of the file m/1/model.onnx, over any layer and listing."""
    repository, sha256 = repository_of(image), hashlib.sha256(WEIGHTS).hexdigest()
    file = {"path": "m/1/model.onnx", "sha256": sha256, "size_bytes": len(WEIGHTS)} | listing.get("file", {})
    whole = hashlib.sha256(f"{file['sha256']} {file['path']}\n".encode()).hexdigest()
    blob = registry.put_blob(repository, layer)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [listing.get("diff_id", blob)]},
        "triton-serve/snapshot": {
            "sha256": listing.get("sha256", whole),
            "layers": listing.get("layers", [{"title": "m/1", "files": [file]}]),
        },
    }
    content = json.dumps(config).encode()
    registry.put_manifest(repository, "v1", {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": registry.put_blob(repository, content), "size": len(content),
        },
        "layers": [{
            "mediaType": listing.get("media_type", "application/vnd.oci.image.layer.v1.tar"),
            "digest": blob, "size": len(layer),
        }],
    })  # fmt: skip


def make_tar(entries: list[Entry]) -> bytes:
    """A tar of any entries."""
    stream = BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content, fields in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for field, value in fields.items():
                setattr(entry, field, value)
            archive.addfile(entry, BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("what", LYING_LAYERS)
def test_a_layer_with_anything_unlisted_is_refused(
    what: str, image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """Before a file of it has its name; outside of the folder nothing is ever written."""
    push_by_hand(registry, image, make_tar(LYING_LAYERS[what]))
    with pytest.raises(VerificationError, match="damaged"):
        pull(image, tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != "model.onnx"] == []


LYING_LISTINGS: dict[str, dict[str, Any]] = {
    "traversal": {"file": {"path": "../evil"}},
    "an absolute path": {"file": {"path": "/etc/evil"}},
    "a file of no model": {"file": {"path": "evil"}},
    "no sha256": {"file": {"sha256": "1234"}},
    "a size below zero": {"file": {"size_bytes": -1}},
    "another digest": {"sha256": "0" * 64},
    "more layers than the manifest": {"layers": [{"title": "a", "files": []}, {"title": "b", "files": []}]},
    "another tar": {"diff_id": f"sha256:{'0' * 64}"},
    "no digest of the tar": {"diff_id": "md5:0"},
    "a layer of another kind": {"media_type": "application/octet-stream"},
    "names that differ only in case": {
        "layers": [{
            "title": "m", "files": [
                {"path": f"{name}/1/model.onnx", "sha256": "0" * 64, "size_bytes": 0} for name in ("m", "M")
            ],
        }],
    },
}  # fmt: skip


@pytest.mark.parametrize("what", LYING_LISTINGS)
def test_an_image_that_lies_is_refused(
    what: str, image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """In its configuration or its manifest."""
    push_by_hand(registry, image, make_tar([("models/m/1/model.onnx", WEIGHTS, {})]), **LYING_LISTINGS[what])
    with pytest.raises(VerificationError, match="damaged"):
        pull(image, tmp_path / "out")


def test_the_image_that_the_lies_are_told_of_is_fine(
    image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """So each is refused for its lie."""
    push_by_hand(registry, image, make_tar([("models/m/1/model.onnx", WEIGHTS, {})]))
    assert (pull(image, tmp_path / "out") / "m" / "1" / "model.onnx").read_bytes() == WEIGHTS


GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def test_a_layer_that_another_tool_compressed_is_read(
    image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """Tools that copy images may do so; the configuration has the digest of the tar in it."""
    layer = make_tar([("models/m/1/model.onnx", WEIGHTS, {})])
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    for content in (gzip.compress(layer), gzip.compress(layer[:700]) + gzip.compress(layer[700:])):
        push_by_hand(registry, image, content, media_type=GZIP, diff_id=diff_id)
        assert (pull(image, tmp_path / "out") / "m" / "1" / "model.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize("what", ["cut", "no gzip", "a bomb", "another tar"])
def test_a_compressed_layer_that_lies_is_refused(
    what: str, image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """Before it fills the disk or the memory."""
    layer = make_tar([("models/m/1/model.onnx", WEIGHTS, {})])
    content = {
        "cut": gzip.compress(layer)[:-20],
        "no gzip": layer,
        "a bomb": gzip.compress(layer[:1024] + bytes(100 << 20), 1),
        "another tar": gzip.compress(layer + bytes(512)),
    }[what]
    push_by_hand(registry, image, content, media_type=GZIP, diff_id=f"sha256:{hashlib.sha256(layer).hexdigest()}")
    with pytest.raises(VerificationError, match="damaged"):
        pull(image, tmp_path / "out")


def test_an_image_that_serve_did_not_push_is_refused(
    image: StoreAddress, registry: DockerRegistry, tmp_path: Path
) -> None:
    """It does not say what it holds."""
    repository = repository_of(image)
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
    digest = registry.put_blob(repository, config)
    kind = "application/vnd.oci.image.config.v1+json"
    document = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "schemaVersion": 2, "layers": []}
    registry.put_manifest(
        repository, "v1", document | {"config": {"mediaType": kind, "digest": digest, "size": len(config)}}
    )
    with pytest.raises(ForeignImageError, match="was not pushed by serve"):
        read_image(image)
    write_model(tmp_path / "models", "words", 1, seed=1)
    with pytest.raises(DestinationError, match="an image that serve did not push"):
        push_repository(PushOptions(repository=tmp_path / "models", store=image))


def test_a_registry_that_is_not_there_is_said_at_once(image: StoreAddress) -> None:
    """Without trying again: nothing has answered yet."""
    with pytest.raises(EndpointError, match=r"cannot reach the registry 127\.0\.0\.1:1: connection refused"):
        read_image(parse_address("oci://127.0.0.1:1/models:v1"))
