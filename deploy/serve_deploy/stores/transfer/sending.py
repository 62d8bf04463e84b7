"""Which files a push sends, copies inside the store or finds there, and how they get there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from serve_deploy.errors import ServeError, VerificationError
from serve_deploy.files.temporary import temporary_folder
from serve_deploy.progress import Progress
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import OnBytes, SourceChangedError, Store, StoredFile
from serve_deploy.stores.transfer.contents import LocalFile, file_state
from serve_deploy.stores.transfer.transfer import Tally, transfer

Action = Literal["send", "copy", "keep", "delete"]


@dataclass(frozen=True)
class HeldFile:
    """A file that the store has already, under another path."""

    file: SnapshotFile
    path: str


@dataclass(frozen=True)
class Step:
    """A file of a snapshot: where it goes, and where its content is. `stored` is what is there."""

    file: SnapshotFile
    path: str
    local: LocalFile | None
    held: HeldFile | None
    stored: StoredFile | None

    @property
    def action(self) -> Action:
        """What is to be done, or was done."""
        return "keep" if self.stored else "copy" if self.held else "send"


def plan_steps(
    snapshot: Snapshot, prefix: str, local: Mapping[str, LocalFile], held: Mapping[str, HeldFile],
    there: Mapping[str, StoredFile],
) -> list[Step]:  # fmt: skip
    """A step for each file of a snapshot that is to stand below a prefix; `held` is by sha256, `there` by path."""
    steps = []
    for file in snapshot.files:
        path = f"{prefix}{file.path}"
        stored = there.get(path)
        whole = stored if stored and stored.size_bytes == file.size_bytes else None
        steps.append(Step(file, path, local.get(file.path), held.get(file.sha256), whole))
    return steps


def list_held(snapshots: Iterable[tuple[Snapshot, str]]) -> dict[str, HeldFile]:
    """By sha256, the files of snapshots that stand below these prefixes."""
    return {
        file.sha256: HeldFile(file, f"{prefix}{file.path}") for snapshot, prefix in snapshots for file in snapshot.files
    }


def send_all(
    store: Store, steps: Sequence[Step], *, concurrency: int, progress: Progress,
    order: Callable[[Step], object] = lambda _step: 0,
) -> tuple[list[Step], Mapping[str, Action]]:  # fmt: skip
    """Do the steps, by and by those of one `order` after those of a lower one.

    The steps with what is stored now, and what was done for each path.
    """
    done: dict[str, Step] = {}
    missing = [step for step in steps if not step.stored]
    tally = Tally("sending", sum(step.file.size_bytes for step in missing), progress)

    def place(step: Step, on_bytes: OnBytes) -> None:
        done[step.path] = _place(store, step, on_bytes)

    for rank in sorted({order(step) for step in missing}):  # type: ignore[type-var]
        # The largest first, so that the last thread does not end with one alone.
        batch = sorted((step for step in missing if order(step) == rank), key=lambda step: -step.file.size_bytes)
        transfer(batch, place, concurrency=concurrency, tally=tally)
    # A copy that the store could not make was sent: it has no `held` any more.
    actions = {step.file.path: replace(step, stored=None).action for step in done.values()}
    kept: dict[str, Action] = {step.file.path: "keep" for step in steps if step.stored}
    return [done.get(step.path, step) for step in steps], kept | actions


def with_checksums(snapshot: Snapshot, steps: Sequence[Step]) -> Snapshot:
    """The manifest, with the store's own checksums of its files."""
    checksums = {step.file.path: step.stored.checksum for step in steps if step.stored}
    files = tuple(file.model_copy(update={"stored": checksums.get(file.path, "")}) for file in snapshot.files)
    return snapshot.model_copy(update={"files": files})


def _place(store: Store, step: Step, on_bytes: OnBytes) -> Step:
    # A folder has no checksums of its own by which a copy would see damage.
    if step.held and (not isinstance(store, LocalStore) or store.holds(step.held.path, step.held.file)):
        copied = store.copy(step.held.path, step.path, checksum=step.held.file.stored)
        if copied and copied.size_bytes == step.file.size_bytes:
            on_bytes(step.file.size_bytes)
            return replace(step, stored=copied)
    if step.local and step.local.source:
        if file_state(step.local.source) != step.local.state:
            raise SourceChangedError(step.local.source)
        return _upload(store, step, step.local.source, on_bytes)
    with temporary_folder("push") as folder:
        source = folder / "file"
        if step.local:
            source.touch()
        elif step.held:
            _fetch_held(store, step.held, source, on_bytes)
        else:
            raise ServeError(f"{step.path} is neither here nor in the store")
        return _upload(store, step, source, on_bytes)


def _upload(store: Store, step: Step, source: Path, on_bytes: OnBytes) -> Step:
    return replace(step, stored=store.upload(source, step.file, step.path, on_bytes), held=None)


def _fetch_held(store: Store, held: HeldFile, target: Path, on_bytes: OnBytes) -> None:
    store.download(held.path, target, lambda _count: on_bytes(0))
    if hash_file(target) != held.file.sha256:
        raise VerificationError(
            f"{held.path} in {store.address} is damaged, and this push needs it",
            hint="push the whole repository, or go back to a snapshot that is whole",
        )
