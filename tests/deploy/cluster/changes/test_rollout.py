"""What a change of a release chooses, waits for and leaves, told without a cluster."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from serve_deploy.cluster.changes.helm import Helm, Revision
from serve_deploy.cluster.changes.helm_errors import ReleaseLocked
from serve_deploy.cluster.changes.removal import wait_until_gone
from serve_deploy.cluster.changes.rollback import choose_revision
from serve_deploy.cluster.changes.rollout import estimate_seconds, explaining
from serve_deploy.cluster.options import RolloutOptions, UndeployOptions
from serve_deploy.errors import EndpointError, Interrupted, UsageError


def revision(number: int, status: str = "superseded", description: str = "Upgrade complete") -> Revision:
    return Revision(number, status, "triton-0.1.0", "2026-01-01", description)


@pytest.mark.parametrize(
    ("history", "target"),
    [
        ([revision(1), revision(2, "deployed")], 1),
        ([revision(1), revision(2, "failed"), revision(3, "deployed")], 1),
        ([revision(1, "deployed"), revision(2, "superseded", 'Upgrade "a" failed: x'), revision(3, "failed")], 1),
        ([revision(4), revision(5, "deployed"), revision(6, "pending-upgrade")], 5),
        ([revision(1), revision(2), revision(3), revision(4, "deployed", "Rollback to 2")], 1),
        ([revision(1), revision(2), revision(3, "superseded", "Rollback to 1"), revision(4, "deployed")], 3),
    ],
    ids=[
        "the one before",
        "not a failed one",
        "nor what helm calls superseded later",
        "from one that is locked",
        "not what was rolled back from",
        "but what was rolled back to",
    ],
)
def test_the_revision_to_go_back_to(history: list[Revision], target: int) -> None:
    """The last that helm got to its end with, before the current."""
    assert choose_revision(history, None) == target


def test_revisions_that_are_not_there() -> None:
    """Neither the first revision nor an unknown one can be gone back to."""
    with pytest.raises(UsageError, match="there is no `revision=7`"):
        choose_revision([revision(1), revision(2)], 7)
    with pytest.raises(UsageError, match="no revision before 1 was deployed"):
        choose_revision([revision(1, "deployed")], None)


def workload(replicas: int, strategy: dict[str, Any], budget: int = 100) -> dict[str, Any]:
    container = {"name": "triton", "startupProbe": {"periodSeconds": 5, "failureThreshold": budget // 5}}
    pod = {"terminationGracePeriodSeconds": 50, "containers": [container]}
    return {
        "spec": {"replicas": replicas, "strategy": {"rollingUpdate": strategy}, "template": {"spec": pod}},
    }


@pytest.mark.parametrize(
    ("replicas", "strategy", "seconds"),
    [
        (1, {"maxSurge": 1, "maxUnavailable": 0}, 700),
        (8, {"maxSurge": 1, "maxUnavailable": 0}, 1400),
        (8, {"maxSurge": "25%", "maxUnavailable": 0}, 1000),
        (3, {"maxSurge": 0, "maxUnavailable": 1}, 1050),
        (0, {"maxSurge": 1, "maxUnavailable": 0}, 700),
    ],
    ids=["one", "one after the other", "two at once", "the old one ends first", "none yet"],
)
def test_how_long_a_rollout_may_take(replicas: int, strategy: dict[str, Any], seconds: float) -> None:
    """Ten minutes for a node and its image, and the start-up budgets one after the other."""
    assert estimate_seconds(workload(replicas, strategy)) == seconds


def test_how_long_a_group_may_take() -> None:
    """A LeaderWorkerSet has its strategy and its pods elsewhere."""
    pod = workload(1, {})["spec"]["template"]
    spec = {
        "replicas": 2, "leaderWorkerTemplate": {"leaderTemplate": pod, "workerTemplate": pod},
        "rolloutStrategy": {"rollingUpdateConfiguration": {"maxSurge": 1, "maxUnavailable": 0}},
    }  # fmt: skip
    assert estimate_seconds({"spec": spec}) == 800


def helm_that_remembers(history: str) -> Helm:
    def run(command: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, history, "")

    return Helm("sh", run)


OPTIONS = RolloutOptions(release="demo", namespace="models")
HISTORY = (
    '[{{"revision": 1, "status": "{0}", "chart": "c", "updated": "noon", "description": "complete"}},'
    ' {{"revision": 2, "status": "{1}", "chart": "c", "updated": "one", "description": "-"}}]'
)


@pytest.mark.parametrize(
    ("first", "last", "words", "hint"),
    [
        ("superseded", "deployed", "revision 2 of demo is deployed, and the cluster goes on", "serve status demo"),
        ("deployed", "pending-upgrade", "revision 2 of demo is pending-upgrade: it is locked", "serve rollback demo"),
        ("failed", "pending-install", "is pending-install: it is locked", "serve undeploy demo"),
    ],
)
def test_what_an_interruption_leaves_is_said(first: str, last: str, words: str, hint: str) -> None:
    """Ctrl-C ends with helm's own account of the release, and what to do about it."""
    helm = helm_that_remembers(HISTORY.format(first, last))
    with pytest.raises(Interrupted, match=words) as raised, explaining(helm, OPTIONS):
        raise KeyboardInterrupt
    assert hint in str(raised.value.hint)


