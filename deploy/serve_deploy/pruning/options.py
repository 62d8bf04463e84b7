"""What to remove, and what says that it is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from serve_deploy.errors import UsageError
from serve_deploy.option import Option
from serve_deploy.stores.address import StoreAddress, is_store_address, parse_address

_PRUNE, _SNAPSHOTS, _RELEASES = "Removal", "Snapshots of a store", "Releases that name snapshots"
_UNIT_SECONDS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def read_place(text: str) -> Path | StoreAddress:
    """A folder of this machine, or the address of a store."""
    return parse_address(text) if is_store_address(text) else Path(text)


def read_age(text: str) -> float:
    """Seconds of an age such as 12h, 30d or 4w."""
    found = re.fullmatch(r"(\d{1,5})([hdw])", text.strip())
    if not found:
        raise UsageError(f"`older_than_seconds={text}` is not an age", hint="write hours, days or weeks: 12h, 30d, 4w")
    return float(found[1]) * _UNIT_SECONDS[found[2]]


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """Which repository or store; of a repository which models, all where none is named; of a store what to keep."""

    repository: Annotated[
        Path | StoreAddress,
        Option("A Triton model repository, or a model store.", metavar="REPOSITORY|STORE", read=read_place),
    ]
    models: Annotated[tuple[str, ...], Option("Only this model; repeatable.", metavar="NAME", group=_PRUNE)] = ()
    dry_run: Annotated[bool, Option("Show what would be removed, remove nothing.", group=_PRUNE)] = False
    keep: Annotated[
        int,
        Option(
            "Keep this many of the newest snapshots; the current one and the one before it always stay.",
            minimum=1,
            group=_SNAPSHOTS,
        ),
    ] = 5
    older_than_seconds: Annotated[
        float | None,
        Option(
            "Remove only snapshots that are older, too, such as 30d.", metavar="AGE", read=read_age, group=_SNAPSHOTS
        ),
    ] = None
    contexts: Annotated[
        tuple[str, ...],
        Option(
            "Ask the cluster of this context of KUBECONFIG; repeatable, by default the current one.",
            metavar="NAME",
            group=_RELEASES,
        ),
    ] = ()
    namespaces: Annotated[
        tuple[str, ...],
        Option("Ask for the releases of this namespace only; repeatable.", metavar="NAME", group=_RELEASES),
    ] = ()
    ignore_releases: Annotated[
        bool, Option("Ask no cluster: snapshots that releases name go as well.", group=_RELEASES)
    ] = False
