"""A temporary repository that starts from a store and is pushed back: what packages into a store works in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.errors import ServeError
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.progress import Progress
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import PullOptions, PushOptions
from serve_deploy.stores.pull import pull_repository, read_current
from serve_deploy.stores.push import PushResult, push_repository
from serve_deploy.stores.snapshot import Snapshot


@dataclass(frozen=True)
class WorkingCopy:
    """Some models of a store in a folder; `base` is the snapshot that they are from, None where it had none."""

    store: StoreAddress
    folder: Path
    base: Snapshot | None
    progress: Progress

    def in_own_words(self, text: str) -> str:
        """What was said of the folder, with the store's address in it."""
        return text.replace(str(self.folder), str(self.store))

    def push(self, models: Collection[str]) -> PushResult:
        """Make these models, beside the others that the store has, its current snapshot.

        StoreChangedError where the store has another version of one of them by now.
        """
        options = PushOptions(repository=self.folder, store=self.store, models=tuple(models), base=self.base)
        return push_repository(options, progress=self.progress)


@contextmanager
def working_copy(store: StoreAddress, models: Collection[str], progress: Progress) -> Iterator[WorkingCopy]:
    """These of a store's models, as far as it has them, in a folder that is gone afterwards; errors name the store."""
    place = make_temporary("repository")
    folder = place / "models"
    try:
        base = read_current(store)
        wanted = tuple(name for name in base.models if name in models) if base else ()
        folder.mkdir()
        if base and wanted:
            pull_repository(PullOptions(store=replace(store, snapshot=base.id), repository=folder, models=wanted), progress=progress)
        copy = WorkingCopy(store, folder, base, progress)
        try:
            yield copy
        except ServeError as error:
            error.message = copy.in_own_words(error.message)
            error.hint = error.hint and copy.in_own_words(error.hint)
            raise
    finally:
        remove_temporary(place)


def model_address(pushed: PushResult, model: str) -> str:
    """Where Triton can read a pushed model's folder."""
    return f"{pushed.store}/snapshots/{pushed.snapshot}/{model}"
