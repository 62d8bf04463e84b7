"""The choice of a Triton, for commands that do not yet take it from the library's options."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from serve_deploy.errors import UsageError
from serve_deploy.triton.options import RuntimeName

Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime", metavar="NAME", show_default=False, help="The Triton to use: embedded, docker or installed."
    ),
]


def read_runtime(text: str | None) -> RuntimeName | None:
    """A runtime's name."""
    if text is not None and text not in get_args(RuntimeName):
        raise UsageError(f"--runtime {text} is not one of {', '.join(get_args(RuntimeName))}")
    return cast(RuntimeName | None, text)
