"""What to remove from a repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from serve_deploy.option import Option

_PRUNE = "Removal"


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """Which repository, and which of its models; all where none is named."""

    repository: Annotated[Path, Option("A Triton model repository.", metavar="REPOSITORY")]
    models: Annotated[tuple[str, ...], Option("Only this model; repeatable.", metavar="NAME", group=_PRUNE)] = ()
    dry_run: Annotated[bool, Option("Show what would be removed, remove nothing.", group=_PRUNE)] = False
