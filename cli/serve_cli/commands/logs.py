"""`serve logs`: Triton's log of every replica."""

from __future__ import annotations

import sys

from serve_cli.taking import takes_options
from serve_deploy.cluster.options import LogOptions


@takes_options(
    arguments=["release"],
    flags={"namespace": ("--namespace", "-n"), "previous": ("--previous", "-p"), "follow": ("--follow", "-f")},
)
def logs(options: LogOptions) -> None:
    """Print Triton's log of every replica, each line after its replica's name.

    \b
    serve logs demo -n models --follow
    """
    from serve_deploy.cluster.state.logs import read_logs

    for line in read_logs(options):
        if line.is_error:
            sys.stderr.write(f"{line.pod}  {line.text}\n")
            continue
        sys.stdout.write(f"{line.pod}  {line.text}\n")
        if options.follow:
            sys.stdout.flush()
