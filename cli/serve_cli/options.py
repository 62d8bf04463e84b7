"""Options that several commands share, so that they are named and explained alike."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
# What the fields of an endpoint are called on a command line.
ENDPOINT_FLAGS: dict[str, str | tuple[str, ...]] = {
    "headers": ("--header", "-H"), "ca_file": "--ca-cert", "certificate_file": "--cert", "key_file": "--key",
}  # fmt: skip
