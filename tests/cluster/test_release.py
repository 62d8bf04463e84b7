"""A release's life in a real cluster: install, test, upgrade, roll back, uninstall."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from cluster_stand_ins import eventually

Json = Callable[..., Any]
Run = Callable[..., "CompletedProcess[str]"]
Helm = Callable[..., str]


@pytest.fixture(scope="module")
def deployed(cluster: Any, namespace: str, chart: Path, serve_json: Json, helm: Helm) -> Iterator[Any]:
    """The result of `serve deploy --wait`; uninstalled afterwards where a test has not done it."""
    result = serve_json("deploy", chart, "--release", "demo", "-n", namespace, "--wait", "--timeout", 600)
    yield result
    if "demo" in helm("list", "-q", "-n", namespace).split():
        helm("uninstall", "demo", "-n", namespace)


def test_install_waits_until_every_model_is_ready(deployed: Any, namespace: str, serve_json: Json) -> None:
    """After --wait the release serves, and status agrees."""
    assert deployed["revision"] == 1
    state = serve_json("status", "demo", "-n", namespace)
    assert state["rollout"]["done"] is True
    assert [pod["models"] for pod in state["pods"]] == [{"digits": "ready"}]


def test_helm_test_sends_an_inference(cluster: Any, deployed: Any, namespace: str, helm: Helm) -> None:
    """The chart's test pod gets a real answer from the model."""
    if not cluster.has_nodes:
        pytest.skip("no node runs containers in this cluster")
    assert "Phase:          Succeeded" in helm("test", "demo", "-n", namespace)


def test_logs_show_triton(cluster: Any, deployed: Any, namespace: str, serve_run: Run) -> None:
    """Every replica's log, under its name."""
    if not cluster.has_nodes:
        pytest.skip("no node runs containers in this cluster")
    done = serve_run("logs", "demo", "-n", namespace, "--tail", 1000)
    assert "successfully loaded 'digits'" in done.stdout


def test_upgrade_replaces_replicas(deployed: Any, namespace: str, chart: Path, serve_json: Json) -> None:
    """A changed value is a new revision whose rollout completes; nothing immutable stands in the way."""
    before = {pod["name"] for pod in serve_json("status", "demo", "-n", namespace)["pods"]}
    result = serve_json(
        "deploy", chart, "--release", "demo", "-n", namespace, "--set", "server.logVerbose=1", "--set", "replicas=2",
        "--wait", "--timeout", 600,
    )  # fmt: skip
    assert result["revision"] == 2
    names = {pod["name"] for pod in result["state"]["pods"] if pod["phase"] != "Terminating"}
    assert (len(names), names & before) == (2, set())


def test_rollback(deployed: Any, namespace: str, serve_json: Json) -> None:
    """Back to the first revision, and the first number of replicas; --wait ends when they serve."""
    done = serve_json("rollback", "demo", "-n", namespace, "--wait")
    assert (done["from_revision"], done["to_revision"], done["revision"]) == (2, 1, 3)
    assert (done["state"]["wanted"], done["state"]["rollout"]["done"]) == (1, True)


def test_two_releases_in_one_namespace(
    cluster: Any, deployed: Any, namespace: str, chart: Path, serve_json: Json, helm: Helm
) -> None:
    """A second release of the same chart shares no object with the first, and each is told apart."""
    serve_json("deploy", chart, "--release", "other", "-n", namespace, "--wait", "--timeout", 600)
    first, second = (serve_json("status", name, "-n", namespace) for name in ("demo", "other"))
    helm("uninstall", "other", "-n", namespace)
    assert not {pod["name"] for pod in first["pods"]} & {pod["name"] for pod in second["pods"]}


def test_undeploy_leaves_nothing(cluster: Any, deployed: Any, namespace: str, serve_json: Json, serve_run: Run) -> None:
    """What --dry-run announces is removed; no object carries the release's label, and status knows of no release."""
    announced = serve_json("undeploy", "demo", "-n", namespace, "--dry-run")
    removed = serve_json("undeploy", "demo", "-n", namespace)
    assert removed == announced | {"dry_run": False}
    label = "app.kubernetes.io/instance=demo"
    kinds = (
        cluster.core.list_namespaced_service,
        cluster.core.list_namespaced_config_map,
        cluster.core.list_namespaced_pod,
    )
    for listed in kinds:
        eventually(
            lambda listed=listed: [item.metadata.name for item in listed(namespace, label_selector=label).items],
            lambda names: names == [], seconds=120, what="objects of the release",
        )  # fmt: skip
    done = serve_run("status", "demo", "-n", namespace)
    assert (done.returncode, "there is no release demo" in done.stderr) == (2, True)


def test_wait_names_what_a_replica_lacks(cluster: Any, namespace: str, chart: Path, serve_run: Run, helm: Helm) -> None:
    """A GPU that no node has: --wait ends with the scheduler's reason and leaves the release to be looked at."""
    if not cluster.has_nodes:
        pytest.skip("no scheduler's opinion without nodes")
    done = serve_run(
        "deploy", chart, "--release", "gpu", "-n", namespace, "--set", "gpu.profile=b200", "--wait", "--timeout", 30
    )
    helm("uninstall", "gpu", "-n", namespace)
    assert done.returncode == 5
    assert "no node" in done.stderr
