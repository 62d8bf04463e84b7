"""Every release of a triton chart in a namespace, or in all of them."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.cluster.api import Cluster, connect
from serve_deploy.cluster.options import FleetOptions
from serve_deploy.cluster.state.objects import read_objects, read_releases
from serve_deploy.cluster.state.release import ReleaseState, describe_release
from serve_deploy.progress import Progress, silent


@dataclass(frozen=True)
class Fleet:
    """The state of each release, by namespace and name; `unknown` names what the user may not list."""

    releases: tuple[ReleaseState, ...]
    unknown: tuple[str, ...] = ()


def read_fleet(options: FleetOptions, progress: Progress = silent) -> Fleet:
    """What every release does; EndpointError where the cluster does not answer or the user may not list them."""
    return describe_fleet(connect(options.context), None if options.all_namespaces else options.namespace, progress)


def describe_fleet(cluster: Cluster, namespace: str | None, progress: Progress = silent) -> Fleet:
    """Read the releases of a namespace, or of all where it is None."""
    found, unknown = read_releases(cluster, namespace)
    states = []
    for where, release in found:
        progress(f"asking the cluster for {release} in {where}")
        states.append(describe_release(read_objects(cluster, release, where)))
    refused = {*unknown, *(kind for state in states for kind in state.unknown)}
    return Fleet(tuple(states), tuple(sorted(refused)))
