"""The fixed layout in a folder that a Triton may poll: each model changes by one rename, or by several that each fit.

What does not change is not touched: a new file, or a hard link to it, makes Triton load its whole model again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from serve_deploy.errors import DestinationError
from serve_deploy.files.copying import copy_file
from serve_deploy.files.moving import EXCHANGE, flush_to_disk, interrupts_deferred, rename_with_flags
from serve_deploy.files.staging import destination_errors, staging_folder
from serve_deploy.progress import Progress
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.manifests.manifests import FIXED_SIGNATURE, read_fixed, read_signatures, write_fixed
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.push.fixed_plan import Deletion, FixedPlan, find_version, plan_fixed, write_order
from serve_deploy.stores.push.pushed import Pushed, PushedFile, require_base
from serve_deploy.stores.signing.signing import Signer, require_vouched
from serve_deploy.stores.snapshot import FIXED_NAME, Snapshot, SnapshotFile
from serve_deploy.stores.store import StoreChangedError
from serve_deploy.stores.transfer.contents import LocalFile, hash_models
from serve_deploy.stores.transfer.receiving import Source, receive
from serve_deploy.stores.transfer.sending import Action


def push_fixed_folder(
    store: LocalStore, contents: Sequence[LocalFile], options: PushOptions, signer: Signer | None, progress: Progress
) -> Pushed:
    """Make a folder's models those of the repository, each at once; the manifest last."""
    root = Path(store.address.location)
    before, tag = read_fixed(store)
    require_base(options, before)
    there = _read_there(root, {each.file.model for each in contents}, before, progress)
    deletion = Deletion(options.delete, not options.models, lambda model: _rests(root / model, options.settle_seconds))
    plan = plan_fixed([each.file for each in contents], before, there, deletion)
    pushed = {each.file.path for each in contents}
    require_vouched(signer, plan.snapshot, pushed, before, lambda: read_signatures(store, FIXED_SIGNATURE))
    new = [file for file in plan.snapshot.files if file.path in pushed and there.get(file.path) != file.sha256]
    actions: dict[str, Action] = {file.path: "keep" for file in plan.snapshot.files}
    actions |= {file.path: "send" for file in new}
    _require_listed(root, before, plan)
    gone = [PushedFile(file.path, file.size_bytes, "delete") for file in plan.deleted]
    if not options.dry_run:
        with staging_folder(root, beside=True) as staging:
            _receive(contents, new, staging, options.concurrency, progress)
            with store.locked():
                if read_fixed(store)[1] != tag:
                    raise StoreChangedError(f"another push changed {root} meanwhile", hint="push again")
                with destination_errors(root):
                    _show(_prepare(root, staging, new, plan), staging)
                write_fixed(store, plan.snapshot, tag, signer)
    return Pushed(plan.snapshot, before.id if before else None, actions, gone, plan.postponed)


def _read_there(root: Path, models: Collection[str], before: Snapshot | None, progress: Progress) -> Mapping[str, str]:
    """What these models are in the folder: by the manifest where a file is older than that, else by reading it."""
    listed = {file.path: file for file in before.files} if before else {}
    written = (root / FIXED_NAME).stat().st_mtime_ns if before else 0

    def known(path: str, file: Path) -> str | None:
        status, entry = file.stat(), listed.get(path)
        is_older = max(status.st_mtime_ns, status.st_ctime_ns) < written
        return entry.sha256 if entry and is_older and entry.size_bytes == status.st_size else None

    names = sorted(model for model in models if (root / model).exists())
    if not names:
        return {}
    found = hash_models(root, names, progress, known=known, links_out=True)
    return {each.file.path: each.file.sha256 for each in found}


def _rests(folder: Path, seconds: float) -> bool:
    """Whether nothing in a model's folder changed lately."""
    changed = (max(each.st_mtime, each.st_ctime) for each in map(Path.lstat, (folder, *folder.rglob("*"))))
    return not folder.exists() or max(changed) <= time.time() - seconds


