"""Go back to an earlier revision of a release."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.cluster.api import connect
from serve_deploy.cluster.carried import remove_unused
from serve_deploy.cluster.helm import Helm, Revision
from serve_deploy.cluster.options import RollbackOptions
from serve_deploy.cluster.release import ReleaseState
from serve_deploy.cluster.replicas import keep_replicas
from serve_deploy.cluster.rollout import explaining, wait_for_rollout
from serve_deploy.errors import UsageError
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
    helm, release, namespace = Helm(context=options.context), options.release, options.namespace
    cluster = connect(options.context)
    progress(f"asking helm for the revisions of {release}")
    history = helm.list_revisions(release, namespace)
    now, target = history[-1].number, choose_revision(history, options.revision)
    if options.dry_run:
        difference = _compare(*(helm.get("manifest", release, namespace, each) for each in (now, target)))
        return Rollback(release, namespace, now, target, difference=difference)
    with explaining(helm, options):
        progress(f"helm rolls {release} back from revision {now} to {target}")
        keep_replicas(cluster, options, lambda: helm.get("manifest", release, namespace, target))
        helm.roll_back(release, namespace, target, force_conflicts=options.force_conflicts)
        made = helm.list_revisions(release, namespace)[-1].number
        state = wait_for_rollout(cluster, options, progress)
        removed = remove_unused(cluster, helm, release, namespace, progress)
    return Rollback(release, namespace, now, target, made, state=state, removed_models=removed)


def choose_revision(history: Sequence[Revision], asked: int | None) -> int:
    """The revision asked for, else the last one before the current that helm got to its end with."""
    numbers = [revision.number for revision in history]
    if asked is not None:
        if asked not in numbers:
            raise UsageError(f"there is no `revision={asked}`", hint=f"helm remembers {', '.join(map(str, numbers))}")
        return asked
    good = [revision.number for revision in history[:-1] if revision.is_good]
    if not good:
        raise UsageError(
            f"there is nothing to go back to: no revision before {numbers[-1]} was deployed",
            hint="serve undeploy removes the release",
        )
    return good[-1]


def _compare(now: str, then: str) -> str:
    return "\n".join(difflib.unified_diff(now.splitlines(), then.splitlines(), "now", "then", lineterm=""))
