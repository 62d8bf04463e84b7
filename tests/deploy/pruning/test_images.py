"""Old snapshots of a real registry go with all that they consist of, and nothing that anybody names."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker_registry import DockerRegistry, running_docker_registry
from helm_releases import Answering, stored, values
from signing_pairs import make_pair

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import PruneResult, prune
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.listing import read_snapshots
from serve_deploy.stores.manifests.manifests import EmptyStoreError
from serve_deploy.stores.oci import read_image
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.downloading import list_tags
from serve_deploy.stores.oci.namings import Naming, naming_tag, read_namings
from serve_deploy.stores.oci.reference import read_reference
from serve_deploy.stores.options import PullOptions, PushOptions, SigningOptions, SnapshotsOptions
from serve_deploy.stores.pull.pull import pull_repository
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.store import StoreChangedError

CONFIG = 'backend: "onnxruntime"\n'


class Image:
    """A repository of a real registry, and models to push there."""

    def __init__(self, registry: DockerRegistry, name: str, folder: Path, seed: str = "") -> None:
        self.registry, self.name, self.folder = registry, name, folder
        self.seed = seed
        self.address = self.tagged("v1")

    def tagged(self, tag: str) -> StoreAddress:
        """The address of a tag."""
        return parse_address(f"oci://{self.registry.host}/{self.name}:{tag}")

    def push(self, content: str, tag: str = "v1", *, days: float = 0, **options: Any) -> str:
        """Push a model with this content, as if it was so many days ago; the snapshot's id."""
        repository = self.folder / content
        (repository / "m" / "1").mkdir(parents=True, exist_ok=True)
        (repository / "m" / "config.pbtxt").write_text(CONFIG)
        (repository / "m" / "1" / "model.onnx").write_bytes(random.Random(f"{self.seed} {content}").randbytes(100_000))
        before = self.tags
        identity = push_repository(PushOptions(repository=repository, store=self.tagged(tag), **options)).snapshot
        for naming in read_namings(self.tags - before):
            self.age(naming, days)
        return identity

    def age(self, naming: Naming, days: float) -> None:
        """Make the time that a tag records an earlier one."""
        folder, then = self.registry.tags(self.name), naming.seconds - days * 24 * 3600
        (folder / naming.written).rename(folder / naming_tag(then, naming.snapshot, naming.tag))

    @property
    def tags(self) -> set[str]:
        """All tags of the repository."""
        with Connection(read_reference(self.address)) as connection:
            return set(list_tags(connection))

    @property
    def ids(self) -> set[str]:
        """The snapshots that can be pulled whole."""
        listed = read_snapshots(SnapshotsOptions(store=self.address))
        assert not [each.problem for each in listed.snapshots if each.problem]
        return {each.id for each in listed.snapshots}

    @property
    def digests(self) -> dict[str, str]:
        """The images by their snapshots."""
        tags = [tag for tag in self.tags if tag.startswith("snapshot-")]
        return {tag.removeprefix("snapshot-"): self.registry.tagged(self.name, tag) for tag in tags}

    @property
    def current(self) -> str | None:
        """What the tag names."""
        image = read_image(self.address)
        return image.snapshot.id if image else None

    def prune(self, keep: int = 1, **options: Any) -> PruneResult:
        """Prune without asking a cluster."""
        options = {"ignore_releases": True} | options
        return prune(PruneOptions(repository=self.address, keep=keep, **options))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """One registry for the whole module."""
    with running_docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def image(registry: DockerRegistry, request: pytest.FixtureRequest, tmp_path: Path) -> Image:
    """A repository that is not there yet."""
    return Image(registry, re.sub("[^a-z]+", "-", request.node.name).strip("-"), tmp_path)


