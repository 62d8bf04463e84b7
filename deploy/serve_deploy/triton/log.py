"""What Triton's own log says of its models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

State = Literal["loading", "ready", "failed", "unloaded"]

_LOADING = re.compile(r'"loading: (?P<name>[^"]+):\d+"')
_LOADED = re.compile(r"\"successfully loaded '(?P<name>[^']+)'")
_UNLOADED = re.compile(r"\"successfully unloaded '(?P<name>[^']+)'")
_FAILED = re.compile(r"\"failed to load '(?P<name>[^']+)' version \d+: (?P<reason>.*)")
_POLL_FAILED = re.compile(r"Poll failed for model directory '(?P<name>[^']+)': (?P<reason>.*)")
_DEATH = re.compile(r"(?:error: creating server: |^terminate called|Signal \(\d+\) received)(?P<reason>.*)")
_ERROR = re.compile(r"^(?:E\d{4} |\S+Z E )\S*.*?\] (?P<reason>.*)")


@dataclass(frozen=True)
class ModelLog:
    """A model's last state, and Triton's reason where it failed."""

    name: str
    state: State
    reason: str = ""


def read_models(log: str) -> dict[str, ModelLog]:
    """The last state of every model that the log speaks of, by name."""
    models: dict[str, ModelLog] = {}
    for line in log.splitlines():
        for pattern, state in _STATES:
            found = pattern.search(line)
            if found:
                reason = _shorten(found.groupdict().get("reason", ""))
                models[found["name"]] = ModelLog(found["name"], state, reason)
    return models


def read_error(log: str) -> str | None:
    """Why Triton ended: the first model that failed, else its own last error; None where the log names none."""
    failed = [model for model in read_models(log).values() if model.state == "failed"]
    if failed:
        return "; ".join(f"model {model.name}: {model.reason}" for model in failed)
    lines = log.splitlines()
    for pattern in (_DEATH, _ERROR):
        for line in reversed(lines):
            found = pattern.search(line)
            if found:
                return _shorten(found["reason"] or found[0])
    return None


_STATES: tuple[tuple[re.Pattern[str], State], ...] = (
    (_LOADING, "loading"), (_LOADED, "ready"), (_UNLOADED, "unloaded"), (_FAILED, "failed"), (_POLL_FAILED, "failed"),
)  # fmt: skip


def _shorten(reason: str) -> str:
    # A Python traceback follows as \n in the same line.
    first = reason.partition("\\n")[0]
    return first.strip().strip('"').removeprefix("Internal: ").removeprefix("TritonModelException: ")
