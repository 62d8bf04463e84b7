"""Send a repository to a store as a snapshot: complete before anything names it, then named by one small file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.model_config import CONFIG_NAME
from serve_deploy.progress import Progress, silent
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.backends.opening import open_store, require_apart
from serve_deploy.stores.manifests.claims import claiming
from serve_deploy.stores.manifests.manifests import (
    ReadPointer,
    find_layout,
    read_pointer,
    read_signatures,
    read_snapshot,
    stored_path,
    write_pointer,
    write_signature,
    write_snapshot,
)
from serve_deploy.stores.manifests.verification import check_listing
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.push.fixed import push_fixed
from serve_deploy.stores.push.fixed_folder import push_fixed_folder
from serve_deploy.stores.push.pushed import Pushed, PushResult, describe_push, merge_models, require_base, require_root
from serve_deploy.stores.signing.model_signature import signature_path
from serve_deploy.stores.signing.signing import AskPassphrase, Signer, open_signer, require_vouched
from serve_deploy.stores.snapshot import POINTER_NAME, Snapshot
from serve_deploy.stores.store import Store, StoredFile
from serve_deploy.stores.transfer.contents import LocalFile, read_contents
from serve_deploy.stores.transfer.sending import list_held, plan_steps, send_all, with_checksums


def push_repository(
    options: PushOptions, progress: Progress = silent, *, ask_passphrase: AskPassphrase | None = None
) -> PushResult:
    """Make a repository the store's current snapshot, sending only what the store does not have; or only say so.

    UsageError for a wrong address or folder, InvalidModelError for what cannot be pushed, EndpointError where the store
    cannot be reached, DestinationError where it cannot be written, StoreChangedError where another push came first.
    """
    _require_fitting(options)
    require_apart(options.repository, options.store)
    signer = open_signer(options.signing, ask_passphrase)
    contents = read_contents(options.repository, options.models, progress)
    if options.store.kind == "oci":
        from serve_deploy.stores.push.images import push_to_registry

        return push_to_registry(options, contents, signer, progress)
    store = open_store(options.store)
    layout: Literal["snapshots", "fixed"] = "fixed" if options.fixed else "snapshots"
    _require_layout(store, layout)
    if isinstance(store, LocalStore) and options.fixed:
        pushed = push_fixed_folder(store, contents, options, signer, progress)
    elif options.fixed:
        pushed = push_fixed(store, contents, options, signer, progress)
    else:
        pushed = _push_snapshot(store, contents, options, signer, progress)
    told = describe_push(store.address, layout, pushed, is_signed=signer is not None, is_dry_run=options.dry_run)
    return replace(told, caution=getattr(store, "caution", None))


def _push_snapshot(
    store: Store, contents: Sequence[LocalFile], options: PushOptions, signer: Signer | None, progress: Progress
) -> Pushed:
    before = read_pointer(store)
    known = _read_known(store, before, options)
    current = known.get(before.snapshot or "")
    require_base(options, current)
    snapshot = merge_models(contents, options.models, current)
    own = {each.file.path for each in contents}
    require_vouched(
        signer, snapshot, own, current, lambda: read_signatures(store, signature_path(before.snapshot or ""))
    )
    held = list_held((other, stored_path(other.id, "")) for other in known.values() if other.id != snapshot.id)
    prefix, local = stored_path(snapshot.id, ""), {each.file.path: each for each in contents}
    if options.dry_run:
        steps = plan_steps(snapshot, prefix, local, held, _list_whole(store, snapshot, progress))
        return Pushed(snapshot, before.snapshot, {step.file.path: step.action for step in steps})
    with claiming(store, snapshot.id):
        steps = plan_steps(snapshot, prefix, local, held, _list_whole(store, snapshot, progress))
        done, actions = send_all(store, steps, concurrency=options.concurrency, progress=progress)
        write_signature(store, snapshot, signer)
        write_snapshot(store, with_checksums(snapshot, done))
        write_pointer(store, snapshot.id, before)
    return Pushed(snapshot, before.snapshot, actions)


def _list_whole(store: Store, snapshot: Snapshot, progress: Progress) -> Mapping[str, StoredFile]:
    """What the store has of a snapshot, without what its manifest, or in a folder its content, shows to be damaged."""
    prefix = stored_path(snapshot.id, "")
    there = {path.removeprefix(prefix): file for path, file in store.list_files(prefix).items()}
    damaged = set()
    with suppress(VerificationError):
        if complete := read_snapshot(store, snapshot.id):
            damaged = {problem.path for problem in check_listing(complete, there).problems}
    if isinstance(store, LocalStore):
        for file in snapshot.files:
            if file.path in there:
                progress(f"comparing {file.path}")
                damaged |= set() if store.holds(f"{prefix}{file.path}", file) else {file.path}
    return {f"{prefix}{path}": file for path, file in there.items() if path not in damaged}


def _require_fitting(options: PushOptions) -> None:
    if (options.repository / POINTER_NAME).is_file():
        raise UsageError(
            f"{options.repository} is a model store, not a repository",
            hint="pull its models into a folder, and push that",
        )
    require_root(options.store)
    if options.fixed and options.store.kind == "oci":
        raise UsageError(
            "`fixed` is for stores of files", hint="a registry's images are snapshots, named by their tags"
        )
    if options.delete and not options.fixed:
        raise UsageError("`delete` is for `fixed`", hint="a snapshot holds the repository's models and no others")


def _require_layout(store: Store, layout: Literal["snapshots", "fixed"]) -> None:
    found = find_layout(store)
    if found == "fixed" and layout == "snapshots":
        raise UsageError(f"{store.address} has the fixed layout", hint="push with `fixed`, or to another address")
    if found is None and layout == "snapshots" and isinstance(store, LocalStore):
        _refuse_repository(Path(store.address.location))
    if found == "snapshots" and layout == "fixed":
        raise UsageError(f"{store.address} holds snapshots", hint="push without `fixed`, or to another address")


def _refuse_repository(folder: Path) -> None:
    """A Triton that polls it would take the snapshots for a model."""
    if any(folder.glob(f"*/{CONFIG_NAME}")):
        raise UsageError(
            f"{folder} is a model repository",
            hint="push with `fixed` to change its models in place, or to another folder",
        )


def _read_known(store: Store, before: ReadPointer, options: PushOptions) -> Mapping[str, Snapshot]:
    """The current snapshot and the one before it, as far as they are there: what the store can copy from."""
    found = {}
    for name in filter(None, (before.snapshot, before.previous)):
        try:
            snapshot = read_snapshot(store, name)
        except VerificationError:
            # A push of all models needs nothing of a damaged one.
            if name == before.snapshot and (options.models or options.base is not None):
                raise
            continue
        if snapshot:
            found[name] = snapshot
    return found
