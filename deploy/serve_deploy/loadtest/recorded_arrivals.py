"""Read recorded arrival times, to be replayed."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.loadtest.schedule import Replay

_HINT = "one arrival a line: seconds (1.25), or a time such as 2026-01-31T12:00:00.5; or a JSON list of them"


def read_arrivals(path: Path) -> Replay:
    """Arrivals from a file, in any order; the first one is the start. UsageError names the line that is no time."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--replay {path} cannot be read: {error}", hint=_HINT) from error
    times = sorted(_read_time(path, item) for item in _items(path, text))
    if not times:
        raise UsageError(f"--replay {path} holds no arrivals", hint=_HINT)
    return Replay(tuple(time - times[0] for time in times), path.name)


def _items(path: Path, text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        return [str(item) for item in json.loads(text)]
    except ValueError as error:
        raise UsageError(f"--replay {path} is no JSON list: {error}", hint=_HINT) from error


def _read_time(path: Path, item: str) -> float:
    for read in (float, _read_date):
        try:
            value = read(item)
        except ValueError:
            continue
        if abs(value) < float("inf"):
            return value
    raise UsageError(f"--replay {path}: {item[:60]!r} is no time", hint=_HINT)


def _read_date(item: str) -> float:
    return datetime.fromisoformat(item).timestamp()