def _receive(
    contents: Sequence[LocalFile], new: Sequence[SnapshotFile], staging: Path, concurrency: int, progress: Progress
) -> None:
    local = {each.file.sha256: each.source for each in contents if each.source}
    source = Source(None, "", local)
    receive(source, new, staging / "new", parts=staging / "parts", concurrency=concurrency, progress=progress)


def _require_listed(root: Path, before: Snapshot | None, plan: FixedPlan) -> None:
    """A model that is to be deleted has no files that no push put there."""
    listed = {file.path for file in before.files} if before else set()
    for model in {file.model for file in plan.deleted} - set(plan.snapshot.models):
        found = (path for path in (root / model).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        for path in found:
            if path.relative_to(root).as_posix() not in listed:
                raise DestinationError(
                    f"{path} was not put there by serve push, so {model} is not deleted", hint="remove it by hand"
                )


@dataclass(frozen=True)
class _Change:
    """How a model changes: in exchange for `whole`, or by renames to a place (from None: away from it), in order."""

    folder: Path
    renames: Sequence[tuple[Path | None, Path]]
    whole: Path | None = None


def _prepare(root: Path, staging: Path, new: Sequence[SnapshotFile], plan: FixedPlan) -> list[_Change]:
    changes, stays = [], set(plan.snapshot.models)
    for model in sorted({file.model for file in (*new, *plan.deleted)}):
        added = sorted((file.path for file in new if file.model == model), key=lambda path: (write_order(path), path))
        removed = [file.path for file in plan.deleted if file.model == model]
        if model not in stays:
            changes.append(_Change(root / model, [(None, root / model)]))
        elif not (root / model).exists():
            changes.append(_Change(root / model, [(staging / "new" / model, root / model)]))
        else:
            changes.append(_change_model(root, model, staging, added, removed))
    return changes


def _change_model(root: Path, model: str, staging: Path, added: Sequence[str], removed: Sequence[str]) -> _Change:
    """One rename where one makes the change, or new versions beside the others; else all of the folder at once."""
    new, gone = list(dict.fromkeys(map(_unit, added))), list(dict.fromkeys(map(_unit, removed)))
    is_taken = any((root / unit).is_dir() for unit in new)
    only_versions = not gone and all(find_version(f"{unit}/") for unit in new)
    if not is_taken and (only_versions or len(new) + len(gone) == 1):
        renames = [(staging / "new" / unit, root / unit) for unit in new]
        return _Change(root / model, [*renames, *((None, root / unit) for unit in gone)])
    whole = staging / "whole"
    whole.mkdir(exist_ok=True)
    shutil.copytree(root / model, whole / model, symlinks=True, copy_function=_copy)
    for path in removed:
        (whole / path).unlink(missing_ok=True)
    for path in added:
        (whole / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / "new" / path).replace(whole / path)
    for folder in {(whole / path).parent for path in removed}:
        with suppress(OSError):
            folder.rmdir()
    renames = [(whole / path, root / path) for path in added]
    return _Change(root / model, [*renames, *((None, root / path) for path in removed)], whole / model)


def _unit(path: str) -> str:
    """What is moved at once: a version's folder, or a file that stands beside the versions."""
    version = find_version(path)
    return "/".join(version) if version else path


def _copy(source: str, target: str) -> None:
    copy_file(Path(source), Path(target))
    shutil.copystat(source, target)
    flush_to_disk(Path(target))


def _show(changes: Sequence[_Change], staging: Path) -> None:
    """Make the changes; an interruption waits for their end."""
    with interrupts_deferred():
        for change in changes:
            if change.whole and rename_with_flags(change.whole, change.folder, EXCHANGE):
                continue
            for new, place in change.renames:
                place.parent.mkdir(parents=True, exist_ok=True)
                if new is None:
                    # A push that was killed may have removed it.
                    with suppress(FileNotFoundError):
                        place.rename(staging / uuid4().hex)
                else:
                    new.replace(place)
