"""The logs of a release's replicas."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, connect
from serve_deploy.cluster.objects import SERVER_CONTAINER, find_pods
from serve_deploy.cluster.options import LogOptions
from serve_deploy.errors import ServeError, UsageError


@dataclass(frozen=True)
class LogLine:
    """A line, and whose it is."""

    pod: str
    text: str


def read_logs(options: LogOptions) -> Iterator[LogLine]:
    """The last lines of each replica, one replica after the other; with `follow`, of all as they come."""
    if options.follow and options.previous:
        raise UsageError("`follow` and `previous` exclude each other", hint="the previous container writes no more")
    cluster = connect(options.context)
    pods = find_pods(cluster, options.release, options.namespace, options.pod)
    return _follow(cluster, pods, options) if options.follow else _read(cluster, pods, options)


def _read(cluster: Cluster, pods: Sequence[str], options: LogOptions) -> Iterator[LogLine]:
    for pod in pods:
        text = cluster.read_log(
            options.namespace, pod, container=SERVER_CONTAINER, tail=options.tail, previous=options.previous
        )
        yield from (LogLine(pod, line) for line in text.splitlines())


def _follow(cluster: Cluster, pods: Sequence[str], options: LogOptions) -> Iterator[LogLine]:
    """The lines of all replicas until all have ended; one thread reads each."""
    lines: queue.Queue[LogLine | ServeError | None] = queue.Queue(maxsize=1000)

    def read(pod: str) -> None:
        try:
            for text in cluster.follow_log(options.namespace, pod, container=SERVER_CONTAINER, tail=options.tail):
                lines.put(LogLine(pod, text))
        except ServeError as error:
            lines.put(error)
        else:
            lines.put(None)

    for pod in pods:
        threading.Thread(target=read, args=(pod,), daemon=True).start()
    running = len(pods)
    while running:
        line = lines.get()
        if line is None:
            running -= 1
        elif isinstance(line, ServeError):
            raise line
        else:
            yield line
