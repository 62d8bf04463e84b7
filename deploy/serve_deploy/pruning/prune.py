"""`serve prune`: a repository's versions that nothing serves, a store's snapshots that nothing names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.cluster.api import connect
from serve_deploy.errors import UsageError
from serve_deploy.progress import Progress, silent
from serve_deploy.pruning.fixed_layout import judge_fixed, list_models, remove_fixed
from serve_deploy.pruning.images import prune_images
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.policy import HeldSnapshot, SnapshotPolicy
from serve_deploy.pruning.releases import Connect, ask_releases
from serve_deploy.pruning.snapshots import StoreContents, judge, read_contents, remove_snapshots
from serve_deploy.pruning.uploads import prune_uploads
from serve_deploy.pruning.versions import JudgedVersions, PrunedVersion, prune_versions
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import refuse_empty
from serve_deploy.stores.repository_option import is_local_store
from serve_deploy.stores.store import Store, UnfinishedUpload


@dataclass(frozen=True)
class PruneResult:
    """What was removed, or with `is_dry_run` would be: versions of models, snapshots and unfinished uploads of a store.

    `kept` says why others stay that are not served or not among the newest; `releases` which were asked what they name;
    `note` what else is needed until the space is free.
    """

    repository: str
    is_dry_run: bool
    removed: tuple[PrunedVersion, ...] = ()
    kept: tuple[str, ...] = ()
    snapshots: tuple[HeldSnapshot, ...] = ()
    uploads: tuple[UnfinishedUpload, ...] = ()
    releases: str = ""
    note: str = ""

    @property
    def freed_bytes(self) -> int:
        """What the removal frees."""
        sizes = [each.size_bytes for each in self.removed] + [each.size_bytes for each in self.snapshots]
        return sum(sizes) + sum(each.size_bytes for each in self.uploads)


def prune(
    options: PruneOptions,
    progress: Progress = silent,
    connect_to: Connect = connect,
    clock: Callable[[], float] = time.time,
) -> PruneResult:
    """Remove what nothing serves, needs or names, or only say so.

    UsageError where there is no repository or store; InvalidModelError where an ensemble cannot be read, and so may
    need any version; EndpointError where the store, or a cluster whose releases may name snapshots, cannot be asked;
    DestinationError where something cannot be removed.
    """
    place = options.repository
    if isinstance(place, StoreAddress) and place.kind == "oci":
        return _prune_registry(place, options, progress, connect_to)
    store = _find_store(place)
    if store is None:
        progress(f"reading {place}")
        return _describe(options, prune_versions(Path(str(place)), options.models, dry_run=options.dry_run))
    progress(f"listing {store.address}")
    contents = read_contents(store)
    if contents.snapshots or contents.pointer.pointer:
        result, models = _prune_snapshots(store, contents, options, progress, connect_to, clock()), None
    else:
        files = list_models(store)
        if not files:
            raise refuse_empty(store)
        judged = judge_fixed(store, options.models)
        if judged.removable and not options.dry_run:
            remove_fixed(store, judged.removable)
        result, models = _describe(options, judged), {path.partition("/")[0] for path in files}
    uploads = prune_uploads(store, models, clock(), progress, dry_run=options.dry_run)
    return replace(result, uploads=uploads.removable, kept=(*result.kept, *uploads.kept))


def _find_store(place: Path | StoreAddress) -> Store | None:
    """The store at a place; None where it is a plain repository of this machine."""
    if isinstance(place, Path):
        return open_store(StoreAddress("local", str(place))) if is_local_store(place) else None
    if place.snapshot is not None:
        raise UsageError(f"{place} names a snapshot, and prune judges all", hint=f"name the store: {place.root}")
    return open_store(place)


def _prune_registry(
    address: StoreAddress, options: PruneOptions, progress: Progress, connect_to: Connect
) -> PruneResult:
    _refuse_models(options)
    pruned = prune_images(address, options, progress, lambda: ask_releases(options, progress, connect_to))
    return PruneResult(
        str(address), options.dry_run, kept=pruned.kept, snapshots=pruned.snapshots, releases=pruned.releases,
        note=pruned.note,
    )  # fmt: skip


def _refuse_models(options: PruneOptions) -> None:
    if options.models:
        raise UsageError(
            f"{options.repository} has snapshots, which are removed whole",
            hint=f"leave `models={options.models[0]}` out; a push without a model makes a snapshot without it",
        )


def _describe(options: PruneOptions, judged: JudgedVersions) -> PruneResult:
    return PruneResult(str(options.repository), options.dry_run, judged.removable, judged.kept)


def _prune_snapshots(
    store: Store, contents: StoreContents, options: PruneOptions, progress: Progress, connect_to: Connect, now: float
) -> PruneResult:
    _refuse_models(options)
    policy = SnapshotPolicy(options.keep, options.older_than_seconds)
    by_policy = judge(contents, policy, {}, now)
    result = PruneResult(str(store.address), options.dry_run, kept=by_policy.kept)
    if not by_policy.removable:
        return result
    named, said = ask_releases(options, progress, connect_to)
    judged = judge(contents, policy, named, now)
    if options.dry_run:
        return replace(result, snapshots=judged.removable, kept=judged.kept, releases=said)
    removed, kept = remove_snapshots(store, judged.removable, progress)
    return replace(result, snapshots=tuple(removed), kept=(*judged.kept, *kept), releases=said)
