"""`serve logs`: Triton's log of every replica."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from serve_cli import cluster_options as asked

Pod = Annotated[str | None, typer.Option(metavar="NAME", help="One replica only; all by default.", show_default=False)]
Tail = Annotated[int, typer.Option(metavar="N", min=1, help="How many of the last lines of each.")]
Previous = Annotated[bool, typer.Option("--previous", "-p", help="The log of the container before the last restart.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")]


def logs(
    release: asked.ReleaseName,
    namespace: asked.Namespace = "default",
    pod: Pod = None,
    tail: Tail = 100,
    previous: Previous = False,
    follow: Follow = False,
    context: asked.Context = None,
) -> None:
    """Print Triton's log of every replica, each line under its replica's name.

    \b
    serve logs demo -n models --follow
    """
    from serve_deploy.cluster.api import connect
    from serve_deploy.cluster.logs import follow_logs, read_logs
    from serve_deploy.errors import UsageError

    if follow and previous:
        raise UsageError("--follow and --previous exclude each other", hint="the previous container writes no more")
    cluster = connect(context)
    lines = (
        follow_logs(cluster, release, namespace, pod=pod, tail=tail)
        if follow
        else read_logs(cluster, release, namespace, pod=pod, tail=tail, previous=previous)
    )
    for line in lines:
        sys.stdout.write(f"{line.pod}  {line.text}\n")
        if follow:
            sys.stdout.flush()
