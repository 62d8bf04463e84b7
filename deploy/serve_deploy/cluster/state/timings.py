"""How long each step of a replica's start took, told from its pod, its events and Triton's log."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serve_deploy.cluster.state.objects import SERVER_CONTAINER, ReplicaObjects, condition
from serve_deploy.triton.log import read_load_seconds

_PULLED = re.compile(r'^Successfully pulled image "[^"]*" in (?P<duration>[0-9a-zµ.]+)')
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_DURATION = re.compile(r"([0-9.]+)(h|ms|us|µs|m|s)")


@dataclass(frozen=True)
class StartTimings:
    """Seconds of each step; None where nothing tells, such as a pull whose event has expired (an hour, as a rule).

    Steps overlap where the image is pulled while volumes are mounted; `ready` counts from the creation of the pod.
    """

    schedule: float | None = None
    pull: float | None = None
    fetch: float | None = None
    load: float | None = None
    ready: float | None = None


def read_timings(replica: ReplicaObjects) -> StartTimings:
    """What a replica's objects tell of its start; of one that has restarted, no time to ready."""
    pod, status = replica.pod, replica.pod.get("status", {})
    created = _time(pod["metadata"].get("creationTimestamp"))
    return StartTimings(
        schedule=_between(created, _since(pod, "PodScheduled")),
        pull=_read_pulls(replica.events),
        fetch=_read_fetch(status.get("initContainerStatuses", [])),
        load=read_load_seconds(replica.logs.current),
        ready=None if _has_restarted(status) else _between(created, _since(pod, "Ready")),
    )


def suggest_cold_start(timings: Iterable[StartTimings]) -> int | None:
    """Seconds for `autoscaling.coldStartSeconds`: the slowest start that was seen; None where none was."""
    return max((math.ceil(each.ready) for each in timings if each.ready is not None), default=None)


def _since(pod: Mapping[str, Any], kind: str) -> datetime | None:
    found = condition(pod, kind)
    return _time(found.get("lastTransitionTime")) if found.get("status") == "True" else None


def _read_pulls(events: Sequence[Mapping[str, Any]]) -> float | None:
    found = [_PULLED.match(event.get("message", "")) for event in events if event.get("reason") == "Pulled"]
    pulls = [_seconds(each["duration"]) for each in found if each]
    return sum(pulls) if pulls else None


def _seconds(duration: str) -> float:
    """A duration as Go writes it: 1m2.5s is 62.5."""
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))


def _read_fetch(containers: Sequence[Mapping[str, Any]]) -> float | None:
    ended = [each.get("state", {}).get("terminated") or {} for each in containers]
    if not ended or not all(each.get("finishedAt") for each in ended):
        return None
    return _between(_time(min(each["startedAt"] for each in ended)), _time(max(each["finishedAt"] for each in ended)))


def _has_restarted(status: Mapping[str, Any]) -> bool:
    statuses = status.get("containerStatuses", [])
    return any(each.get("restartCount") for each in statuses if each["name"] == SERVER_CONTAINER)


def _between(begin: datetime | None, end: datetime | None) -> float | None:
    return max(0.0, (end - begin).total_seconds()) if begin and end else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
