"""What a push does to a store with the fixed layout: which files come, stay and go, and which it may not touch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from serve_deploy.errors import DestinationError, InvalidModelError
from serve_deploy.model_config import CONFIG_NAME, CONFIGS_FOLDER
from serve_deploy.stores.manifests.manifests import make_snapshot
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile


@dataclass(frozen=True)
class FixedPlan:
    """The snapshot that is to stand in the store, and the files of the one before that go.

    `postponed` names what goes with a later push: a reader may be loading it now.
    """

    snapshot: Snapshot
    deleted: tuple[SnapshotFile, ...]
    postponed: tuple[str, ...]


@dataclass(frozen=True)
class Deletion:
    """Whether models (`whole_models`) and versions go that the repository lacks, and which models rest by now."""

    is_wanted: bool
    whole_models: bool
    is_settled: Callable[[str], bool]


def plan_fixed(
    wanted: Collection[SnapshotFile], before: Snapshot | None, there: Mapping[str, str], deletion: Deletion
) -> FixedPlan:
    """Plan a push of `wanted`; `there` has the sha256 of files in the store, listed or not, as far as they are known.

    Models and versions that the repository does not have stay, or go with `deletion`, but not while their model
    changes. DestinationError where a version would change, InvalidModelError where names clash.
    """
    for model, version in sorted({place for file in wanted if (place := find_version(file.path))}):
        _require_same(model, version, wanted, before, there)
    pushed, paths = {file.model for file in wanted}, {file.path for file in wanted}
    others = [file for file in (before.files if before else ()) if file.path not in paths]
    beside = {file for file in others if file.model in pushed and find_version(file.path) is None}
    changing = {file.model for file in wanted if there.get(file.path) != file.sha256} | {file.model for file in beside}
    unneeded = [
        file for file in others
        if file not in beside and deletion.is_wanted and (file.model in pushed or deletion.whole_models)
    ]  # fmt: skip
    rests = {file.model: deletion.is_settled(file.model) for file in unneeded if file.model not in changing}
    gone = beside | {file for file in unneeded if rests.get(file.model)}
    snapshot = make_snapshot([*wanted, *(file for file in others if file not in gone)])
    if bad := find_bad_path([file.path for file in snapshot.files]):
        raise InvalidModelError(f"with what the store has: {bad}", hint="rename it")
    postponed = sorted({_name(file, pushed) for file in unneeded if file not in gone})
    return FixedPlan(snapshot, tuple(file for file in others if file in gone), tuple(postponed))


def _name(file: SnapshotFile, pushed: Collection[str]) -> str:
    version = find_version(file.path)
    return f"{file.model} version {version[1]}" if version and file.model in pushed else file.model


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
            hint="make it another version: serve package --version next; or delete a damaged one there first",
        )
