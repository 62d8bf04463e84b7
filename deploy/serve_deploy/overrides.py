"""Chart values that a user gives, in files and settings, laid over each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from serve_deploy.errors import UsageError
from serve_deploy.option import Option


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


def merge_values(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged, all else is replaced, as Helm does it."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge_values(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def nest_value(path: str, value: Any) -> dict[str, Any]:
    """A value as nested maps, by its dotted path."""
    for part in reversed(path.split(".")):
        value = {part: value}
    document: dict[str, Any] = value
    return document


def find_value(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"`values={path}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"`values={path}` is not text") from error
    except yaml.YAMLError as error:
        raise UsageError(f"`values={path}` is not YAML: {_explain(error)}") from error


def _read_setting(setting: str) -> dict[str, Any]:
    import yaml

    path, equals, text = setting.partition("=")
    if not equals or not all(path.split(".")):
        raise UsageError(
            f"`settings={setting}` is not PATH=VALUE", hint="for example `settings=autoscaling.maxReplicas=12`"
        )
    try:
        return nest_value(path, yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UsageError(
            f"`settings={setting}` has no YAML behind the =: {_explain(error)}",
            hint="put text with special characters in quotes: `settings='image.tag=\"26.07\"'`",
        ) from error


def _explain(error: Any) -> str:
    """What is wrong, and where, on one line: YAML's own message draws a picture of it."""
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{problem}{where}".replace("<stream end>", "the end of the text")
