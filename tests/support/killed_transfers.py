"""Kill pushes and pulls at random moments: `python killed_transfers.py KIND STORE FOLDER ROUNDS`.

Each round changes a repository, forks a process that pushes or pulls it, kills it, looks at what a reader finds, and
lets another one complete the work. It prints how many were killed before their end, and how often a reader found
something that is neither the old repository nor the new one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pushing import listing, pull, push

from serve_deploy.files.staging import recover
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import manifest_path, stored_path
from serve_deploy.stores.pull.cache import cache_folder, pull_into_cache
from serve_deploy.stores.pull.readers import read_current
from serve_deploy.stores.push.fixed_plan import find_version

Listing = dict[str, str]
MODELS, FILES, LEAST, MOST = 3, 4, 1 << 10, 1 << 19


@dataclass
class Report:
    """What came of all rounds."""

    rounds: int = 0
    killed: int = 0
    new_after_kill: int = 0
    damaged: list[str] = field(default_factory=list)


@dataclass
class Scene:
    """A repository that changes, the store it is pushed to, and a folder it is pulled into."""

    repository: Path
    store: StoreAddress
    target: Path
    random: random.Random
    version: int = 0

    def change(self) -> None:
        """A new version of every model, with its configuration; the oldest one goes."""
        self.version += 1
        for model in range(MODELS):
            folder = self.repository / f"model{model}"
            (folder / str(self.version)).mkdir(parents=True)
            for name in ["model.onnx", *(f"weights.{number}" for number in range(FILES))]:
                content = self.random.randbytes(self.random.randint(LEAST, MOST))
                (folder / str(self.version) / name).write_bytes(content)
            (folder / "config.pbtxt").write_text(f'backend: "onnxruntime" # {self.version}')
            shutil.rmtree(folder / str(self.version - 2), ignore_errors=True)


def push_whole(scene: Scene) -> None:
    push(scene.repository, scene.store)


def push_fixed(scene: Scene) -> None:
    push(scene.repository, scene.store, fixed=True, delete=True)


def pull_over(scene: Scene) -> None:
    pull(scene.store, scene.target, force=True)


def pull_cached(scene: Scene) -> None:
    pull_into_cache(scene.store)


def read_store(scene: Scene) -> Listing:
    """What somebody who pulls gets."""
    folder = scene.target.with_name("read")
    pull(scene.store, folder)
    found = listing(folder)
    shutil.rmtree(folder)
    return found


def push_and_clear(scene: Scene) -> None:
    """The target is a new folder each time."""
    push_whole(scene)
    shutil.rmtree(scene.target, ignore_errors=True)


def read_target(scene: Scene) -> Listing:
    """What the next command finds; nothing where the folder is not there, or has no folder in it."""
    recover(scene.target)
    return listing(scene.target) if any(scene.target.glob("*/")) else {}


def read_cached(scene: Scene) -> Listing:
    """The cached snapshot that counts in the store; nothing where it is not there yet."""
    snapshot = read_current(scene.store)
    assert snapshot
    if not (cache_folder() / manifest_path(snapshot.id)).exists():
        return {}
    return listing(cache_folder() / stored_path(snapshot.id, ""))


def read_served(scene: Scene) -> Listing:
    """What a Triton finds that reads the store's own folder."""
    store, found = open_store(scene.store), {}
    for path in store.list_files(""):
        if "/" in path:
            target = scene.target.with_name("file")
            store.download(path, target, lambda _count: None)
            found[path] = hash_file(target)
            target.unlink()
    return found


def kill_at_random(act: Callable[[Scene], None], scene: Scene, lasts_seconds: float) -> bool:
    """Whether it was killed before its end: at any moment, and every other time near the end, where all is shown."""
    earliest = scene.random.choice((0.0, 0.8))
    child = os.fork()
    if not child:
        act(scene)
        os._exit(0)
    time.sleep(scene.random.uniform(earliest, 1.0) * lasts_seconds)
    os.kill(child, signal.SIGKILL)
    _pid, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def by_model(found: Listing) -> dict[str, Listing]:
    models: dict[str, Listing] = {}
    for path, sha256 in found.items():
        models.setdefault(path.partition("/")[0], {})[path] = sha256
    return models


def is_whole(kind: str, found: Listing, old: Listing, new: Listing, *, is_remote: bool = False) -> bool:
    """All old or all new; in the fixed layout each model is, and a version that goes may stay for one push more.

    In a bucket nothing more can be promised of the fixed layout than that the old versions are as they were.
    """
    if kind == "fixed" and is_remote:
        return all(found.get(path) == sha256 for path, sha256 in old.items() if find_version(path))
    if kind in ("new", "cache"):
        return found in ({}, new)
    if kind != "fixed":
        return found in (old, new)
    olds, news = by_model(old), by_model(new)
    return all(
        files in (olds[model], news[model], olds[model] | news[model]) for model, files in by_model(found).items()
    )


def run(kind: str, store: str, folder: Path, rounds: int, seed: int = 13) -> Report:
    """Kill `rounds` times."""
    scene = Scene(folder / "models", parse_address(store), folder / "target", random.Random(seed))
    act, prepare, read = KINDS[kind]
    report, old, lasts = Report(), Listing(), 0.0
    # Twice before the first kill, so that there is an old repository, and to see how long it takes.
    while report.rounds < 2 or report.killed < rounds:
        scene.change()
        prepare(scene)
        new = listing(scene.repository)
        if report.rounds >= 2:
            was_killed = kill_at_random(act, scene, lasts)
            found = read(scene)
            report.killed += was_killed
            lasts *= 1.02 if was_killed else 0.8
            report.new_after_kill += was_killed and found == new
            if not is_whole(kind, found, old, new, is_remote=scene.store.kind != "local"):
                report.damaged.append(f"{report.rounds}: {sorted(found.items() ^ new.items())[:5]}")
        begin = time.monotonic()
        act(scene)
        lasts = lasts if report.rounds >= 2 else time.monotonic() - begin
        if kind == "fixed":
            act(scene)  # what was postponed
        old = read(scene)
        report.rounds += 1
        if old != new:
            report.damaged.append(f"{report.rounds} was not completed: {sorted(old.items() ^ new.items())[:5]}")
    return report


def nothing(_scene: Scene) -> None:
    """The repository is what is pushed."""


KINDS: dict[str, tuple[Callable[[Scene], None], Callable[[Scene], None], Callable[[Scene], Listing]]] = {
    "push": (push_whole, nothing, read_store),
    "fixed": (push_fixed, nothing, read_served),
    "pull": (pull_over, push_whole, read_target),
    "new": (pull_over, push_and_clear, read_target),
    "cache": (pull_cached, push_whole, read_cached),
}

if __name__ == "__main__":
    kind_, store_, folder_, rounds_ = sys.argv[1:5]
    os.environ["SERVE_CACHE"] = f"{folder_}/cache"
    sys.stdout.write(json.dumps(run(kind_, store_, Path(folder_), int(rounds_)).__dict__))
