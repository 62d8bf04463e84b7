"""What the releases of clusters name, and so may not be removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from serve_deploy.cluster.api import Cluster
from serve_deploy.cluster.named import find_named
from serve_deploy.errors import EndpointError
from serve_deploy.progress import Progress
from serve_deploy.pruning.options import PruneOptions

Connect = Callable[[str | None], Cluster]


def ask_releases(options: PruneOptions, progress: Progress, connect_to: Connect) -> tuple[Mapping[str, str], str]:
    """Snapshots and digests with what names each of them, and a sentence of which clusters were asked."""
    if options.ignore_releases:
        return {}, "releases were not looked at: what they name goes by the policy alone"
    named: dict[str, str] = {}
    told = []
    for context in options.contexts or (None,):
        shown = f"context {context}" if context else "the current context"
        progress(f"asking the cluster of {shown} what its releases name")
        try:
            found = find_named(connect_to(context), options.namespaces)
        except EndpointError as error:
            if options.dry_run:
                return {}, f"releases could not be looked at, and may name some of these: {error}"
            raise type(error)(
                f"it is not known which snapshots releases name: {error}",
                hint="`contexts` and `namespaces` say where releases are; without any, `ignore_releases` removes by the"
                " policy alone, and `dry_run` shows what",
            ) from error
        named = {**found.by, **named}
        count = f"{found.revisions} revision{'s' * (found.revisions != 1)} of releases"
        told.append(f"{count} in {', '.join(options.namespaces) or 'all namespaces'} of {shown}")
    return named, f"looked at {'; '.join(told)}"
