"""What the operations on a cluster may be asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from serve_deploy.errors import UsageError
from serve_deploy.option import Made, Option
from serve_deploy.overrides import read_overrides

_RELEASE, _WAIT, _LINES = "Release", "Waiting", "Lines"
_RELEASE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_RELEASE = 53
Namespace = Annotated[str, Option("The namespace of the release.", metavar="NAME", group=_RELEASE)]
Context = Annotated[
    str | None, Option("The context of KUBECONFIG; by default the current one.", metavar="NAME", group=_RELEASE)
]


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """A release, and the cluster it is in; `context` is one of KUBECONFIG's, None the current one."""

    release: Annotated[str, Option("The release's name.", metavar="RELEASE", group=_RELEASE)]
    namespace: Namespace = "default"
    context: Context = None

    def __post_init__(self) -> None:
        """Refuse a name that Helm would refuse, before anything is asked of it or of a cluster."""
        if not _RELEASE_NAME.fullmatch(self.release) or len(self.release) > _LONGEST_RELEASE:
            said = (
                f"`release={self.release}` is not a name for a release" if self.release else "the release has no name"
            )
            rule = "lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
            raise UsageError(said, hint=f"use at most {_LONGEST_RELEASE} {rule}")


@dataclass(frozen=True, kw_only=True)
class StatusOptions(ReleaseOptions):
    """A release, and whether to read all that tells how long its replicas took to start."""

    timings: Annotated[bool, Option("Show how long each step of the start took.", group="Output")] = False

    def __post_init__(self) -> None:
        if self.release:  # the command line has none where it asks for all releases
            super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class FleetOptions:
    """Which releases: those of a namespace, or all of the cluster."""

    namespace: Namespace = "default"
    all_namespaces: Annotated[bool, Option("Show the releases of every namespace.", group=_RELEASE)] = False
    context: Context = None


@dataclass(frozen=True, kw_only=True)
class RolloutOptions(ReleaseOptions):
    """Whether to wait until a change serves; `timeout_seconds` None is as long as the rollout may take."""

    wait: Annotated[bool, Option("Wait until every model is ready on every replica.", group=_WAIT)] = False
    timeout_seconds: Annotated[
        float | None,
        Option(
            "How long `wait` waits; by default what the replicas may take to start, one after the other.",
            minimum=1,
            group=_WAIT,
        ),
    ] = None
    force_conflicts: Annotated[
        bool, Option("Also change fields that others have set, such as kubectl scale (helm 4 refuses to).")
    ] = False


@dataclass(frozen=True, kw_only=True)
class DeployOptions(RolloutOptions):
    """What to install, with which values, and how long to wait until it serves."""

    chart: Annotated[str, Option("A chart directory, a .tgz or an oci:// address.", metavar="CHART")]
    overrides: Annotated[Mapping[str, Any], Made(read_overrides)] = field(default_factory=dict)
    rollback_on_failure: Annotated[
        bool, Option("Wait, and go back to the last deployed revision where the new one does not serve.", group=_WAIT)
    ] = False
    dry_run: Annotated[
        Literal["client", "server"] | None,
        Option(
            "Change nothing and show the manifests; with =server, show what would change in the cluster, and what its"
            " API server refuses.",
            bare="client",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class RollbackOptions(RolloutOptions):
    """Which revision of a release to go back to; None is the last one before this that was deployed."""

    revision: Annotated[
        int | None,
        Option(
            "The revision to go back to; by default the last that was deployed before.", metavar="REVISION", minimum=1
        ),
    ] = None
    dry_run: Annotated[bool, Option("Show what would change in the manifests, change nothing.")] = False


@dataclass(frozen=True, kw_only=True)
class UndeployOptions(ReleaseOptions):
    """Which release to remove, and whether to wait until its replicas have ended."""

    wait: Annotated[bool, Option("Do not wait until the replicas have ended.", group=_WAIT)] = True
    timeout_seconds: Annotated[float, Option("How long to wait for them.", minimum=1, group=_WAIT)] = 300.0
    dry_run: Annotated[bool, Option("Show what would be removed, change nothing.")] = False


@dataclass(frozen=True, kw_only=True)
class LogOptions(ReleaseOptions):
    """Which lines of which replicas; `pod` None is all of them."""

    pod: Annotated[str | None, Option("Show this replica only.", metavar="NAME", group=_LINES)] = None
    tail: Annotated[int, Option("How many of the last lines of each replica.", minimum=1, group=_LINES)] = 100
    previous: Annotated[bool, Option("Show the container before the last restart.", group=_LINES)] = False
    follow: Annotated[bool, Option("Keep printing new lines until Ctrl-C.", group=_LINES)] = False
