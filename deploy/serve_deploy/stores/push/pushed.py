"""What a push makes of a store, as its result tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.manifests.manifests import BaseChangedError, Layout, make_snapshot, of_models
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.snapshot import Snapshot
from serve_deploy.stores.transfer.contents import LocalFile
from serve_deploy.stores.transfer.sending import Action


@dataclass(frozen=True)
class PushedFile:
    """What is done for a file: sent from here, copied inside the store, there already, or (`--fixed`) deleted."""

    path: str
    size_bytes: int
    action: Action


@dataclass(frozen=True)
class PushResult:
    """What a push did, or with `is_dry_run` would do; `previous` is the snapshot that counted before.

    `postponed` names models and versions that are to be deleted, but may be being loaded now; `caution` says what this
    store does not ensure. In a registry, `image` is the reference by digest, as Kubernetes takes it, and `overtaken`
    the digest of an image that another push had named while this one ran.
    """

    store: str
    layout: Layout
    snapshot: str
    previous: str | None
    models: tuple[str, ...]
    files: tuple[PushedFile, ...]
    sent_bytes: int
    copied_bytes: int
    kept_bytes: int
    postponed: tuple[str, ...]
    is_signed: bool
    is_dry_run: bool
    caution: str | None = None
    image: str | None = None
    overtaken: str | None = None


@dataclass(frozen=True)
class Pushed:
    """A snapshot of a push: its manifest, which one counted before, and what is done for each of its files."""

    snapshot: Snapshot
    previous: str | None
    actions: Mapping[str, Action]
    deleted: Sequence[PushedFile] = ()
    postponed: tuple[str, ...] = ()


def merge_models(contents: Sequence[LocalFile], models: Sequence[str], current: Snapshot | None) -> Snapshot:
    """The local files, and where only some models are pushed, the others as the store has them now.

    InvalidModelError where their names clash.
    """
    kept = [file for file in current.files if file.model not in models] if models and current else []
    files = [*(each.file for each in contents), *kept]
    if bad := find_bad_path([file.path for file in files]):
        raise InvalidModelError(f"with what the store has: {bad}", hint="rename it")
    return make_snapshot(files)


def require_base(options: PushOptions, current: Snapshot | None) -> None:
    """BaseChangedError where the pushed models are not in the store as the pusher's work began from."""
    if options.base is None:
        return
    now = of_models(current, options.models or (current.models if current else ()))
    changed = sorted({path.partition("/")[0] for path, _sha256 in now.items() ^ options.base.items()})
    if changed:
        raise BaseChangedError(
            f"another push changed {', '.join(changed)} in {options.store} meanwhile",
            hint="nothing was sent; run this again, on what the store has now",
        )


def describe_push(
    store: StoreAddress, layout: Layout, pushed: Pushed, *, is_signed: bool, is_dry_run: bool
) -> PushResult:
    """The result, with what each action moves."""
    placed = tuple(PushedFile(file.path, file.size_bytes, pushed.actions[file.path]) for file in pushed.snapshot.files)

    def count(action: Action) -> int:
        return sum(file.size_bytes for file in placed if file.action == action)

    return PushResult(
        store=str(store), layout=layout, snapshot=pushed.snapshot.id,
        previous=pushed.previous, models=pushed.snapshot.models,
        files=(*placed, *pushed.deleted), sent_bytes=count("send"), copied_bytes=count("copy"),
        kept_bytes=count("keep"), postponed=pushed.postponed, is_signed=is_signed, is_dry_run=is_dry_run,
    )  # fmt: skip


def require_root(store: StoreAddress) -> None:
    """Refuse the address of a snapshot, which no push changes; a tag is what a push to a registry moves."""
    if store.snapshot is not None and store.kind != "oci":
        raise UsageError(f"{store} names a snapshot, and a push makes a new one", hint=f"push to {store.root}")
