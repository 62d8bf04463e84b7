"""Options that several commands share, so that they are named and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve_cli.stored import read_folder

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what exists already.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, write nothing.")]
Repository = Annotated[
    Path,
    typer.Argument(
        metavar="REPOSITORY",
        help="A Triton model repository, or a store's address.",
        show_default=False,
        parser=read_folder,
    ),
]
Release = Annotated[
    str | None,
    typer.Option("--triton", metavar="RELEASE", help="Triton container release, such as 24.10.", show_default=False),
]
# What the fields of an endpoint are called on a command line.
ENDPOINT_FLAGS: dict[str, str | tuple[str, ...]] = {
    "headers": ("--header", "-H"), "ca_file": "--ca-cert", "certificate_file": "--cert", "key_file": "--key",
}  # fmt: skip
