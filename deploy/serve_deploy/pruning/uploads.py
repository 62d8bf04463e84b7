"""Parts of large files that a killed push left in a store, which keeps them for ever and lists no object of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from serve_deploy.errors import EndpointError
from serve_deploy.progress import Progress
from serve_deploy.pruning.policy import ABANDONED_SECONDS
from serve_deploy.stores.snapshot import SNAPSHOTS_FOLDER
from serve_deploy.stores.store import Store, UnfinishedUpload


@dataclass(frozen=True)
class JudgedUploads:
    """What went, or in a dry run would, and why others stay."""

    removable: tuple[UnfinishedUpload, ...]
    kept: tuple[str, ...]


def prune_uploads(
    store: Store, models: Collection[str] | None, now: float, progress: Progress, *, dry_run: bool
) -> JudgedUploads:
    """Remove unfinished uploads that are older than a day: of snapshots, or of these models in a fixed layout.

    A store that lets nobody list or remove them is no error: what to do with them is then its own rules' business.
    """
    progress(f"looking for unfinished uploads in {store.address}")
    try:
        found = store.list_uploads("" if models is not None else f"{SNAPSHOTS_FOLDER}/")
    except EndpointError as error:
        return JudgedUploads((), (f"unfinished uploads, if there are any: {error.message}",))
    removed, kept = [], []
    for each in found:
        is_other = models is not None and each.path.partition("/")[0] not in models
        if is_other or each.begun_seconds > now - ABANDONED_SECONDS:
            continue
        try:
            if not dry_run:
                store.abandon(each)
            removed.append(each)
        except EndpointError as error:
            kept.append(f"the unfinished upload of {each.path}: {error.message}")
    return JudgedUploads(tuple(removed), tuple(kept))
