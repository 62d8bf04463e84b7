"""Push, pull and look at what came of it, in tests of stores."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import PullOptions, PushOptions
from serve_deploy.stores.pull.pull import PullResult, pull_repository
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.push.pushed import PushResult
from serve_deploy.stores.transfer.contents import read_contents


def push(
    repository: Path, store: StoreAddress, *names: str, fixed: bool = False, delete: bool = False,
    dry_run: bool = False, settle_seconds: float = 0,
) -> PushResult:  # fmt: skip
    """Push some models, or all."""
    options = PushOptions(
        repository=repository, store=store, models=names, fixed=fixed, delete=delete, dry_run=dry_run,
        settle_seconds=settle_seconds,
    )  # fmt: skip
    return push_repository(options)


def pull(store: StoreAddress, repository: Path, *names: str, force: bool = False, dry_run: bool = False) -> PullResult:
    """Pull some models, or all."""
    options = PullOptions(store=store, repository=repository, models=names, force=force, dry_run=dry_run)
    return pull_repository(options)


def listing(repository: Path) -> dict[str, str]:
    """What is in a repository, sha256 by path."""
    return {each.file.path: each.file.sha256 for each in read_contents(repository)}


def tree(folder: Path) -> list[str]:
    """All that stands in a folder, hidden or not."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def actions(result: PushResult) -> dict[str, str]:
    """What was done with each file that changed."""
    return {file.path: file.action for file in result.files if file.action != "keep"}
