"""Wait until a release serves, or say which replica waits for what."""

from __future__ import annotations

import time
from collections.abc import Callable

from serve_deploy.cluster.api import Cluster
from serve_deploy.cluster.release import ReleaseState, read_release
from serve_deploy.errors import TritonStartError
from serve_deploy.progress import Progress, silent

POLL_SECONDS = 3.0
# A first crash may be a race at the start; the second is a habit.
RESTARTS_BEFORE_GIVING_UP = 1


def wait_until_serving(
    cluster: Cluster,
    release: str,
    namespace: str,
    *,
    timeout_seconds: float,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ReleaseState:
    """Return once every model is ready on every replica; TritonStartError when that will not come, or not in time."""
    deadline = clock() + timeout_seconds
    while True:
        state = read_release(cluster, release, namespace)
        if state.serves:
            return state
        if is_hopeless(state):
            raise TritonStartError(
                f"release {release} will not become ready: {explain_waiting(state)}",
                hint=f"fix it and deploy again; serve logs {release} -n {namespace} shows the whole log",
            )
        if clock() >= deadline:
            raise TritonStartError(
                f"release {release} is not ready after {timeout_seconds:.0f} s: {explain_waiting(state)}",
                hint=f"the cluster keeps trying: serve status {release} -n {namespace}; `timeout_seconds` waits longer",
            )
        progress(explain_waiting(state))
        sleep(POLL_SECONDS)


def is_hopeless(state: ReleaseState) -> bool:
    """Whether some replica waits in vain."""
    return any(
        pod.waits_for is not None
        and pod.waits_for.lasting
        and (pod.restarts > RESTARTS_BEFORE_GIVING_UP or pod.waits_for.obstacle == "configuration")
        for pod in state.staying
    )


def explain_waiting(state: ReleaseState) -> str:
    """Each replica that is not ready and what it waits for; else what the rollout lacks."""
    waiting = [f"{pod.name}: {pod.waits_for.message}" for pod in state.staying if pod.waits_for is not None]
    missing = [
        f"{pod.name}: model {name} is {model}"
        for pod in state.staying
        if pod.ready
        for name, model in pod.models.items()
        if model != "ready"
    ]
    return "; ".join(waiting + missing) or state.rollout.message
