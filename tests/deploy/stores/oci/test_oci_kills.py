"""Pushes to a registry and pulls from it that are killed: nothing is half there, and the next one goes on."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker_registry import DockerRegistry, running_docker_registry

from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.manifests.manifests import make_snapshot
from serve_deploy.stores.oci import check_image, open_image, read_image
from serve_deploy.stores.options import PullOptions, PushOptions
from serve_deploy.stores.pull.pull import pull_repository
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.transfer.contents import read_contents


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """One registry for the whole module."""
    with running_docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def write_models(repository: Path, seed: int) -> Path:
    """Five models of 2 MB."""
    weights = random.Random(seed)
    for number in range(5):
        folder = repository / f"model{number}"
        (folder / "1").mkdir(parents=True, exist_ok=True)
        (folder / "1" / "model.onnx").write_bytes(weights.randbytes(2_000_000))
        (folder / "config.pbtxt").write_text(f'name: "model{number}" backend: "onnxruntime" max_batch_size: 0')
    return repository


def kill_after(registry: DockerRegistry, requests: int, *arguments: object) -> None:
    """Start serve, and kill it once the registry has answered so many of its requests."""
    before = len(registry.requests())
    process = subprocess.Popen(
        [sys.executable, "-m", "serve_cli", *map(str, arguments)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and len(registry.requests()) < before + requests:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.005)
    process.kill()
    process.wait()


def hold(repository: Path) -> str:
    """The id of what a repository holds."""
    return make_snapshot([each.file for each in read_contents(repository)]).id


@pytest.mark.parametrize("requests", [20, 30, 42])
def test_a_push_that_is_killed_leaves_the_old_image_whole(
    requests: int, registry: DockerRegistry, tmp_path: Path
) -> None:
    """While it sends layers, while it sends documents; the next one does not send again what is there."""
    image = parse_address(f"oci://{registry.host}/killed/push{requests}:v1")
    old, new = write_models(tmp_path / "old", requests), write_models(tmp_path / "new", requests + 1000)
    push_repository(PushOptions(repository=old, store=image))
    kill_after(registry, requests, "push", new, image, "--concurrency", 2)
    assert shown(image) in (hold(old), hold(new))
    again = push_repository(PushOptions(repository=new, store=image))
    assert again.sent_bytes < 10_000_000
    assert shown(image) == hold(new)


def shown(image: StoreAddress) -> str:
    """The id of what an image holds, all of which is there."""
    check = check_image(image)
    assert check is not None
    assert check.problems == ()
    return check.image.snapshot.id


@pytest.mark.parametrize("requests", [6, 9])
def test_a_pull_that_is_killed_leaves_no_half_model(requests: int, registry: DockerRegistry, tmp_path: Path) -> None:
    """The folder has all of the image or nothing, and the next one goes on."""
    image = parse_address(f"oci://{registry.host}/killed/pull:v1")
    if read_image(image) is None:
        push_repository(PushOptions(repository=write_models(tmp_path / "models", 1), store=image))
    target = tmp_path / "pulled"
    kill_after(registry, requests, "pull", image, target, "--concurrency", 2)
    assert not target.exists() or not any(target.iterdir()) or hold(target) == open_image(image).snapshot.id
    pulled = pull_repository(PullOptions(store=image, repository=target))
    assert hold(target) == pulled.snapshot
