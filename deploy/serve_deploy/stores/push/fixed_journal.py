"""What says that a push to a fixed layout is under way, and lets the next one go on where it was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, ValidationError

from serve_deploy.errors import VerificationError
from serve_deploy.stores.manifests.manifests import encode, parse_snapshot, read_fixed
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import Store, StoreChangedError

JOURNAL_NAME = "push.json"
# A push that lives writes its journal again so often; one that did not in three times that is dead.
_BEAT_SECONDS = 5.0


class Journal(BaseModel):
    """The manifest that is being made true, and the files that go when it is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    snapshot: Snapshot
    gone: tuple[SnapshotFile, ...] = ()


def read_journal(store: Store) -> Journal | None:
    """The journal of a push that is under way or was killed; None where there is none, or nothing to take from it."""
    small = store.read(JOURNAL_NAME)
    try:
        journal = Journal.model_validate_json(small.content) if small else None
        if journal:
            parse_snapshot(store, JOURNAL_NAME, encode(journal.snapshot))
    except (ValidationError, VerificationError):
        return None
    return None if journal and find_bad_path([file.path for file in journal.gone]) else journal


@contextmanager
def holding(
    store: Store, journal: Journal, left: Journal | None, tag: str | None, sleep: Callable[[float], object]
) -> Iterator[Callable[[], None]]:
    """Hold the store for this push; what is yielded says that it lives. An error leaves the journal, for the next.

    StoreChangedError where another push lives, or ended since this one looked at the store: `left` is the journal that
    it saw, of one that may be dead, and `tag` that of the manifest.
    """
    held = store.read(JOURNAL_NAME)
    if held is None and left is not None:
        raise _changed(store)
    if held and (left is None or left.snapshot.id != journal.snapshot.id):
        sleep(3 * _BEAT_SECONDS)
        now = store.read(JOURNAL_NAME)
        if now is None or now.tag != held.tag:
            raise _under_way(store)
    own, last = held.tag if held else None, float("-inf")

    def beat() -> None:
        nonlocal own, last
        now = time.monotonic()
        if now - last > _BEAT_SECONDS:
            try:
                own = store.write(JOURNAL_NAME, encode(journal), expected=own).tag
            except StoreChangedError as error:
                raise _under_way(store) from error
            last = now

    beat()
    if read_fixed(store)[1] != tag:
        store.delete([JOURNAL_NAME])
        raise _changed(store)
    yield beat
    store.delete([JOURNAL_NAME])


def _changed(store: Store) -> StoreChangedError:
    return StoreChangedError(f"another push changed {store.address} meanwhile", hint="nothing was sent; push again")


def _under_way(store: Store) -> StoreChangedError:
    return StoreChangedError(
        f"another push to {store.address} is under way", hint="push again when it has ended, to see what it changed"
    )
