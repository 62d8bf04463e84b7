"""Receive a store's snapshot: every file compared with the manifest before a folder shows it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import DestinationError, InvalidModelError, UsageError, VerificationError
from serve_deploy.files.moving import move_all, move_into_place
from serve_deploy.files.staging import STAGING_PREFIX, destination_errors, folder_lock, staging_folder, try_lock
from serve_deploy.model_config import CONFIG_NAME
from serve_deploy.progress import Progress, silent
from serve_deploy.repository.model_folder import list_folders, list_versions
from serve_deploy.stores.backends.opening import require_apart
from serve_deploy.stores.manifests.manifests import make_snapshot, of_models
from serve_deploy.stores.options import PullOptions
from serve_deploy.stores.pull.readers import open_trusted
from serve_deploy.stores.signing.trust import open_trust
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile
from serve_deploy.stores.transfer.contents import LocalFile, hash_models
from serve_deploy.stores.transfer.receiving import Received


@dataclass(frozen=True)
class PullResult:
    """What a pull wrote, or with `is_dry_run` would write.

    `changed` are the models that are new or were replaced, `kept` those of the folder that the snapshot does not have.
    `signed_by` is whose signature was verified, where one was required.
    """

    store: str
    snapshot: str
    repository: Path
    models: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    received_bytes: int
    copied_bytes: int
    signed_by: str | None
    is_dry_run: bool


def pull_repository(options: PullOptions, progress: Progress = silent) -> PullResult:
    """Write a snapshot's models into a folder, each whole or not at all; only what differs is received.

    UsageError where there is no such snapshot or model; VerificationError where what arrives is not what the manifest
    says, and nothing is written; DestinationError where the folder has other models of these names, or is full.
    """
    trust = open_trust(options.trust)
    repository = options.repository
    require_apart(repository, options.store)
    if (repository / CONFIG_NAME).is_file():
        raise UsageError(f"{repository} is a model, not a repository", hint=f"name its repository: {repository.parent}")
    reader, signed_by = open_trusted(options.store, trust)
    snapshot = reader.snapshot
    models = _select(snapshot, options.models, str(options.store))
    present = _read_present(repository, models, progress)
    here = make_snapshot([each.file for each in present])
    changed = _find_changed(snapshot, here, models)
    _require_free(repository, changed, force=options.force)
    local = {each.file.sha256: each.source for each in present if each.source}
    files = [file for file in snapshot.files if file.model in changed]
    if options.dry_run or not changed:
        copied = sum(file.size_bytes for file in files if file.sha256 in local)
        received = Received(sum(file.size_bytes for file in files) - copied, copied)
    else:
        with staging_folder(repository, beside=True) as staging, _partial_folder(staging, repository, files) as partial:
            received = reader.receive(
                files, partial, parts=staging / "parts", local=local,
                concurrency=options.concurrency, progress=progress,
            )  # fmt: skip
            _show(partial, staging, repository, changed, force=options.force)
    return PullResult(
        store=str(options.store if options.store.kind == "oci" else options.store.root), snapshot=snapshot.id,
        repository=repository, models=models, changed=changed,
        kept=_list_others(repository, snapshot), received_bytes=received.received_bytes,
        copied_bytes=received.copied_bytes, signed_by=signed_by, is_dry_run=options.dry_run,
    )  # fmt: skip


def _find_changed(snapshot: Snapshot, here: Snapshot, models: Collection[str]) -> tuple[str, ...]:
    wanted, present = of_models(snapshot, models), of_models(here, models)
    differing = {path.partition("/")[0] for path, _sha256 in wanted.items() ^ present.items()}
    return tuple(model for model in models if model in differing)


def _select(snapshot: Snapshot, names: Collection[str], store: str) -> tuple[str, ...]:
    models = snapshot.models
    for name in names:
        if name not in models:
            raise UsageError(f"{store} has no model '{name}'", hint=f"it has {', '.join(models)}")
    return tuple(name for name in models if name in (names or models))


def _read_present(repository: Path, models: Collection[str], progress: Progress) -> list[LocalFile]:
    if repository.exists() and not repository.is_dir():
        raise DestinationError(f"{repository} is a file, not a folder", hint="choose another folder")
    found: list[LocalFile] = []
    for model in models:
        if (repository / model).is_dir():
            try:
                found += hash_models(repository, [model], progress)
            except InvalidModelError:
                continue  # nothing of it can be kept
    return found


def _require_free(repository: Path, models: Collection[str], *, force: bool) -> None:
    taken = [model for model in models if os.path.lexists(repository / model)]
    if taken and not force:
        raise DestinationError(
            f"{repository} has {', '.join(taken)} with other files than the snapshot",
            hint="`force=True` replaces them; or pull into another folder",
        )


@contextmanager
def _partial_folder(staging: Path, repository: Path, files: Collection[SnapshotFile]) -> Iterator[Path]:
    """Where files arrive; what an interruption or a broken connection leaves in it, the next pull goes on from."""
    folder = staging.parent / f"{STAGING_PREFIX}{repository.resolve().name}.partial"
    with destination_errors(repository):
        folder.mkdir(exist_ok=True)
        # Another user's can neither be written nor trusted.
        lock = try_lock(folder) if folder.lstat().st_uid == os.geteuid() else None
    try:
        if lock is not None:
            with destination_errors(repository):
                _remove_others(folder, {file.path for file in files})
        yield folder if lock is not None else staging / "partial"
    except (DestinationError, VerificationError):
        _remove(folder, lock)
        raise
    else:
        _remove(folder, lock)
    finally:
        if lock is not None:
            os.close(lock)


def _remove_others(folder: Path, wanted: Collection[str]) -> None:
    """Remove what another snapshot's pull left there."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


def _remove(folder: Path, lock: int | None) -> None:
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _show(partial: Path, staging: Path, repository: Path, models: Collection[str], *, force: bool) -> None:
    """Move the models to where they are read: all of them, or on any error none."""
    with folder_lock(repository), destination_errors(repository):
        _require_free(repository, models, force=force)
        # A shell that stands in the folder would be left in the old one.
        is_entered = os.path.samefile(repository, os.curdir)
        if not any(repository.iterdir()) and staging.parent != repository.resolve() and not is_entered:
            _show_at_once(partial, staging, repository, models)
            return
        for model in models:
            (partial / model).rename(staging / model)
        move_all([(staging / model, repository / model, (repository / model).exists()) for model in models])


def _show_at_once(partial: Path, staging: Path, repository: Path, models: Collection[str]) -> None:
    """All of a repository in place of an empty folder."""
    whole = staging / "whole"
    whole.mkdir()
    whole.chmod(repository.stat().st_mode)
    for model in models:
        (partial / model).rename(whole / model)
    move_into_place(whole, repository.resolve(), replace=True)


def _list_others(repository: Path, snapshot: Snapshot) -> tuple[str, ...]:
    if not repository.is_dir():
        return ()
    # A folder of something else is nobody's model.
    models = [path for path in list_folders(repository) if (path / CONFIG_NAME).is_file() or list_versions(path)]
    known = snapshot.models
    return tuple(path.name for path in models if not path.name.startswith(".") and path.name not in known)
