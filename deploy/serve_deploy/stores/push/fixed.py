"""Push to one fixed path for each model: versions first, configurations last, and the manifest when all is there.

A reader that polls sees each file whole, but not all of them at one instant.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from uuid import uuid4

from serve_deploy.errors import DestinationError
from serve_deploy.files.temporary import temporary_folder
from serve_deploy.model_config import CONFIG_NAME
from serve_deploy.progress import Progress
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.stores.manifests.claims import read_time
from serve_deploy.stores.manifests.manifests import (
    FIXED_SIGNATURE,
    read_fixed,
    read_signatures,
    write_fixed,
)
from serve_deploy.stores.manifests.verification import find_problem
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.push.fixed_journal import Journal, holding, read_journal
from serve_deploy.stores.push.fixed_plan import Deletion, FixedPlan, find_version, plan_fixed, write_order
from serve_deploy.stores.push.pushed import Pushed, PushedFile, require_base
from serve_deploy.stores.signing.signing import Signer, require_vouched
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.store import Store, StoredFile
from serve_deploy.stores.transfer.contents import LocalFile
from serve_deploy.stores.transfer.sending import Action, Step, list_held, plan_steps, send_all, with_checksums


def push_fixed(
    store: Store, contents: Sequence[LocalFile], options: PushOptions, signer: Signer | None, progress: Progress,
    *, sleep: Callable[[float], object] = time.sleep,
) -> Pushed:  # fmt: skip
    """Make the store's models those of the repository, in the order that hurts readers least."""
    before, tag = read_fixed(store)
    require_base(options, before)
    left = read_journal(store)
    wanted, listed = [each.file for each in contents], store.list_files("")
    there = _read_there(store, contents, listed, before, left)
    deletion = Deletion(options.delete, not options.models, _resting(store, listed, options))
    plan = plan_fixed(wanted, before, there, deletion)
    own = {each.file.path for each in contents}
    require_vouched(signer, plan.snapshot, own, before, lambda: read_signatures(store, FIXED_SIGNATURE))
    steps = _plan_steps(plan, contents, before, listed, there)
    gone = _list_gone(plan, left, before, listed)
    actions: Mapping[str, Action] = {step.file.path: step.action for step in steps}
    if not options.dry_run:
        with holding(store, Journal(snapshot=plan.snapshot, gone=tuple(gone)), left, tag, sleep) as beat:

            def tell(message: str) -> None:
                beat()
                progress(message)

            done, actions = send_all(
                store, steps, concurrency=options.concurrency, progress=tell, order=lambda step: write_order(step.path)
            )
            write_fixed(store, with_checksums(plan.snapshot, done), tag, signer)
            store.delete([file.path for file in gone])
    deleted = [PushedFile(file.path, file.size_bytes, "delete") for file in gone]
    return Pushed(plan.snapshot, before.id if before else None, actions, deleted, plan.postponed)


def _resting(store: Store, listed: Mapping[str, StoredFile], options: PushOptions) -> Callable[[str], bool]:
    """Whether nothing of a model was written lately, by the store's own clock."""

    def rests(model: str) -> bool:
        times = [file.modified_seconds for path, file in listed.items() if path.startswith(f"{model}/")]
        return options.settle_seconds <= 0 or all(each and each <= now() - options.settle_seconds for each in times)

    @cache
    def now() -> float:
        if options.dry_run:
            return time.time()
        # Not in a folder, which Triton would take for a model.
        path = f"clock-{uuid4().hex}.json"
        store.write(path, b"{}\n", expected=None)
        try:
            return read_time(store, path)
        finally:
            store.delete([path])

    return rests


def _read_there(
    store: Store, contents: Sequence[LocalFile], listed: Mapping[str, StoredFile], before: Snapshot | None,
    left: Journal | None,
) -> dict[str, str]:  # fmt: skip
    """The sha256 of what the store has of these versions, and of listed files: by manifest or journal, else read."""
    snapshots = (left.snapshot if left else None, before)
    known = {file.path: file for snapshot in snapshots if snapshot for file in snapshot.files}
    unsure = _list_unsure(before, left)
    pushed = {each.file.model for each in contents}
    versions = {find_version(each.file.path) for each in contents} - {None}
    there = {}
    for path, stored in listed.items():
        file = known.get(path)
        if path in unsure:
            _require_pushed(store, unsure[path], pushed)
        elif file and find_problem(file, stored) is None:
            there[path] = file.sha256
        elif find_version(path) in versions:
            there[path] = _read_sha256(store, stored)
    return there


def _list_unsure(before: Snapshot | None, left: Journal | None) -> dict[str, str]:
    """What an interrupted push may have written or not, with its model: all but versions, which do not change."""
    old = {file.path: file.sha256 for file in before.files} if before else {}
    files = left.snapshot.files if left else ()
    return {
        file.path: file.model for file in files if find_version(file.path) is None and old.get(file.path) != file.sha256
    }


def _require_pushed(store: Store, model: str, pushed: Collection[str]) -> None:
    if model not in pushed:
        raise DestinationError(
            f"{store.address} has {model} half pushed, by a push that was interrupted",
            hint=f"push {model} as well, to complete it",
        )


def _read_sha256(store: Store, file: StoredFile) -> str:
    with temporary_folder("push") as folder:
        target = folder / "file"
        store.download(file.path, target, lambda _count: None)
        return hash_file(target)


def _plan_steps(
    plan: FixedPlan, contents: Sequence[LocalFile], before: Snapshot | None, listed: Mapping[str, StoredFile],
    there: Mapping[str, str],
) -> list[Step]:  # fmt: skip
    right = {file.path for file in plan.snapshot.files if there.get(file.path) == file.sha256}
    # Only what no push changes can be copied while this one writes.
    held = {
        sha256: file for sha256, file in list_held([(before, "")] if before else []).items() if find_version(file.path)
    }
    local = {each.file.path: each for each in contents}
    return plan_steps(plan.snapshot, "", local, held, {path: listed[path] for path in right})


def _list_gone(
    plan: FixedPlan, left: Journal | None, before: Snapshot | None, listed: Mapping[str, StoredFile]
) -> list[SnapshotFile]:
    """What is deleted at the end: what the plan says, and what an interrupted push had sent or was to delete."""
    stays = {file.path for snapshot in (plan.snapshot, before) if snapshot for file in snapshot.files}
    others = [file for file in (*left.snapshot.files, *left.gone) if file.path not in stays] if left else []
    gone = {file.path: file for file in (*plan.deleted, *others) if file.path in listed}
    return sorted(gone.values(), key=lambda file: (file.path.partition("/")[2] != CONFIG_NAME, file.path))
