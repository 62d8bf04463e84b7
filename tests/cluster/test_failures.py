"""Ways in which a release fails to serve in a real cluster: what status and --wait say of each.

Every case has a real cause. Where the nodes are simulated, an annotation fake.node/… asks them to play the effect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from cluster_stand_ins import eventually

Json = Callable[..., Any]
Run = Callable[..., "CompletedProcess[str]"]
Helm = Callable[..., str]
PRIVILEGED = {"name": "extra", "image": "busybox", "securityContext": {"privileged": True}}
# Values with the cause, annotations with the effect, what --wait says when it gives up.
FAILURES: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "image": (
        {"image": {"tag": "no-such-tag"}}, {"image-error": "ErrImagePull|manifest unknown"}, "cannot be pulled",
    ),
    "Secret": (
        {"server": {"envFrom": [{"secretRef": {"name": "nobody-made-it"}}]}},
        {"config-error": 'secret "nobody-made-it" not found'}, 'secret "nobody-made-it" not found',
    ),
    "crash": (
        {"server": {"extraArgs": ["--no-such-flag"]}},
        {"crash-loop": "1", "log": "error: creating server: Invalid argument - no such flag"}, "ended with exit code 1",
    ),
    "memory": (
        {"resources": {"memory": "20Mi"}}, {"oom": "1"}, "Triton ran out of memory (OOMKilled): raise resources.memory",
    ),
    "RuntimeClass": (
        {"gpu": {"count": 1, "runtimeClassName": "no-such-class"}}, {}, "does not have the RuntimeClass of its pods",
    ),
    "Pod Security": (
        {"pod": {"sidecars": [PRIVILEGED]}}, {}, "Pod Security refuses its pods",
    ),
    "quota": (
        {"resources": {"cpu": "900"}}, {}, "the namespace's quota has no room for its pods",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def strict_namespace(cluster: Any, namespace: str) -> str:
    """The namespace, with a quota and Pod Security "restricted"."""
    if not cluster.has_nodes:
        pytest.skip("no node runs containers in this cluster")
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    cluster.core.patch_namespace(namespace, label)
    quota = {"metadata": {"name": "cpus"}, "spec": {"hard": {"requests.cpu": "800"}}}
    cluster.core.create_namespaced_resource_quota(namespace, quota)
    return namespace


@pytest.fixture
def values(tmp_path: Path) -> Callable[..., Path]:
    """Write values, with annotations for simulated nodes."""

    def write(given: dict[str, Any], effect: dict[str, str]) -> Path:
        annotations = {f"fake.node/{key}": text for key, text in effect.items()}
        pod = given.get("pod", {}) | {"annotations": annotations}
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(given | {"pod": pod}))
        return tmp_path / "values.yaml"

    return write


@pytest.fixture
def uninstalled(helm: Helm, namespace: str) -> Iterator[None]:
    """Removes the test's release afterwards."""
    yield
    helm("uninstall", "bad", "-n", namespace, "--ignore-not-found")


@pytest.mark.parametrize("name", FAILURES)
def test_wait_gives_up_with_the_reason(
    strict_namespace: str, chart: Path, serve_run: Run, values: Callable[..., Path], uninstalled: None, name: str
) -> None:
    """Long before the time-out, in the cluster's own words, and status says the same."""
    given, effect, words = FAILURES[name]
    done = serve_run(
        "deploy", chart, "--release", "bad", "-n", strict_namespace, "--values", values(given, effect), "--wait",
        "--timeout", 600,
    )  # fmt: skip
    status = serve_run("status", "bad", "-n", strict_namespace)
    assert (done.returncode, "will not become ready" in done.stderr) == (5, True), done.stderr
    assert words in done.stderr
    assert words in status.stdout


def test_a_hung_triton_serves_no_model(
    strict_namespace: str, chart: Path, serve_run: Run, serve_json: Json, values: Callable[..., Path],
    uninstalled: None,
) -> None:  # fmt: skip
    """Its log says that the model was loaded; its probe says that it does not answer."""
    broken = {"probes": {"startupBudgetSeconds": 3600}, "server": {"ports": {"http": 9999}}}
    given = values(broken, {"never-ready": "1"})
    serve_run("deploy", chart, "--release", "bad", "-n", strict_namespace, "--values", given)
    state = eventually(
        lambda: serve_json("status", "bad", "-n", strict_namespace),
        lambda seen: seen["pods"] and seen["pods"][0]["phase"] == "Running",
        seconds=120,
        what="a running pod",
        explain=lambda: "",
    )
    (replica,) = state["pods"]
    assert (replica["ready"], replica["models"]["digits"] == "ready") == (False, False), json.dumps(replica)
    assert "is not ready" in replica["waits_for"]["message"] or "starting" in replica["waits_for"]["message"]


def test_an_evicted_replica_holds_nothing_up(
    cluster: Any, strict_namespace: str, chart: Path, serve_run: Run, serve_json: Json, uninstalled: None
) -> None:
    """Its object stays beside the replica that took its place; the release serves."""
    first = serve_json("deploy", chart, "--release", "bad", "-n", strict_namespace, "--wait", "--timeout", 600)
    (name,) = (pod["name"] for pod in first["state"]["pods"])
    evicted = {"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}}
    cluster.core.patch_namespaced_pod_status(name, strict_namespace, evicted)
    again = serve_json("deploy", chart, "--release", "bad", "-n", strict_namespace, "--wait", "--timeout", 600)
    state = eventually(
        lambda: serve_json("status", "bad", "-n", strict_namespace), lambda seen: len(seen["pods"]) == 2, seconds=60,
        what="both replicas",
    )  # fmt: skip
    gone = next(pod for pod in state["pods"] if pod["name"] == name)
    assert again["state"]["rollout"]["done"] is True
    assert (gone["models"], gone["waits_for"]["obstacle"]) == ({"digits": "not running"}, "ended")
