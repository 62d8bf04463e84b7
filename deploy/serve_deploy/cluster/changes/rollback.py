"""Go back to an earlier revision of a release."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from serve_deploy.cluster.api import ClusterAccess, connect
from serve_deploy.cluster.changes.carried import remove_unused
from serve_deploy.cluster.changes.helm import Helm, Revision
from serve_deploy.cluster.changes.helm_errors import NoSuchRelease
from serve_deploy.cluster.changes.replicas import keep_replicas
from serve_deploy.cluster.changes.rollout import explaining, wait_for_rollout
from serve_deploy.cluster.options import RollbackOptions, RolloutOptions
from serve_deploy.cluster.state.release import ReleaseState
from serve_deploy.errors import EndpointError, TritonStartError, UsageError
from serve_deploy.progress import Progress, silent


@dataclass(frozen=True)
class Rollback:
    """From which revision to which a release went back; helm made `revision` of it.

    `difference` is that of the manifests, with `dry_run`; `state` comes with `wait`, and `removed_models` names the
    ConfigMaps with carried models that nothing needs any more.
    """

    release: str
    namespace: str
    from_revision: int
    to_revision: int
    revision: int | None = None
    difference: str | None = None
    state: ReleaseState | None = None
    removed_models: tuple[str, ...] = ()


def rollback(options: RollbackOptions, progress: Progress = silent) -> Rollback:
    """Go back to a revision of a release; UsageError where there is none, TritonStartError where it does not serve."""
    cluster, helm = connect(options.context), Helm(context=options.context)
    with explaining(helm, options):
        return go_back(cluster, helm, options, progress)


def go_back(cluster: ClusterAccess, helm: Helm, options: RollbackOptions, progress: Progress) -> Rollback:
    """Roll a release back, or show what that would change."""
    release, namespace = options.release, options.namespace
    progress(f"asking helm for the revisions of {release}")
    history = helm.list_revisions(release, namespace)
    now, target = history[-1].number, choose_revision(history, options.revision)
    if options.dry_run:
        difference = _compare(*(helm.get("manifest", release, namespace, each) for each in (now, target)))
        return Rollback(release, namespace, now, target, difference=difference)
    progress(f"helm rolls {release} back from revision {now} to {target}")
    keep_replicas(cluster, options, lambda: helm.get("manifest", release, namespace, target))
    helm.roll_back(release, namespace, target, force_conflicts=options.force_conflicts)
    made = helm.list_revisions(release, namespace)[-1].number
    state = wait_for_rollout(cluster, options, progress)
    removed = remove_unused(cluster, helm, release, namespace, progress)
    return Rollback(release, namespace, now, target, made, state=state, removed_models=removed)


def choose_revision(history: Sequence[Revision], asked: int | None) -> int:
    """The revision asked for, else the last before the current that helm got to its end with.

    What was rolled back from is not gone back to: after "Rollback to 3" it is the last before 3.
    """
    numbers = [revision.number for revision in history]
    if asked is not None:
        if asked not in numbers:
            raise UsageError(f"there is no `revision={asked}`", hint=f"helm remembers {', '.join(map(str, numbers))}")
        return asked
    was = re.match(r"Rollback to (\d+)", history[-1].description)
    before = int(was[1]) if was else numbers[-1]
    good = [revision.number for revision in history if revision.is_good and revision.number < before]
    if not good:
        raise UsageError(
            f"there is nothing to go back to: no revision before {before} was deployed",
            hint="name a `revision` that helm history lists, or remove the release with serve undeploy",
        )
    return good[-1]


def _compare(now: str, then: str) -> str:
    return "\n".join(difflib.unified_diff(now.splitlines(), then.splitlines(), "now", "then", lineterm=""))


@contextmanager
def rolling_back(
    cluster: ClusterAccess, helm: Helm, options: RolloutOptions, progress: Progress = silent
) -> Iterator[None]:
    """Where a change that is made within fails, go back to the last good revision, and say so in the failure."""
    release, namespace = options.release, options.namespace
    known = _find_last(helm, release, namespace)
    try:
        yield
    except (EndpointError, TritonStartError) as error:
        if _find_last(helm, release, namespace) == known:
            raise
        try:
            back = RollbackOptions(
                release=release, namespace=namespace, context=options.context, wait=True,
                timeout_seconds=options.timeout_seconds, force_conflicts=options.force_conflicts,
            )  # fmt: skip
            progress(f"{release} is rolled back: {error}")
            done = go_back(cluster, helm, back, progress)
        except (UsageError, EndpointError, TritonStartError) as second:
            raise type(error)(f"{error}; it was not rolled back: {second}", hint=error.hint) from error
        raise type(error)(
            f"{error}; rolled back to revision {done.to_revision}, which serves", hint="fix it and deploy again"
        ) from error


def _find_last(helm: Helm, release: str, namespace: str) -> int:
    """The number of a release's newest revision; 0 where there is none."""
    try:
        return helm.list_revisions(release, namespace)[-1].number
    except NoSuchRelease:
        return 0