@pytest.fixture(scope="module")
def pushed(registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """A repository with four snapshots, the oldest first; the last one counts."""
    image = Image(registry, "pushed", tmp_path_factory.mktemp("models"))
    return image.name, [image.push(content, days=40 - index) for index, content in enumerate("abcd")]


@pytest.fixture
def four(pushed: tuple[str, list[str]], image: Image) -> tuple[Image, list[str]]:
    """The same, of the test's own."""
    image.registry.copy(pushed[0], image.name)
    return image, pushed[1]


def test_snapshots_have_dates(four: tuple[Image, list[str]]) -> None:
    """Those of their last naming; the newest comes first."""
    image, (a, b, c, d) = four
    listed = read_snapshots(SnapshotsOptions(store=image.address))
    assert ([each.id for each in listed.snapshots], listed.current, listed.previous) == ([d, c, b, a], d, c)
    ages = [each.written_seconds for each in listed.snapshots]
    assert [round((ages[0] - each) / 86_400) for each in ages if each and ages[0]] == [0, 1, 2, 3]


def test_old_snapshots_go(four: tuple[Image, list[str]]) -> None:
    """All of each; the current one and the one before it stay, and can be pulled."""
    image, (a, b, c, d) = four
    result = image.prune()
    assert [(each.id, each.files) for each in result.snapshots] == [(a, 2), (b, 2)]
    assert {tag.rpartition("-")[2] for tag in image.tags} == {"v1", c, d}
    assert image.ids == {c, d}
    pull_repository(PullOptions(store=image.tagged(f"snapshot-{c}"), repository=image.folder / "out"))


def test_the_space_is_what_the_registry_frees(image: Image, registry: DockerRegistry, tmp_path: Path) -> None:
    """Its garbage collection finds every layer and configuration of what was removed, and none of the rest."""
    image.seed = "of this test alone"
    names = [image.push(content, days=9 - index) for index, content in enumerate("abcd")]
    before = registry.collect_garbage()
    result = image.prune()
    freed = before - registry.collect_garbage()
    assert [each.id for each in result.snapshots] == names[:2]
    # Manifests of a few hundred bytes come on top.
    assert 200_000 < result.freed_bytes <= freed < result.freed_bytes + 20_000
    assert "collects its garbage" in result.note
    pull_repository(PullOptions(store=image.address, repository=tmp_path / "out"))


def test_a_dry_run_removes_nothing(four: tuple[Image, list[str]]) -> None:
    """It names the same snapshots and bytes, and puts no tag."""
    image, names = four
    before = image.tags
    would = image.prune(dry_run=True)
    assert image.tags == before
    assert would.snapshots == image.prune().snapshots
    assert [each.id for each in would.snapshots] == names[:2]


def test_what_a_tag_names_stays(four: tuple[Image, list[str]]) -> None:
    """Another tag, whoever put it, on an image or on one platform's part of it; with the snapshot's own, too."""
    image, (a, b, c, d) = four
    registry, digests = image.registry, image.digests
    registry.point(image.name, "stable", digests[a])
    registry.point(image.name, "arm", registry.read(digests[b])["manifests"][1]["digest"])
    result = image.prune()
    assert (result.snapshots, result.kept) == (
        (), (f"snapshot {b}: tag arm names it", f"snapshot {a}: tag stable names it"),
    )  # fmt: skip
    assert image.ids == {a, b, c, d}


def test_each_tag_has_one_to_go_back_to(image: Image) -> None:
    """What it named before its current one stays, however old."""
    a, b, c = (image.push(content, "v1", days=30 - index) for index, content in enumerate("abc"))
    x, y = (image.push(content, "v2", days=10 - index) for index, content in enumerate("xy"))
    assert [each.id for each in image.prune().snapshots] == [a]
    assert image.ids == {b, c, x, y}


def test_images_of_others_are_not_touched(four: tuple[Image, list[str]]) -> None:
    """Even where their tag is called like one of ours."""
    image, (_a, _b, c, d) = four
    other = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
    for tag in ("other", "snapshot-0123456789abcdef", "named-20200101T000000Z-0123456789abcdef-v1"):
        image.registry.put_manifest(image.name, tag, other)
    before = len(image.registry.requests())
    assert len(image.prune().snapshots) == 2
    assert {"other", "snapshot-0123456789abcdef", "named-20200101T000000Z-0123456789abcdef-v1"} < image.tags
    assert {f"snapshot-{c}", f"snapshot-{d}"} < image.tags
    deleted = [each for each in image.registry.requests()[before:] if each.startswith("DELETE")]
    # A question whether it deletes; for each an index, two platforms, and the mark.
    assert len(deleted) == 9


def test_what_a_release_names_stays(four: tuple[Image, list[str]]) -> None:
    """By the snapshot's ID, or by the digest of the image or of a platform's part."""
    image, (a, b, _c, _d) = four
    part = image.registry.read(image.digests[b])["manifests"][0]["digest"]
    routes = {"/api/v1/secrets": [stored("demo", 1, values(a)), stored("demo", 2, {"manifest": f"image: r@{part}"})]}
    cluster = Answering(routes)
    options = PruneOptions(repository=image.address, keep=1)
    result = prune(options, connect_to=cluster.connect)
    assert (result.snapshots, sorted(result.kept)) == ((), sorted([
        f"snapshot {a}: revision 1 of release demo in namespace models names it",
        f"snapshot {b}: revision 2 of release demo in namespace models names it",
    ]))  # fmt: skip
    assert result.releases == "looked at 2 revisions of releases in all namespaces of the current context"


def test_signatures_go_with_their_images(image: Image, tmp_path: Path) -> None:
    """Those of what stays stay."""
    signing = SigningOptions(sign_key=make_pair(tmp_path, "ours").private)
    for index, content in enumerate("abc"):
        image.push(content, days=9 - index, signing=signing)
    assert len([tag for tag in image.tags if tag.startswith("sha256-")]) == 3
    assert len(image.prune().snapshots) == 1
    assert len([tag for tag in image.tags if tag.startswith("sha256-")]) == 2
    pull_repository(PullOptions(store=image.address, repository=tmp_path / "out"))


def test_what_was_named_just_now_stays(image: Image) -> None:
    """Its push may be about to move the tag; what no record tells the age of stays, too."""
    # A record has the second, so that pushes within one have no order.
    a, b, _c, _d = (
        image.push(content, days=days) for content, days in zip("abcd", (9, 0.003, 0.002, 0.001), strict=True)
    )
    (record,) = [each for each in read_namings(image.tags) if each.snapshot == a]
    shutil.rmtree(image.registry.tags(image.name) / record.written)
    result = image.prune()
    assert (result.snapshots, set(result.kept)) == ((), {
        f"snapshot {b}: it was named within the hour, and a push may not have ended",
        f"snapshot {a}: nothing records when it was pushed",
    })  # fmt: skip


def test_going_back_counts(four: tuple[Image, list[str]]) -> None:
    """The snapshot that is named again, and the one that it went back from."""
    image, (a, _b, _c, d) = four
    read_snapshots(SnapshotsOptions(store=image.address, use=a))
    listed = read_snapshots(SnapshotsOptions(store=image.address))
    assert (listed.current, listed.previous) == (a, d)
    image.prune()
    assert image.ids == {a, d}


@pytest.mark.parametrize("action", ["push", "name"])
def test_a_snapshot_that_is_being_removed_cannot_be_named(four: tuple[Image, list[str]], action: str) -> None:
    """The push is told, and what the tag names is what it named; afterwards it can be pushed again."""
    image, (a, _b, _c, d) = four
    refused = []

    def beside(line: str) -> None:
        if line == f"removing snapshot {a}":
            with pytest.raises(StoreChangedError, match=f"snapshot {a} is being removed by serve prune") as raised:
                image.push("a") if action == "push" else read_snapshots(SnapshotsOptions(store=image.address, use=a))
            refused.append(raised)

    prune(PruneOptions(repository=image.address, keep=1, ignore_releases=True), beside)
    assert (len(refused), image.current) == (1, d)
    assert image.push("a") == a
    assert image.current == a
    assert image.ids >= {a, d}


def test_a_push_that_comes_first_keeps_its_snapshot(four: tuple[Image, list[str]]) -> None:
    """Prune looks again after it said what it is about to remove."""
    image, (a, b, _c, _d) = four
    lines: list[str] = []

    def beside(line: str) -> None:
        if not lines and line.startswith("marking"):
            lines.append(line)
            image.push("a")

    result = prune(PruneOptions(repository=image.address, keep=1, ignore_releases=True), beside)
    assert [each.id for each in result.snapshots] == [b]
    assert result.kept == (f"snapshot {a}: it was named, or removed, meanwhile",)
    assert image.current == a
    assert a in image.ids


def test_a_registry_that_deletes_nothing_is_said_first(tmp_path: Path) -> None:
    """Before anything is marked, with what to set; a dry run needs no right to delete."""
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    with running_docker_registry(tmp_path, storage=storage) as registry:
        image = Image(registry, "models", tmp_path)
        for index, content in enumerate("abc"):
            image.push(content, days=9 - index)
        before = image.tags
        with pytest.raises(DestinationError, match="deletion is switched off there") as raised:
            image.prune()
        assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in str(raised.value.hint)
        assert (len(image.prune(dry_run=True).snapshots), image.tags) == (1, before)


def test_a_repository_that_nothing_was_pushed_to(image: Image) -> None:
    """Is not called clean; nor is one snapshot judged."""
    with pytest.raises(EmptyStoreError, match="has no snapshot"):
        image.prune()
    for version in ("snapshot-0123456789abcdef", f"sha256:{'0' * 64}"):
        with pytest.raises(UsageError, match="prune judges all"):
            prune(PruneOptions(repository=replace(image.address, snapshot=version)))
    with pytest.raises(UsageError, match="removed whole"):
        image.prune(models=("m",))
