"""What `package` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serve_deploy.manifest import Manifest
from serve_deploy.stores.push.pushed import PushResult


@dataclass(frozen=True)
class PackagedModel:
    """What was written where, the configuration with its reasons, what was proven, and what the user should know.

    `source` is a path, or the address that it was fetched from; `folder` is the address of the model's folder where it
    was pushed to a store. `named` has the text of each configuration for a GPU by its path in the folder.
    `not_verified` says why no Triton served the model, where none did.
    """

    name: str
    version: int
    source: Path | str
    folder: Path | str
    dry_run: bool
    config: str
    manifest: Manifest
    notes: tuple[str, ...]
    named: Mapping[str, str] = field(default_factory=dict)
    not_verified: str = ""


@dataclass(frozen=True)
class FailedModel:
    """A model that could not be packaged."""

    source: Path | str
    error: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True)
class PackageSummary:
    """All models of one call; one that fails does not keep the others back. `pushed` is where they went to a store."""

    packaged: tuple[PackagedModel, ...]
    failed: tuple[FailedModel, ...]
    pushed: PushResult | None = None
