"""Pushes and prunes of a registry at once, step by step: what a tag names is whole at each, whoever comes first."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from picky_registry import PickyRegistry, running_picky_registry

from serve_deploy.errors import ServeError
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import prune
from serve_deploy.stores.address import parse_address
from serve_deploy.stores.listing import read_snapshots
from serve_deploy.stores.oci import read_image
from serve_deploy.stores.oci.namings import is_record, naming_tag, read_namings, read_removals, removal_tag
from serve_deploy.stores.options import PushOptions, SnapshotsOptions
from serve_deploy.stores.push.push import push_repository

DAY = 24 * 3600.0


class Steps:
    """A registry whose images can be had back as they were, and which lets something happen before one request."""

    def __init__(self, registry: PickyRegistry, folder: Path) -> None:
        self.registry, self._folder = registry, folder
        self.address = parse_address(f"oci://{registry.host}/team/models:v1")
        self.a, self.b, self.c, self.d = (self.push(content) for content in "abcd")
        order = [self.a, self.b, self.c, self.d]
        for naming in read_namings(self.tags):
            aged = naming_tag(naming.seconds - (40 - order.index(naming.snapshot)) * DAY, naming.snapshot, naming.tag)
            registry.manifests[aged] = registry.manifests.pop(naming.written)
        self._first = dict(registry.manifests)

    @property
    def tags(self) -> list[str]:
        """All tags."""
        return [name for name in self.registry.manifests if ":" not in name]

    def push(self, content: str) -> str:
        """Push a small model; the snapshot's id."""
        repository = self._folder / content
        (repository / "m" / "1").mkdir(parents=True, exist_ok=True)
        (repository / "m" / "config.pbtxt").write_text('backend: "onnxruntime"\n')
        (repository / "m" / "1" / "model.onnx").write_bytes(random.Random(content).randbytes(100))
        return push_repository(PushOptions(repository=repository, store=self.address)).snapshot

    def name(self, identity: str) -> None:
        """Point the tag back."""
        read_snapshots(SnapshotsOptions(store=self.address, use=identity))

    def prune(self) -> None:
        """Keep two of the four."""
        prune(PruneOptions(repository=self.address, keep=1, ignore_releases=True))

    def begin(self) -> None:
        """Have all of it as it was."""
        self.registry.manifests.clear()
        self.registry.manifests |= self._first

    def run(self, act: Callable[[], object], at: int, beside: Callable[[], object]) -> bool:
        """Begin anew and act, with something beside it before a request; whether there was that request."""
        self.begin()
        count = 0

        def step(request: str) -> bool:
            nonlocal count
            count += _is_step(request)
            if count == at + 1:
                self.registry.before = _let
                beside()
            return False

        self.registry.before = step
        try:
            act()
        finally:
            self.registry.before = _let
        return count > at

    @property
    def current(self) -> str:
        """What the tag names."""
        image = read_image(self.address)
        assert image is not None
        return image.snapshot.id

    def check(self) -> None:
        """All tags lead to what is there, and to all of it; a push that was refused may leave a record of nothing."""
        manifests = self.registry.manifests
        for tag in [tag for tag in self.tags if not is_record(tag)]:
            document = json.loads(manifests[tag][1])
            for inner in document.get("manifests", ()):
                assert inner["digest"] in manifests, tag
        assert self.current


def _is_step(request: str) -> bool:
    """What changes something, or looks whether another did."""
    looks = request.endswith(("/tags/list", "/v1")) or "HEAD /v2/team/models/manifests/sha256:" in request
    return looks or request.startswith(("PUT", "DELETE"))


class _Death:
    """Nothing is answered after so many steps."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self, request: str) -> bool:
        self._left -= _is_step(request)
        return self._left < 0


def _let(_request: str) -> bool:
    return False


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    """A registry with four snapshots, of which a prune removes the two oldest."""
    with running_picky_registry() as registry, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVE_HTTP_REGISTRIES", registry.host)
        yield Steps(registry, tmp_path_factory.mktemp("models"))


def _try(act: Callable[[], object], done: list[bool]) -> None:
    """Refused: a prune removes it, or it is gone; what the other had put in the way."""
    try:
        act()
    except ServeError:
        done.append(False)
    else:
        done.append(True)


@pytest.mark.parametrize("action", ["push", "name", "prune"])
def test_whatever_happens_between_two_steps_of_a_prune(steps: Steps, action: str) -> None:
    """The oldest content is pushed again, or named, or pruned by another run: it counts whole, or the other is told."""
    acts = {"push": lambda: steps.push("a"), "name": lambda: steps.name(steps.a), "prune": steps.prune}
    outcomes = set()
    for at in range(200):
        done: list[bool] = []
        if not steps.run(steps.prune, at, lambda done=done: _try(acts[action], done)):
            break
        steps.check()
        assert steps.current == (steps.a if done == [True] and action != "prune" else steps.d), at
        assert not read_removals(steps.tags)
        outcomes |= set(done)
    assert at > 10, "no step was found to act at"
    assert outcomes == ({True} if action == "prune" else {True, False})


@pytest.mark.parametrize("action", ["push", "name"])
def test_a_prune_between_two_steps(steps: Steps, action: str) -> None:
    """Of a push, or a naming, of what it would remove: that counts whole then, or is told."""
    acts = {"push": lambda: steps.push("a"), "name": lambda: steps.name(steps.a)}
    for at in range(100):
        done: list[bool] = []
        if not steps.run(lambda done=done: _try(acts[action], done), at, steps.prune):
            break
        steps.check()
        assert steps.current == (steps.a if done == [True] else steps.d), at
        assert done == [True] or action == "name"
    assert at > 7, "no step was found to act at"


def test_a_prune_that_dies_at_any_step(steps: Steps) -> None:
    """What it leaves is whole; an hour later the next one removes the rest, and the content can come back."""
    for at in range(100):
        steps.begin()
        done: list[bool] = []
        steps.registry.before = _Death(at)
        _try(steps.prune, done)
        steps.registry.before = _let
        steps.check()
        for removal in read_removals(steps.tags):
            aged = removal_tag(removal.seconds - 2 * 3600, removal.snapshot)
            steps.registry.manifests[aged] = steps.registry.manifests.pop(removal.written)
        steps.prune()
        steps.check()
        assert _list_orphans(steps.registry) == set()
        assert {naming.snapshot for naming in read_namings(steps.tags)} == {steps.c, steps.d}
        if done == [True]:
            break
    assert at > 8, "no step was found to die at"
    steps.push("a")
    steps.check()


def _list_orphans(registry: PickyRegistry) -> set[str]:
    """Manifests that no tag leads to, which nobody would ever find."""
    led = set()
    for name, (_kind, body) in registry.manifests.items():
        if ":" not in name:
            led |= {f"sha256:{hashlib.sha256(body).hexdigest()}"}
            led |= {inner["digest"] for inner in json.loads(body).get("manifests", ())}
    return {name for name in registry.manifests if ":" in name} - led


def test_a_registry_that_keeps_what_a_tag_names(tmp_path: Path) -> None:
    """As Google's does: the tags of what goes are removed first."""
    with running_picky_registry(keeps_tagged=True) as registry:
        steps = Steps(registry, tmp_path)
        steps.prune()
        steps.check()
        assert {naming.snapshot for naming in read_namings(steps.tags)} == {steps.c, steps.d}
        assert (_list_orphans(registry), read_removals(steps.tags)) == (set(), ())
