"""What a push does to a store with the fixed layout: which files come, stay and go, and which it may not touch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from serve_deploy.errors import DestinationError, InvalidModelError
from serve_deploy.model_config import CONFIG_NAME, CONFIGS_FOLDER
from serve_deploy.stores.manifests import make_snapshot
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile


@dataclass(frozen=True)
class FixedPlan:
    """The snapshot that is to stand in the store, and the files of the one before that go."""

    snapshot: Snapshot
    deleted: tuple[SnapshotFile, ...]


def plan_fixed(
    wanted: Collection[SnapshotFile], before: Snapshot | None, there: Mapping[str, str], *, models: Collection[str],
    delete: bool,
) -> FixedPlan:  # fmt: skip
    """Plan a push of `wanted`; `there` has the sha256 of files in the store, listed or not, as far as they are known.

    Models and versions that the repository does not have stay, or go with `delete`; with `models`, only versions of
    these. DestinationError where a version would change, InvalidModelError where names clash.
    """
    for model, version in sorted({place for file in wanted if (place := find_version(file.path))}):
        _require_same(model, version, wanted, before, there)
    pushed, paths = {file.model for file in wanted}, {file.path for file in wanted}

    def goes(file: SnapshotFile) -> bool:
        if file.model not in pushed:
            return delete and not models
        return delete or find_version(file.path) is None

    others = [file for file in (before.files if before else ()) if file.path not in paths]
    deleted = tuple(filter(goes, others))
    snapshot = make_snapshot([*wanted, *(file for file in others if not goes(file))])
    if bad := find_bad_path([file.path for file in snapshot.files]):
        raise InvalidModelError(f"with what the store has: {bad}", hint="rename it")
    return FixedPlan(snapshot, deleted)


def find_version(path: str) -> tuple[str, str] | None:
    """The model and the version that a file belongs to; None where it stands beside the versions."""
    model, _, rest = path.partition("/")
    version, slash, _ = rest.partition("/")
    return (model, version) if slash and version.isdecimal() else None


def write_order(path: str) -> int:
    """When a file is written: versions first, then what stands beside them, configurations last."""
    if find_version(path):
        return 0
    beside = path.partition("/")[2]
    return 2 if beside == CONFIG_NAME or beside.startswith(f"{CONFIGS_FOLDER}/") else 1


def _require_same(
    model: str, version: str, wanted: Collection[SnapshotFile], before: Snapshot | None, there: Mapping[str, str]
) -> None:
    """A version that counts has exactly these files; one that an interrupted push left has no others."""

    def of_version(files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        return ((path, sha256) for path, sha256 in files.items() if find_version(path) == (model, version))

    new = dict(of_version({file.path: file.sha256 for file in wanted}))
    listed = dict(of_version({file.path: file.sha256 for file in before.files} if before else {}))
    left = dict(of_version(there))
    if (listed and listed != new) or any(new.get(path) != sha256 for path, sha256 in left.items()):
        raise DestinationError(
            f"version {version} of {model} is in the store with other files, and a version is never changed in place",
            hint="package it as another version: `version=next`",
        )
