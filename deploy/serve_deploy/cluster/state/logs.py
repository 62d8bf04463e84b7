"""The logs of a release's replicas."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, LogUnavailable, connect
from serve_deploy.cluster.options import LogOptions
from serve_deploy.cluster.state.objects import SERVER_CONTAINER, find_pods
from serve_deploy.errors import EndpointError, ServeError, UsageError


@dataclass(frozen=True)
class LogLine:
    """A line, and whose it is; or why that replica's log cannot be read (`is_error`)."""

    pod: str
    text: str
    is_error: bool = False


Line = LogLine | tuple[str, LogUnavailable]


def read_logs(options: LogOptions) -> Iterator[LogLine]:
    """The last lines of each replica, one replica after the other; with `follow`, of all as they come.

    A replica whose log cannot be read does not hide the others: it is a line `is_error`, and EndpointError at the end.
    """
    if options.follow and options.previous:
        raise UsageError("`follow` and `previous` exclude each other", hint="the previous container writes no more")
    cluster = connect(options.context)
    pods = find_pods(cluster, options.release, options.namespace, options.pod)
    return _read_all(cluster, pods, options)


def _read_all(cluster: Cluster, pods: Sequence[str], options: LogOptions) -> Iterator[LogLine]:
    unread: list[LogUnavailable] = []
    for line in (_follow if options.follow else _read)(cluster, pods, options):
        if isinstance(line, LogLine):
            yield line
        else:
            pod, error = line
            unread.append(error)
            yield LogLine(pod, error.message, is_error=True)
    if unread:
        raise EndpointError(f"{len(unread)} of {len(pods)} logs could not be read", hint=unread[0].hint)


def _read(cluster: Cluster, pods: Sequence[str], options: LogOptions) -> Iterator[Line]:
    for pod in pods:
        try:
            text = cluster.read_log(
                options.namespace, pod, container=SERVER_CONTAINER, tail=options.tail, previous=options.previous
            )
        except LogUnavailable as error:
            yield pod, error
        else:
            yield from (LogLine(pod, line) for line in text.splitlines())


def _follow(cluster: Cluster, pods: Sequence[str], options: LogOptions) -> Iterator[Line]:
    """The lines of all replicas until all have ended; one thread reads each."""
    lines: queue.Queue[Line | ServeError | None] = queue.Queue(maxsize=1000)

    def read(pod: str) -> None:
        try:
            for text in cluster.follow_log(options.namespace, pod, container=SERVER_CONTAINER, tail=options.tail):
                lines.put(LogLine(pod, text))
        except LogUnavailable as error:
            lines.put((pod, error))
        except ServeError as error:
            lines.put(error)
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
