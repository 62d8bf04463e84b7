"""Chart values by dotted path: derived with an origin, or given in files and settings, and laid over each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from serve_deploy.errors import UsageError
from serve_deploy.option import Option


@dataclass(frozen=True)
class DerivedValue:
    """One value of the chart by its dotted path, and where it came from; a path in brackets is a fact on the way."""

    path: str
    value: Any
    origin: str


def read_overrides(
    settings: Annotated[
        tuple[str, ...], Option("Set one value of the chart (YAML); repeatable.", metavar="PATH=VALUE", group="Values")
    ] = (),
    values: Annotated[
        tuple[Path, ...], Option("Read values of the chart from a file; repeatable.", metavar="FILE", group="Values")
    ] = (),
) -> dict[str, Any]:
    """The values that files and settings give, later ones over earlier ones, settings over files."""
    merged: dict[str, Any] = {}
    for path in values:
        document = _read_yaml(path) or {}
        if not isinstance(document, dict):
            raise UsageError(f"`values={path}` is not a map of values")
        merged = merge_values(merged, document)
    for setting in settings:
        merged = merge_values(merged, _read_setting(setting))
    return merged


def find_value(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def merge_values(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged, all else is replaced, as Helm does it."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge_values(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def nest_values(derived: Sequence[DerivedValue]) -> dict[str, Any]:
    """The derived values as nested maps, facts left out."""
    values: dict[str, Any] = {}
    for each in derived:
        if not each.path.startswith("("):
            values = merge_values(values, _nest(each.path, each.value))
    return values


def mark_overridden(derived: Sequence[DerivedValue], overrides: Mapping[str, Any]) -> Iterator[DerivedValue]:
    """The derived values as they will be, where some were given otherwise."""
    for each in derived:
        value = find_value(overrides, each.path)
        yield each if value is None else replace(each, value=value, origin="`settings` or `values`")


def _nest(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    document: dict[str, Any] = value
    return document


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"`values={path}`: {error}") from error


def _read_setting(setting: str) -> dict[str, Any]:
    import yaml

    path, equals, text = setting.partition("=")
    if not equals or not all(path.split(".")):
        raise UsageError(
            f"`settings={setting}` is not PATH=VALUE", hint="for example `settings=autoscaling.maxReplicas=12`"
        )
    try:
        return _nest(path, yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UsageError(f"`settings={setting}`: {error}") from error
