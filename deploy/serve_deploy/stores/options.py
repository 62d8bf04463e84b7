"""What to push, pull and name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from serve_deploy.option import Option
from serve_deploy.stores.address import StoreAddress, parse_address

_TRANSFER, _CHANGES = "Transfer", "Changes"
_STORE_HELP = "A model store: a folder, s3://…, gs://…, as://… or oci://…"


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """Which repository goes to which store; all its models where none is named."""

    repository: Annotated[Path, Option("A Triton model repository.", metavar="REPOSITORY")]
    store: Annotated[StoreAddress, Option(_STORE_HELP, metavar="STORE", read=parse_address)]
    models: Annotated[
        tuple[str, ...],
        Option("Only this model; the store's others stay as they are. Repeatable.", metavar="NAME", group=_CHANGES),
    ] = ()
    dry_run: Annotated[bool, Option("Show what would be sent, send nothing.", group=_CHANGES)] = False
    concurrency: Annotated[int, Option("How many files to send at once.", minimum=1, maximum=256, group=_TRANSFER)] = 8


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """Which store's snapshot comes into which folder; all its models where none is named."""

    store: Annotated[
        StoreAddress, Option(f"{_STORE_HELP}; @ID after it names a snapshot.", metavar="STORE", read=parse_address)
    ]
    repository: Annotated[Path, Option("The folder to write the repository into.", metavar="REPOSITORY")]
    models: Annotated[tuple[str, ...], Option("Only this model; repeatable.", metavar="NAME", group=_CHANGES)] = ()
    force: Annotated[bool, Option("Replace models that are not the snapshot's.", group=_CHANGES)] = False
    dry_run: Annotated[bool, Option("Show what would be received, write nothing.", group=_CHANGES)] = False
    concurrency: Annotated[
        int, Option("How many files to receive at once.", minimum=1, maximum=256, group=_TRANSFER)
    ] = 8


@dataclass(frozen=True, kw_only=True)
class SnapshotsOptions:
    """Which store's snapshots, and which of them to make current."""

    store: Annotated[StoreAddress, Option(_STORE_HELP, metavar="STORE", read=parse_address)]
    use: Annotated[str | None, Option("Make this snapshot the current one: an id, or how it begins.", metavar="ID")] = (
        None
    )
