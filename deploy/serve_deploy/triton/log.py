"""What Triton's own log says of its models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

State = Literal["loading", "ready", "failed", "unloaded"]

_LOADING = re.compile(r'"loading: (?P<name>[^"]+):(?P<version>\d+)"')
_LOADED = re.compile(r"\"successfully loaded '(?P<name>[^']+)'")
_UNLOADED = re.compile(r"\"successfully unloaded '(?P<name>[^']+)'")
_FAILED = re.compile(r"\"failed to load '(?P<name>[^']+)' version \d+: (?P<reason>.*)")
_POLL_FAILED = re.compile(r"Poll failed for model directory '(?P<name>[^']+)': (?P<reason>.*)")
# A model that depends on others is refused after they have loaded, without a version; a circle names it first.
_DEPENDENT_FAILED = re.compile(
    r"model_repository_manager\.cc:\d+\] \"Invalid argument: (?P<reason>"
    r"(?:(?:in )?ensemble '?|circular dependency between ensembles: )(?P<name>[^\s',]+).*)"
)
_DEATH = re.compile(r"(?:error: creating server: |^terminate called|Signal \(\d+\) received)(?P<reason>.*)")
# The time of a line in Triton's default format, which names no year.
_TIME = re.compile(r"^I(\d{4} [\d:.]+) ")
# What Triton writes when another process took one of its ports.
_PORT_CLASH = ("already in use", "failed to start HTTP", "failed to start GRPC", "failed to start Metrics")
_LAST_LINES = 12
# What a model's process, or the shell that starts it, writes when it cannot live on.
_CRASH = re.compile(
    r"^(?:terminate called .*|  what\(\):.*|bash: (?:-c: )?line \d+: .*|Segmentation fault.*|.*Too many open files.*)"
    r"|Expected \d+ arguments, found \d+"
)
_ERROR = re.compile(r"^(?:E\d{4} |\S+Z E )\S*.*?\] (?P<reason>.*)")


@dataclass(frozen=True)
class ModelLog:
    """A model's last state, Triton's reason where it failed, and how long loading took; 0 where the log does not say.

    `versions` are those that Triton began to load last.

    The metric nv_model_load_duration_secs says that too, but not before server 2.52.
    """

    name: str
    state: State
    reason: str = ""
    load_seconds: float = 0.0
    versions: tuple[int, ...] = ()


_NOTHING = ModelLog("", "unloaded")


def read_models(log: str) -> dict[str, ModelLog]:
    """The last state of every model that the log speaks of, by name."""
    models: dict[str, ModelLog] = {}
    begun: dict[str, datetime | None] = {}
    versions: dict[str, tuple[int, ...]] = {}
    for line in log.splitlines():
        for pattern, state in _STATES:
            found = pattern.search(line)
            if found:
                name, reason = found["name"], _shorten(found.groupdict().get("reason", ""))
                if state == "loading":
                    begun[name] = _read_time(line)
                    # Several versions of a model are announced one after the other.
                    before = versions.get(name, ()) if models.get(name, _NOTHING).state == "loading" else ()
                    versions[name] = (*before, int(found["version"]))
                seconds = _seconds_between(begun.get(name), _read_time(line)) if state == "ready" else 0.0
                models[name] = ModelLog(name, state, reason, seconds, versions.get(name, ()))
    return models


def read_load_seconds(log: str) -> float | None:
    """From the first model that was announced to the last one that was ready; None where the log does not say."""
    begun = [_read_time(line) for line in log.splitlines() if _LOADING.search(line)]
    ended = [_read_time(line) for line in log.splitlines() if _LOADED.search(line)]
    return _seconds_between(begun[0], ended[-1]) if begun and ended else None


def _read_time(line: str) -> datetime | None:
    found = _TIME.match(line)
    # A leap year has every day.
    return datetime.strptime(f"2024{found[1]}", "%Y%m%d %H:%M:%S.%f") if found else None


def _seconds_between(begin: datetime | None, end: datetime | None) -> float:
    return (end - begin).total_seconds() if begin and end else 0.0


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


def read_unnoticed_crash(log: str) -> str | None:
    """The text with which a model's process crashed, where Triton did not report a failed model after it."""
    lines = log.splitlines()
    for position in range(len(lines) - 1, -1, -1):
        if _FAILED.search(lines[position]):
            return None
        found = _CRASH.search(lines[position])
        if found:
            return found[0].strip()
    return None


def is_out_of_files(text: str) -> bool:
    """Whether the server can neither open a file nor accept a connection any more."""
    return "Too many open files" in text


def unfinished_models(log: str) -> tuple[str, ...]:
    """The models that are still being loaded, by the log."""
    return tuple(model.name for model in read_models(log).values() if model.state == "loading")


def announces_metrics(log: str) -> bool:
    """Whether the metrics can be read, which Triton starts to serve last."""
    return "Started Metrics Service" in log


def last_lines(log: str) -> str:
    """The end of the log, indented, for an error message."""
    # Triton names a wrong argument above its whole help text.
    said = log.partition("\nUsage: ")[0]
    lines = [line for line in said.splitlines() if line.strip() and line[0] not in "+|"]
    return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])


def names_port_clash(log: str) -> bool:
    """Whether Triton ended because another process had one of its ports."""
    return any(words in log for words in _PORT_CLASH)


def names_lock_clash(log: str) -> bool:
    """Whether Triton crashed while it made its shared memory, which a busy machine brings about now and then."""
    return "boost::interprocess::lock_exception" in log


_STATES: tuple[tuple[re.Pattern[str], State], ...] = (
    (_LOADING, "loading"), (_LOADED, "ready"), (_UNLOADED, "unloaded"), (_FAILED, "failed"), (_POLL_FAILED, "failed"),
    (_DEPENDENT_FAILED, "failed"),
)  # fmt: skip


def _shorten(reason: str) -> str:
    # A Python traceback follows as \n in the same line.
    first = reason.partition("\\n")[0].strip().strip('"').replace('\\"', '"')
    return first.removeprefix("Internal: ").removeprefix("TritonModelException: ")
