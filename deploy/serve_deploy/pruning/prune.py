"""`serve prune`: a repository's versions that nothing serves, a store's snapshots that nothing names."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.cluster.api import Cluster, connect
from serve_deploy.cluster.named import find_named
from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.progress import Progress, silent
from serve_deploy.pruning.fixed_layout import judge_fixed, list_models, remove_fixed
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.policy import HeldSnapshot, SnapshotPolicy
from serve_deploy.pruning.snapshots import StoreContents, judge, read_contents, remove_snapshots
from serve_deploy.pruning.uploads import prune_uploads
from serve_deploy.pruning.versions import JudgedVersions, PrunedVersion, prune_versions
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import refuse_empty
from serve_deploy.stores.snapshot import FIXED_NAME, POINTER_NAME
from serve_deploy.stores.store import Store, UnfinishedUpload

Connect = Callable[[str | None], Cluster]


@dataclass(frozen=True)
class PruneResult:
    """What was removed, or with `is_dry_run` would be: versions of models, snapshots and unfinished uploads of a store.

    `kept` says why others stay that are not served or not among the newest; `releases` which were asked what they name.
    """

    repository: str
    is_dry_run: bool
    removed: tuple[PrunedVersion, ...] = ()
    kept: tuple[str, ...] = ()
    snapshots: tuple[HeldSnapshot, ...] = ()
    uploads: tuple[UnfinishedUpload, ...] = ()
    releases: str = ""

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
        is_store = any((place / name).exists() for name in (POINTER_NAME, FIXED_NAME))
        return open_store(StoreAddress("local", str(place))) if is_store else None
    if place.kind == "oci":
        raise UsageError(
            f"{place}: a registry does not say when an image was pushed, so it is not known which are old",
            hint="its own rules for old tags can remove those called snapshot-ID; they do not know what releases name",
        )
    if place.snapshot is not None:
        raise UsageError(f"{place} names a snapshot, and prune judges all", hint=f"name the store: {place.root}")
    return open_store(place)


def _describe(options: PruneOptions, judged: JudgedVersions) -> PruneResult:
    return PruneResult(str(options.repository), options.dry_run, judged.removable, judged.kept)


def _prune_snapshots(
    store: Store, contents: StoreContents, options: PruneOptions, progress: Progress, connect_to: Connect, now: float
) -> PruneResult:
    if options.models:
        raise UsageError(
            f"{store.address} has snapshots, which are removed whole",
            hint=f"leave `models={options.models[0]}` out; a push without a model makes a snapshot without it",
        )
    policy = SnapshotPolicy(options.keep, options.older_than_seconds)
    by_policy = judge(contents, policy, {}, now)
    result = PruneResult(str(store.address), options.dry_run, kept=by_policy.kept)
    if not by_policy.removable:
        return result
    named, said = _ask_releases(options, progress, connect_to)
    judged = judge(contents, policy, named, now)
    if options.dry_run:
        return replace(result, snapshots=judged.removable, kept=judged.kept, releases=said)
    removed, kept = remove_snapshots(store, judged.removable, progress)
    return replace(result, snapshots=tuple(removed), kept=(*judged.kept, *kept), releases=said)


def _ask_releases(options: PruneOptions, progress: Progress, connect_to: Connect) -> tuple[Mapping[str, str], str]:
    """What clusters name, and a sentence of which were asked."""
    if options.ignore_releases:
        return {}, "releases were not looked at: what they name goes by the policy alone"
    named: dict[str, str] = {}
    told = []
    for context in options.contexts or (None,):
        shown = f"context {context}" if context else "the current context"
        progress(f"asking the cluster of {shown} what its releases name")
        try:
            found = find_named(connect_to(context), options.namespaces)
        except EndpointError as error:
            if options.dry_run:
                return {}, f"releases could not be looked at, and may name some of these: {error}"
            raise type(error)(
                f"it is not known which snapshots releases name: {error}",
                hint="`contexts` and `namespaces` say where releases are; without any, `ignore_releases` removes by the"
                " policy alone, and `dry_run` shows what",
            ) from error
        named = {**found.by, **named}
        count = f"{found.revisions} revision{'s' * (found.revisions != 1)} of releases"
        told.append(f"{count} in {', '.join(options.namespaces) or 'all namespaces'} of {shown}")
    return named, f"looked at {'; '.join(told)}"
