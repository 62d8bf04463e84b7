"""Wait until a release serves, or say which replica waits for what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from serve_deploy.cluster.api import Cluster
from serve_deploy.cluster.state.release import ReleaseState, read_release
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
    patience = Patience()
    while True:
        state = read_release(cluster, release, namespace)
        if state.serves:
            return state
        now = clock()
        hopeless = patience.find_hopeless(state, now)
        if hopeless:
            raise TritonStartError(
                f"release {release} will not become ready: {'; '.join(hopeless)}",
                hint=f"fix it and deploy again; {_say_where_to_look(state)}",
            )
        if now >= deadline:
            raise TritonStartError(
                f"release {release} is not ready after {timeout_seconds:.0f} s: {explain_waiting(state)}",
                hint=f"the cluster keeps trying: serve status {release} -n {namespace}; `timeout_seconds` waits longer",
            )
        progress(f"waiting for {release}: {explain_waiting(state)}")
        sleep(POLL_SECONDS)


class Patience:
    """Since when each obstacle has lasted, and which have lasted so long that waiting is in vain."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}

    def find_hopeless(self, state: ReleaseState, now: float) -> list[str]:
        """What waits in vain at this time (seconds, of any clock), in words."""
        found = list(_find_obstacles(state))
        self._since = {key: self._since.get(key, now) for key, _, _ in found}
        return _say_once(
            (key[0], message)
            for key, message, seconds in found
            if seconds is not None and now - self._since[key] >= seconds
        )


def _find_obstacles(state: ReleaseState) -> Iterator[tuple[tuple[str, str], str, float | None]]:
    """What stands in the way, in words, and how long it may; each with a key by which it is known again."""
    if not state.rollout.done:
        yield ("", "rollout"), state.rollout.message, state.rollout.patience_seconds
    for pod in state.staying:
        wait = pod.waits_for
        if wait is not None:
            again = not wait.is_crash or pod.restarts > RESTARTS_BEFORE_GIVING_UP
            yield (pod.name, wait.obstacle), wait.message, wait.patience_seconds if again else None


def explain_waiting(state: ReleaseState) -> str:
    """Each replica that is not ready and what it waits for; else what the rollout or its autoscaler lacks."""
    waiting = [(pod.name, pod.waits_for.message) for pod in state.staying if pod.waits_for is not None]
    missing = [
        (pod.name, f"model {name} is {model}")
        for pod in state.staying
        if pod.ready
        for name, model in pod.models.items()
        if model != "ready"
    ]
    refused = [state.rollout.message] if state.rollout.patience_seconds is not None else []
    awaits = state.autoscaler.awaits if state.autoscaler and state.rollout.done else None
    return "; ".join(refused + _say_once(waiting + missing)) or awaits or state.rollout.message


def _say_once(said: Iterable[tuple[str, str]]) -> list[str]:
    """What each replica is told, in words; those that are told the same in one, by the name of the first."""
    names: dict[str, list[str]] = {}
    for name, words in said:
        names.setdefault(words, []).append(name)
    return [
        f"{first}{f' and {len(others)} more' if others else ''}: {words}" if first else words
        for words, (first, *others) in names.items()
    ]


def _say_where_to_look(state: ReleaseState) -> str:
    """The command that shows more; only a container that ran has a log."""
    ran = any(pod.waits_for is not None and pod.waits_for.is_crash for pod in state.staying)
    of = f"{state.release} -n {state.namespace}"
    return f"serve logs {of} shows the whole log" if ran else f"serve status {of} shows each replica"
