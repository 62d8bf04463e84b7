"""How the field of an options object is explained and read, whoever asks for it: a command line, or a form.

timeout_seconds: Annotated[float, Option("How long to wait for the answer.", minimum=0.001)] = 60.0
endpoint: Annotated[Endpoint, Made(parse_endpoint)]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, fields
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


def changed_fields(options: Any, names: Iterable[str] | None = None) -> Iterator[str]:
    """The fields of an options object (of these names) that do not have their default."""
    by_name: dict[str, Field[Any]] = {each.name: each for each in fields(options)}
    for name in by_name if names is None else names:
        field = by_name[name]
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if getattr(options, name) != default:
            yield name
