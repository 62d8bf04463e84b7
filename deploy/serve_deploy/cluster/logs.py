"""The logs of a release's replicas."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster
from serve_deploy.cluster.pods import SERVER_CONTAINER
from serve_deploy.cluster.release import selector
from serve_deploy.errors import ServeError, UsageError


@dataclass(frozen=True)
class LogLine:
    """A line, and whose it is."""

    pod: str
    text: str


def find_pods(cluster: Cluster, release: str, namespace: str, pod: str | None) -> list[str]:
    """The names of a release's replicas, or the one asked for; UsageError where there is none."""
    items = cluster.find(f"/api/v1/namespaces/{namespace}/pods", selector(release))
    names = sorted(item["metadata"]["name"] for item in items)
    if not names:
        raise UsageError(
            f"release {release} has no replica in namespace {namespace}",
            hint="helm list --all-namespaces shows the releases; name the namespace with -n",
        )
    if pod is not None and pod not in names:
        raise UsageError(f"release {release} has no replica {pod}", hint=f"it has {', '.join(names)}")
    return names if pod is None else [pod]


def read_logs(
    cluster: Cluster, release: str, namespace: str, *, pod: str | None, tail: int, previous: bool
) -> Iterator[LogLine]:
    """The last lines of each replica, one replica after the other."""
    for name in find_pods(cluster, release, namespace, pod):
        text = cluster.read_log(namespace, name, container=SERVER_CONTAINER, tail=tail, previous=previous)
        yield from (LogLine(name, line) for line in text.splitlines())


def follow_logs(cluster: Cluster, release: str, namespace: str, *, pod: str | None, tail: int) -> Iterator[LogLine]:
    """The lines of all replicas as they come, until all have ended; one thread reads each."""
    names = find_pods(cluster, release, namespace, pod)
    lines: queue.Queue[LogLine | ServeError | None] = queue.Queue(maxsize=1000)

    def read(name: str) -> None:
        try:
            for text in cluster.follow_log(namespace, name, container=SERVER_CONTAINER, tail=tail):
                lines.put(LogLine(name, text))
        except ServeError as error:
            lines.put(error)
        else:
            lines.put(None)

    for name in names:
        threading.Thread(target=read, args=(name,), daemon=True).start()
    running = len(names)
    while running:
        line = lines.get()
        if line is None:
            running -= 1
        elif isinstance(line, ServeError):
            raise line
        else:
            yield line