def test_a_locked_release_is_explained() -> None:
    """Since when, and what frees it."""
    helm = helm_that_remembers(HISTORY.format("deployed", "pending-rollback"))
    words = "release demo is locked: pending-rollback since one"
    with pytest.raises(ReleaseLocked, match=words), explaining(helm, OPTIONS):
        raise ReleaseLocked("x")


def test_ctrl_c_lets_helm_come_to_its_end(tmp_path: Any) -> None:
    """A helm that is stopped halfway leaves its release locked; so it is waited for."""
    script = textwrap.dedent("""
        import sys
        from serve_deploy.cluster.changes.helm import run_program
        try:
            run_program(["sh", "-c", 'cd "$0"; echo > begun; read -r _ < go; echo > done', sys.argv[1]])
        except KeyboardInterrupt:
            print("interrupted")
    """)
    os.mkfifo(tmp_path / "go")
    os.mkfifo(tmp_path / "begun")
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        (tmp_path / "begun").read_text()
        # As a terminal does it: to everybody of the group.
        os.killpg(process.pid, signal.SIGINT)
        (tmp_path / "go").write_text("\n")
        out, _ = process.communicate(timeout=300)
    assert (out, (tmp_path / "done").exists()) == ("interrupted\n", True)


class Pods:
    """A cluster with ever fewer pods."""

    def __init__(self, *counts: int) -> None:
        self.counts = itertools.chain(counts, itertools.repeat(counts[-1]))

    def find(self, _path: str, _selector: str = "") -> list[Any]:
        return [{"metadata": {"name": f"p{i}"}, "spec": {"nodeName": "n"}} for i in range(next(self.counts))]


def test_wait_until_replicas_have_ended() -> None:
    """Those that finish their requests are named; those that never end are, too, and end the wait."""
    told: list[str] = []
    options = UndeployOptions(release="demo", namespace="models", timeout_seconds=10)
    clock = itertools.count(step=3.0)
    wait_until_gone(Pods(2, 1, 0), options, told.append, lambda: next(clock), lambda _: None)  # type: ignore[arg-type]
    assert [each.rpartition(": ")[2] for each in told] == ["p0 on n, p1 on n", "p0 on n"]
    with pytest.raises(EndpointError, match="after 10 s these have not ended: p0 on n"):
        wait_until_gone(Pods(1), options, told.append, lambda: next(clock), lambda _: None)  # type: ignore[arg-type]
