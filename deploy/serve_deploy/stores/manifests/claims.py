"""Who works on a snapshot: a push or a naming claims it, or prune removes it, and never both.

Each first writes a small file of its own, and then looks for the other's: of two at once, at least one sees the other.

    claims/ID-….json      the snapshot is being sent or named
    removals/ID-….json    it is being removed
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from serve_deploy.errors import EndpointError, ServeError
from serve_deploy.stores.store import Store, StoreChangedError

CLAIMS_FOLDER, REMOVALS_FOLDER = "claims", "removals"
_HURRY_SECONDS = 1.0
# After so long, by the store's own clock, whoever wrote it is taken for dead.
CLAIM_SECONDS, REMOVAL_SECONDS = 24 * 3600.0, 3600.0


@contextmanager
def claiming(store: Store, snapshot_id: str) -> Iterator[None]:
    """Hold a snapshot while it is sent or named, so that no prune removes it; StoreChangedError where one does."""
    with _marking(store, CLAIMS_FOLDER, snapshot_id) as now:
        if _is_marked(store, REMOVALS_FOLDER, snapshot_id, now - REMOVAL_SECONDS):
            raise StoreChangedError(
                f"{store.address}: snapshot {snapshot_id} is being removed by serve prune",
                hint="run this again when it has ended; an interrupted one gives way after an hour",
            )
        yield


@contextmanager
def removing(store: Store, snapshot_id: str) -> Iterator[bool]:
    """Hold a snapshot while it is removed; False where it may not be: it is being sent or named."""
    with _marking(store, REMOVALS_FOLDER, snapshot_id) as now:
        yield not _is_marked(store, CLAIMS_FOLDER, snapshot_id, now - CLAIM_SECONDS)


def remove_stale_marks(store: Store) -> None:
    """Clear up after runs that were killed."""
    with _marking(store, REMOVALS_FOLDER, "none") as now:
        for folder, seconds in ((CLAIMS_FOLDER, CLAIM_SECONDS), (REMOVALS_FOLDER, REMOVAL_SECONDS)):
            marks = store.list_files(f"{folder}/").values()
            store.delete([each.path for each in marks if (each.modified_seconds or now) < now - seconds])


@contextmanager
def _marking(store: Store, folder: str, snapshot_id: str) -> Iterator[float]:
    """Have a file of this run's own there meanwhile; the time of its writing, by the store's clock."""
    path = f"{folder}/{snapshot_id}-{uuid4().hex}.json"
    store.write(path, b"{}\n", expected=None)
    try:
        yield read_time(store, path)
    finally:
        _remove(store, path, is_hurried=isinstance(sys.exception(), KeyboardInterrupt))


def read_time(store: Store, path: str) -> float:
    """When a file was written that is there, by the store's clock; EndpointError where the store does not list it."""
    written = store.list_files(path).get(path)
    if written is None:
        raise EndpointError(
            f"{store.address} does not list what was just written to it",
            hint="pushes and prunes that run at once see each other by that list; try again, or use another store",
        )
    return written.modified_seconds or 0.0


def _remove(store: Store, path: str, *, is_hurried: bool) -> None:
    """Remove a mark; after Ctrl-C only as long as it takes no time, on a connection that may be what hangs."""

    failed: list[BaseException] = []

    def run() -> None:
        try:
            # One that stays is stale in time; it must not hide how the work itself ended.
            with suppress(ServeError):
                store.delete([path])
        except BaseException as error:  # noqa: BLE001 - raised where the thread is waited for
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_HURRY_SECONDS if is_hurried else None)
    if failed and not is_hurried:
        raise failed[0]


def _is_marked(store: Store, folder: str, snapshot_id: str, since: float) -> bool:
    """Whether others have a file there that is not older."""
    return any(
        path.startswith(f"{folder}/{snapshot_id}-") and (file.modified_seconds is None or file.modified_seconds > since)
        for path, file in store.list_files(f"{folder}/").items()
    )
