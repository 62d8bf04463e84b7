"""Options that several commands share, so that they are named and explained alike."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
# What the fields of an endpoint are called on a command line.
ENDPOINT_FLAGS: dict[str, str | tuple[str, ...]] = {
    "headers": ("--header", "-H"), "ca_file": "--ca-cert", "certificate_file": "--cert", "key_file": "--key",
}  # fmt: skip


def output_files(what: str, formats: str = ".json, .html, .csv or .txt", panel: str = "Result") -> Any:
    """An option for the files that a result is written to."""
    return typer.Option(
        "--output", "-o", metavar="FILE", help=f"Write the {what} to a {formats} file; repeatable.",
        show_default=False, rich_help_panel=panel,
    )  # fmt: skip
