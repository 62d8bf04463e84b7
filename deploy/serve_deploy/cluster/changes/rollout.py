"""A change of a release by helm: wait until it serves, and say what an interrupted one leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from serve_deploy.cluster.api import Cluster, Object
from serve_deploy.cluster.changes.helm import Helm, Revision
from serve_deploy.cluster.changes.helm_errors import ReleaseLocked
from serve_deploy.cluster.changes.wait import wait_until_serving
from serve_deploy.cluster.options import ReleaseOptions, RolloutOptions
from serve_deploy.cluster.state.objects import SERVER_CONTAINER, find_workload
from serve_deploy.cluster.state.release import ReleaseState
from serve_deploy.errors import Interrupted, ServeError
from serve_deploy.progress import Progress

# A node that must be made first, and an image of more than 10 GB; as the chart's progressDeadlineSeconds.
NODE_AND_IMAGE_SECONDS = 600.0


def wait_for_rollout(cluster: Cluster, options: RolloutOptions, progress: Progress) -> ReleaseState | None:
    """The release's state once it serves; None where nobody wants to wait for it."""
    if not options.wait:
        return None
    seconds = options.timeout_seconds
    if seconds is None:
        seconds = estimate_seconds(find_workload(cluster, options.release, options.namespace)[1])
    release = options.release
    progress(f"waiting for {release} to serve, at most {seconds:.0f} s")
    return wait_until_serving(cluster, release, options.namespace, timeout_seconds=seconds, progress=progress)


def estimate_seconds(workload: Object) -> float:
    """How long a rollout may take: start-up budgets one after the other, as many at once as the strategy allows."""
    spec = workload["spec"]
    wanted = max(spec.get("replicas", 1), 1)
    template = spec.get("template") or spec["leaderWorkerTemplate"]["workerTemplate"]
    pod = template["spec"]
    server: Object = next((each for each in pod["containers"] if each["name"] == SERVER_CONTAINER), {})
    probe = server.get("startupProbe", {})
    start = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) + spec.get("minReadySeconds", 0)
    strategy = spec.get("strategy", {}).get("rollingUpdate") or spec.get("rolloutStrategy", {}).get(
        "rollingUpdateConfiguration", {}
    )
    surge = math.ceil(_share(strategy.get("maxSurge", 1), wanted))
    unavailable = math.floor(_share(strategy.get("maxUnavailable", 0), wanted))
    end = pod.get("terminationGracePeriodSeconds", 30) if unavailable else 0
    steps = math.ceil(wanted / max(surge + unavailable, 1))
    return NODE_AND_IMAGE_SECONDS + float(steps * (start + end))


def _share(value: int | str, of: int) -> float:
    """A number of replicas, or the percentage of all that it is."""
    return value if isinstance(value, int) else of * float(value.rstrip("%")) / 100


@contextmanager
def explaining(helm: Helm, options: ReleaseOptions) -> Iterator[None]:
    """Say what state an interruption leaves a release in, and what frees one that is locked."""
    release, namespace = options.release, options.namespace
    try:
        yield
    except KeyboardInterrupt:
        raise _explain_interruption(helm, release, namespace) from None
    except ReleaseLocked as error:
        history = helm.list_revisions(release, namespace)
        raise ReleaseLocked(
            f"release {release} is locked: {history[-1].status} since {history[-1].updated}, by a helm that works on it"
            " or was interrupted",
            hint=f"where no other helm is at work, {_unlock(release, namespace, history)}",
        ) from error


def _explain_interruption(helm: Helm, release: str, namespace: str) -> Interrupted:
    try:
        history = helm.list_revisions(release, namespace)
    except ServeError as error:
        return Interrupted(f"interrupted; helm tells nothing of {release}: {error}")
    last = history[-1]
    message = f"interrupted; revision {last.number} of {release} is {last.status}"
    if last.is_locked:
        return Interrupted(f"{message}: it is locked", hint=_unlock(release, namespace, history))
    undo = "serve rollback goes back" if len(history) > 1 else "serve undeploy removes it"
    return Interrupted(
        f"{message}, and the cluster goes on with it",
        hint=f"serve status {release} -n {namespace} says how far it is; {undo}",
    )


def _unlock(release: str, namespace: str, history: list[Revision]) -> str:
    if any(revision.is_good for revision in history):
        return f"serve rollback {release} -n {namespace} frees it"
    return f"serve undeploy {release} -n {namespace} frees it: nothing was deployed before"
