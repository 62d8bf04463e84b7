"""What `pipeline` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serve_deploy.manifest import Manifest
from serve_deploy.stores.push.pushed import PushResult


@dataclass(frozen=True)
class PipelineMember:
    """A step's model in the repository; `is_new` where the pipeline brings it."""

    step: str
    model: str
    made_from: str
    max_batch_size: int
    is_new: bool


@dataclass(frozen=True)
class WrittenPipeline:
    """The ensemble and its members, the configuration with its reasons, what was proven, and what the user should know.

    `folder` is the address of its folder where it was pushed to a store. `not_verified` says why the ensemble was
    not served and compared, and is empty where it was.
    """

    name: str
    folder: Path | str
    dry_run: bool
    config: str
    members: tuple[PipelineMember, ...]
    wires: tuple[tuple[str, str], ...]
    manifest: Manifest
    notes: tuple[str, ...]
    not_verified: str
    graphs: tuple[Path, ...]
    pushed: PushResult | None = None
