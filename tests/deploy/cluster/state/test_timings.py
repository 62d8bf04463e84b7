"""How long a replica took to start, told from recorded objects."""

from __future__ import annotations

from typing import Any

from recorded_objects import LOADED, pod

from serve_deploy.cluster.state.objects import Logs, ReplicaObjects
from serve_deploy.cluster.state.timings import StartTimings, read_timings, suggest_cold_start


def replica(*, events: list[dict[str, Any]] | None = None, **changes: Any) -> ReplicaObjects:
    """A replica that was made at 10:00:00, scheduled 2 s later, and ready after 95 s."""
    made = pod()
    made["metadata"]["creationTimestamp"] = "2026-01-01T10:00:00Z"
    made["status"] |= {
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T10:00:02Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T10:01:35Z"},
        ],
        "initContainerStatuses": [
            {"name": name, "state": {"terminated": {"startedAt": begin, "finishedAt": end}}}
            for name, begin, end in (
                ("copy", "2026-01-01T10:00:50Z", "2026-01-01T10:00:55Z"),
                ("fetch", "2026-01-01T10:00:56Z", "2026-01-01T10:01:20Z"),
            )
        ],
    } | changes  # fmt: skip
    return ReplicaObjects(made, events or [], Logs(LOADED))


def test_each_step_of_a_start() -> None:
    """From conditions, events, init containers and Triton's log."""
    pulls = [
        {"reason": "Pulled", "message": f'Successfully pulled image "{image}" in {duration} (1h in all)'}
        for image, duration in (("a", "40.5s"), ("b", "1m2.25s"))
    ]
    timings = read_timings(replica(events=pulls))
    assert timings == StartTimings(schedule=2.0, pull=102.75, fetch=30.0, load=3.8, ready=95.0)


def test_what_nothing_tells_is_not_known() -> None:
    """Events expire after an hour; an image that was there needs no pull, which is not the same."""
    present = {"reason": "Pulled", "message": 'Container image "a" already present on machine'}
    timings = read_timings(replica(events=[present], initContainerStatuses=[], conditions=[]))
    assert (timings.schedule, timings.pull, timings.fetch, timings.ready) == (None, None, None, None)


def test_a_restarted_replica_tells_no_time_to_ready() -> None:
    """It was ready before: when it became ready again says nothing about a start."""
    restarted = replica(containerStatuses=[{"name": "triton", "restartCount": 1, "ready": True}])
    assert read_timings(restarted).ready is None


def test_the_slowest_start_is_the_cold_start() -> None:
    """In whole seconds, rounded up; unknown where no replica tells."""
    assert suggest_cold_start([StartTimings(ready=61.2), StartTimings(ready=60.0), StartTimings()]) == 62
    assert suggest_cold_start([StartTimings()]) is None
