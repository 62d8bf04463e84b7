"""What `vary` names: values of fields, each of which is tried, or refused before anything is measured. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from serve_deploy.errors import UsageError
from serve_deploy.tuning.candidates.candidate import (
    BATCH,
    DELAY,
    INSTANCES,
    PREFERRED,
    Value,
    split_path,
    write_value,
)

Vary = tuple[tuple[str, tuple[Value, ...]], ...]
_HINT = "write it as PATH=VALUE,VALUE, such as parameters.intra_op_thread_count=1,2"
_LEAST = {INSTANCES: 1, BATCH: 1, DELAY: 0}


def read_vary(text: str) -> tuple[str, tuple[Value, ...]]:
    """Read `path=v1,v2`; a list of numbers is written `[4,8]`, a field that is not set `none`."""
    path, separator, values = text.partition("=")
    parts = re.findall(r"\[[^\]]*\]|[^,\[\]]+", values)
    if not separator or not path.strip() or not parts:
        raise UsageError(f"`vary={text}` does not say which field takes which values", hint=_HINT)
    return path.strip(), tuple(dict.fromkeys(_read_value(part.strip()) for part in parts))


def _read_value(text: str) -> Value:
    if text == "none":
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, list):
        if not all(type(item) is int for item in value):
            raise UsageError(f"`vary`: {text} is no list of whole numbers", hint=_HINT)
        return tuple(value)
    return text if isinstance(value, dict) else value


def vary_of(vary: Vary, model: str) -> Vary:
    """What is said of one model, by paths without it: all values of a path that is named more than once."""
    joined: dict[str, tuple[Value, ...]] = {}
    for path, values in vary:
        owner, field = split_path(path)
        if owner in ("", model):
            own = (_as_list(value) if field == PREFERRED else value for value in values)
            joined[field] = tuple(dict.fromkeys((*joined.get(field, ()), *own)))
    return tuple(joined.items())


def _as_list(value: Value) -> Value:
    return (value,) if type(value) is int else value


def require_possible(
    path: str, values: Iterable[Value], batches: Sequence[int], most: dict[str, tuple[str, int | None]]
) -> None:
    """UsageError where a value of the scheduling can be tried with none of the models that the path is about.

    `batches` are their largest batches, 0 where one does not batch; `most` has the option that limits a field.
    """
    field = split_path(path)[1]
    if field in (BATCH, DELAY, PREFERRED) and not any(batches):
        raise UsageError(f"`vary={path}`: the model does not batch, its max_batch_size is 0")
    for value in values:
        if field == PREFERRED:
            _require_preferred(path, _as_list(value), max(batches))
        elif field in _LEAST:
            _require_number(path, value, _LEAST[field], *most.get(field, ("", None)))


def _require_preferred(path: str, value: Value, largest: int) -> None:
    if value is None:
        return
    if not isinstance(value, tuple) or not value or min(value) < 2:
        raise UsageError(
            f"`vary={path}`: {write_value(value)} is no list of batch sizes from 2 on",
            hint="write one as [4,8], and none as none",
        )
    if min(value) > largest:
        raise UsageError(
            f"`vary={path}`: {write_value(value)} is beyond the largest batch that is tried, {largest}",
            hint="name smaller ones, or a larger max_batch_size",
        )


def _require_number(path: str, value: Value, least: int, option: str, most: int | None) -> None:
    if type(value) is not int or value < least:
        raise UsageError(f"`vary={path}`: {write_value(value)} is not a whole number from {least} on")
    if most is not None and value > most:
        raise UsageError(
            f"`vary={path}`: {value} is more than `{option}={most}`", hint=f"leave out `{option}`, or raise it"
        )
