"""How the field of an options object is explained and read, whoever asks for it: a command line, or a form.

timeout_seconds: Annotated[float, Option("How long to wait for the answer.", minimum=0.001)] = 60.0
endpoint: Annotated[Endpoint, Made(parse_endpoint)]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """What a field, or a parameter of a function that makes one, means to a user.

    `metavar` says how its value is written, `group` under which heading it is listed; `read` makes the value (of a
    tuple, each item) from text and raises UsageError where it cannot; `bare` is what it means without a value.
    `joined`: its text is a list, and may be given in parts, which are joined by commas.
    """

    help: str
    metavar: str | None = None
    group: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    read: Callable[[str], Any] | None = None
    bare: str | None = None
    joined: bool = False


@dataclass(frozen=True)
class Made:
    """A field whose value `make` returns; the parameters of `make` are the options to ask for in its place."""

    make: Callable[..., Any]
