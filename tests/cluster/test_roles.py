"""What people without admin rights can do: the roles view and edit, the documented one, and none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from identities import act_as, documented_rules

Run = Callable[..., "CompletedProcess[str]"]
Helm = Callable[..., str]


@pytest.fixture(scope="module")
def deployed(namespace: str, chart: Path, serve_run: Run, helm: Helm) -> Iterator[None]:
    done = serve_run("deploy", chart, "--release", "demo", "-n", namespace, "--wait", "--timeout", 600)
    assert done.returncode == 0, done.stderr
    yield
    helm("uninstall", "demo", "-n", namespace)


@pytest.mark.parametrize(
    ("role", "unknown"),
    [("view", ["scaledobjects"]), ("edit", ["scaledobjects"]), ("documented", [])],
)
def test_status_and_logs(
    cluster: Any, deployed: None, namespace: str, serve_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    role: str, unknown: list[str],
) -> None:  # fmt: skip
    """Each of these roles is enough; what it may not list is said to be not known, once."""
    rules = documented_rules() if role == "documented" else None
    monkeypatch.setenv("KUBECONFIG", str(act_as(cluster, namespace, role, tmp_path, rules=rules)))
    status, logs = serve_run("status", "demo", "-n", namespace), serve_run("logs", "demo", "-n", namespace)
    assert (status.returncode, logs.returncode) == (0, 0), status.stderr + logs.stderr
    said = [line.partition(": ")[2] for line in status.stdout.splitlines() if line.startswith("not known")]
    assert said == [", ".join(unknown)] * bool(unknown)


def test_a_namespaced_user_deploys(
    cluster: Any, namespace: str, chart: Path, serve_run: Run, helm: Helm, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Who may edit the namespace, but not create one, installs, waits and upgrades."""
    with monkeypatch.context() as acting:
        acting.setenv("KUBECONFIG", str(act_as(cluster, namespace, "edit", tmp_path)))
        for setting in ("server.logVerbose=0", "server.logVerbose=1"):
            done = serve_run(
                "deploy", chart, "--release", "own", "-n", namespace, "--wait", "--timeout", 600, "--set", setting
            )
            assert done.returncode == 0, done.stderr
    helm("uninstall", "own", "-n", namespace)


def test_without_permission(
    cluster: Any, namespace: str, serve_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An identity without any role is refused in words of ours, with the API server's reason."""
    monkeypatch.setenv("KUBECONFIG", str(act_as(cluster, namespace, None, tmp_path)))
    done = serve_run("status", "demo", "-n", namespace)
    assert (done.returncode, "you may not do that in this cluster" in done.stderr) == (6, True), done.stderr
