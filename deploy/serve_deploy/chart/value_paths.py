"""Chart values by dotted path, derived with an origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve_deploy.overrides import find_value, merge_values, nest_value


@dataclass(frozen=True)
class DerivedValue:
    """One value of the chart by its dotted path, and where it came from; a path in brackets is a fact on the way."""

    path: str
    value: Any
    origin: str


def nest_values(derived: Sequence[DerivedValue]) -> dict[str, Any]:
    """The derived values as nested maps, facts left out."""
    values: dict[str, Any] = {}
    for each in derived:
        if not each.path.startswith("("):
            values = merge_values(values, nest_value(each.path, each.value))
    return values


def mark_overridden(derived: Sequence[DerivedValue], overrides: Mapping[str, Any]) -> Iterator[DerivedValue]:
    """The derived values as they will be, where some were given otherwise."""
    for each in derived:
        value = find_value(overrides, each.path)
        yield each if value is None else replace(each, value=value, origin="`settings` or `values`")
