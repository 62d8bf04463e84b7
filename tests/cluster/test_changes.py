"""Changes of a release in a real cluster, by people with several roles, with both helms: scale, roll back, remove."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from cluster_stand_ins import eventually
from identities import act_as, documented_rules

Json = Callable[..., Any]
Run = Callable[..., "CompletedProcess[str]"]
# No registry has it; nodes that are simulated are told to refuse it.
BROKEN_IMAGE = """
image: {tag: none-such}
pod: {annotations: {"fake.node/image-error": "ErrImagePull|manifest unknown"}}
"""


def with_other_models(chart: Path, folder: Path, comment: str) -> Path:
    """The chart with another repository: a comment more in the model's configuration."""
    shutil.copytree(chart, folder)
    (config,) = folder.rglob("config.pbtxt")
    config.write_text(f"# {comment}\n{config.read_text()}")
    return folder


def carried(cluster: Any, namespace: str, release: str) -> dict[str, str]:
    """The carried repositories that are there: name and digest of the content."""
    label = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=models"
    found = cluster.core.list_namespaced_config_map(namespace, label_selector=label).items
    return {
        each.metadata.name: hashlib.sha256(json.dumps(each.binary_data, sort_keys=True).encode()).hexdigest()
        for each in found
    }


def mounted(cluster: Any, namespace: str, release: str) -> set[tuple[str, str]]:
    """Each pod's template hash, and the repository that it mounts."""
    label = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=server"
    return {
        (pod.metadata.labels["pod-template-hash"], volume.config_map.name)
        for pod in cluster.core.list_namespaced_pod(namespace, label_selector=label).items
        for volume in pod.spec.volumes
        if volume.name == "models"
    }


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Look again and again meanwhile."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(0.2):
            look()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def recording_replicas(cluster: Any, namespace: str, name: str) -> Iterator[list[int]]:
    """How many replicas the Deployment asks for, at each of its changes."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is missing: make tools")
    command = ["kubectl", "-n", namespace, "get", "deployment", name, "-w", "-o", "jsonpath={.spec.replicas}{'\\n'}"]
    seen: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        seen.append(int(watch.stdout.readline()))
        try:
            yield seen
            # A change that is known ends the record.
            cluster.apps.patch_namespaced_deployment_scale(name, namespace, {"spec": {"replicas": 7}})
            while seen[-1] != 7:
                seen.append(int(watch.stdout.readline()))
        finally:
            watch.terminate()


@pytest.mark.parametrize("scaled", [False, True], ids=["as deployed", "after kubectl scale"])
def test_turning_autoscaling_on_keeps_the_replicas(
    cluster: Any, namespace: str, chart: Path, serve_json: Json, helm: Any, each_helm: str, scaled: bool
) -> None:
    """At no time does the Deployment ask for fewer than are live, by `serve deploy`, by plain helm, or again later."""
    release = f"keep-{each_helm}-{int(scaled)}"
    name, live = f"{release}-triton", 5
    fixed = 3 if scaled else live
    serve_json("deploy", chart, "--release", release, "-n", namespace, "--set", f"replicas={fixed}")
    if scaled:
        cluster.apps.patch_namespaced_deployment_scale(name, namespace, {"spec": {"replicas": live}})
    # No metrics: the autoscaler leaves the number alone, so what helm does to it stays.
    scaling = ("autoscaling.mode=hpa", "autoscaling.minReplicas=2", "autoscaling.maxReplicas=8")
    settings = [word for setting in scaling for word in ("--set", setting)]
    with recording_replicas(cluster, namespace, name) as seen:
        serve_json("deploy", chart, "--release", release, "-n", namespace, *settings)
        helm("upgrade", release, chart, "-n", namespace, *settings, "--set", "server.logVerbose=1")
    assert set(seen) == {live, 7}
    serve_json("undeploy", release, "-n", namespace)


def test_going_back_to_autoscaling_keeps_the_replicas(
    cluster: Any, namespace: str, chart: Path, serve_json: Json, helm: Any
) -> None:
    """With helm 4: autoscaled, fixed, and back. What was kept then gives way to a number that is fixed once more."""
    release, name = "back", "back-triton"
    scaling = ("autoscaling.mode=hpa", "autoscaling.minReplicas=2", "autoscaling.maxReplicas=8")
    settings = [word for setting in scaling for word in ("--set", setting)]
    serve_json("deploy", chart, "--release", release, "-n", namespace, *settings)
    serve_json("deploy", chart, "--release", release, "-n", namespace, "--set", "replicas=5", "--force-conflicts")
    with recording_replicas(cluster, namespace, name) as seen:
        serve_json("rollback", release, "-n", namespace)
    assert set(seen) == {5, 7}
    assert "replicas:" not in helm("get", "manifest", release, "-n", namespace).partition("kind: Horizontal")[0]
    serve_json("deploy", chart, "--release", release, "-n", namespace, "--set", "replicas=4", "--force-conflicts")
    serve_json("deploy", chart, "--release", release, "-n", namespace, *settings)
    serve_json("deploy", chart, "--release", release, "-n", namespace, "--set", "replicas=3")
    assert cluster.apps.read_namespaced_deployment(name, namespace).spec.replicas == 3
    serve_json("undeploy", release, "-n", namespace)


def test_a_failed_deployment_goes_back(
    cluster: Any, namespace: str, chart: Path, serve_run: Run, serve_json: Json, tmp_path: Path, each_helm: str
) -> None:
    """--rollback-on-failure ends with the reason, exit code 5, and the last revision serving."""
    release = f"failing-{each_helm}"
    (tmp_path / "broken.yaml").write_text(BROKEN_IMAGE)
    serve_json("deploy", chart, "--release", release, "-n", namespace, "--wait")
    done = serve_run(
        "deploy", chart, "--release", release, "-n", namespace, "-f", tmp_path / "broken.yaml", "--rollback-on-failure"
    )
    assert (done.returncode, "rolled back to revision 1, which serves" in done.stderr) == (5, True), done.stderr
    assert "none-such cannot be pulled" in done.stderr
    state = serve_json("status", release, "-n", namespace)
    assert (state["rollout"]["done"], "none-such" in state["image"]) == (True, False)
    serve_json("undeploy", release, "-n", namespace)


def test_a_dry_run_on_the_server(
    cluster: Any, namespace: str, chart: Path, serve_run: Run, serve_json: Json, each_helm: str
) -> None:
    """What would change is what then does: nothing where nothing is; and the API server's refusals are told."""
    release = f"dry-{each_helm}"
    arguments = ("deploy", chart, "--release", release, "-n", namespace)
    assert {each["change"] for each in serve_json(*arguments, "--dry-run=server")["changes"]} == {"create"}
    serve_json(*arguments, "--set", "pod.nodeSelector={kubernetes.io/os: linux}")
    again = serve_json(*arguments, "--set", "pod.nodeSelector={kubernetes.io/os: linux}", "--dry-run=server")
    assert {each["change"] for each in again["changes"]} == {"none"}
    # Without any value helm would take the last ones again.
    told = serve_json(*arguments, "--set", "server.logVerbose=0", "--dry-run=server")["changes"]
    changed = [each for each in told if each["change"] != "none"]
    assert [each["kind"] for each in changed] == ["Deployment"]
    assert "-        kubernetes.io/os: linux" in changed[0]["difference"]
    port = "extraObjects=[{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 99999}]}}]"
    refused = serve_run(*arguments, "--set", port, "--dry-run=server")
    assert (refused.returncode, "Service x is refused: " in refused.stdout) == (6, True), refused.stderr
    assert "must be between 1 and 65535" in refused.stdout
    serve_json("undeploy", release, "-n", namespace)


@pytest.mark.parametrize(("role", "code"), [("edit", 0), ("view", 6), ("documented", 6), (None, 6)])
def test_who_may_ask_what_would_change(
    cluster: Any, namespace: str, chart: Path, serve_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    role: str | None, code: int,
) -> None:  # fmt: skip
    """It takes the rights of the deployment itself."""
    rules = documented_rules() if role == "documented" else None
    monkeypatch.setenv("KUBECONFIG", str(act_as(cluster, namespace, role, tmp_path, rules=rules)))
    done = serve_run("deploy", chart, "--release", "asking", "-n", namespace, "--dry-run=server")
    assert (done.returncode, bool(code) == ("is not permitted" in done.stderr)) == (code, True), done.stderr


def test_no_replica_of_the_old_revision_mounts_new_models(
    cluster: Any, namespace: str, chart: Path, serve_json: Json, tmp_path: Path, each_helm: str
) -> None:
    """3 replicas, then a wrong image with other models, then back: each revision mounts its own bytes at all times."""
    release = f"three-{each_helm}"
    wrong = with_other_models(chart, tmp_path / "wrong", "wrong")
    (tmp_path / "broken.yaml").write_text(BROKEN_IMAGE)
    serve_json("deploy", chart, "--release", release, "-n", namespace, "--set", "replicas=3", "--wait")
    (old,) = mounted(cluster, namespace, release)
    seen_mounts: set[tuple[str, str]] = set()
    seen_contents: set[tuple[str, str]] = set()

    def look() -> None:
        seen_mounts.update(mounted(cluster, namespace, release))
        seen_contents.update(carried(cluster, namespace, release).items())

    with watching(look):
        serve_json(
            "deploy",
            wrong,
            "--release",
            release,
            "-n",
            namespace,
            "--set",
            "replicas=3",
            "-f",
            tmp_path / "broken.yaml",
        )
        eventually(lambda: mounted(cluster, namespace, release), lambda now: len(now) == 2, seconds=120, what="both")
        label = f"app.kubernetes.io/instance={release},pod-template-hash={old[0]}"
        first = cluster.core.list_namespaced_pod(namespace, label_selector=label).items[0].metadata.name
        cluster.core.delete_namespaced_pod(first, namespace)
        done = serve_json("rollback", release, "-n", namespace, "--wait")
    assert [each for each in seen_mounts if each[0] == old[0]] == [old]
    assert len({name for name, _ in seen_contents}) == len(seen_contents) == 2
    assert (done["to_revision"], done["state"]["ready"]) == (1, 3)
    serve_json("undeploy", release, "-n", namespace)


def test_carried_models_that_nothing_needs_are_removed(
    cluster: Any, namespace: str, chart: Path, serve_json: Json, tmp_path: Path
) -> None:
    """A repository stays while helm remembers its revision or a ReplicaSet mounts it, and no longer."""
    charts = [chart, with_other_models(chart, tmp_path / "two", "two"), with_other_models(chart, tmp_path / "3", "3")]
    there = []
    for each in charts:
        assert not serve_json("deploy", each, "--release", "carry", "-n", namespace, "--wait")["removed_models"]
        there.append(carried(cluster, namespace, "carry"))
    assert [len(names) for names in there] == [1, 2, 3]
    (first,) = there[0]
    cluster.core.delete_namespaced_secret("sh.helm.release.v1.carry.v1", namespace)
    assert not serve_json("rollback", "carry", "3", "-n", namespace)["removed_models"], "its ReplicaSet is still there"
    for each in cluster.apps.list_namespaced_replica_set(
        namespace, label_selector="app.kubernetes.io/instance=carry"
    ).items:
        if first in str(each.spec.template.spec.volumes):
            cluster.apps.delete_namespaced_replica_set(each.metadata.name, namespace)
    assert serve_json("rollback", "carry", "3", "-n", namespace)["removed_models"] == [first]
    assert set(carried(cluster, namespace, "carry")) == set(there[2]) - {first}
    serve_json("undeploy", "carry", "-n", namespace)
    assert carried(cluster, namespace, "carry") == {}


@pytest.mark.parametrize(("role", "code"), [("edit", 0), ("view", 6), ("documented", 6), (None, 6)])
def test_who_may_roll_back_and_undeploy(
    cluster: Any, namespace: str, chart: Path, serve_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    role: str | None, code: int, each_helm: str,
) -> None:  # fmt: skip
    """An editor of the namespace may; others are told by whom they are refused, and nothing has changed."""
    release = f"own-{role or 'none'}-{each_helm}"
    for setting in ("server.logVerbose=0", "server.logVerbose=1"):
        assert serve_run("deploy", chart, "--release", release, "-n", namespace, "--set", setting).returncode == 0
    with monkeypatch.context() as acting:
        rules = documented_rules() if role == "documented" else None
        acting.setenv("KUBECONFIG", str(act_as(cluster, namespace, role, tmp_path, rules=rules)))
        back = serve_run("rollback", release, "-n", namespace)
        gone = serve_run("undeploy", release, "-n", namespace)
    assert (back.returncode, gone.returncode) == (code, code), back.stderr + gone.stderr
    if code:
        assert all("is not permitted" in done.stderr for done in (back, gone)), back.stderr + gone.stderr
        assert serve_run("undeploy", release, "-n", namespace).returncode == 0


def test_a_release_that_helm_left_locked(
    cluster: Any, namespace: str, chart: Path, serve_run: Run, serve_json: Json, each_helm: str
) -> None:
    """What an interrupted helm leaves is named, with what frees it: roll back, or remove where nothing was deployed."""
    release = f"locked-{each_helm}"
    serve_json("deploy", chart, "--release", release, "-n", namespace)
    serve_json("deploy", chart, "--release", release, "-n", namespace, "--set", "server.logVerbose=1")
    lock(cluster, namespace, release, 2, "pending-upgrade")
    refused = serve_run("deploy", chart, "--release", release, "-n", namespace)
    assert (refused.returncode, f"release {release} is locked: pending-upgrade since" in refused.stderr) == (6, True)
    assert f"serve rollback {release} -n {namespace} frees it" in refused.stderr
    assert serve_json("rollback", release, "-n", namespace)["to_revision"] == 1
    serve_json("deploy", chart, "--release", release, "-n", namespace)
    serve_json("undeploy", release, "-n", namespace)
    serve_json("deploy", chart, "--release", release, "-n", namespace)
    lock(cluster, namespace, release, 1, "pending-install")
    refused = serve_run("deploy", chart, "--release", release, "-n", namespace)
    assert f"serve undeploy {release} -n {namespace} frees it" in refused.stderr
    serve_json("undeploy", release, "-n", namespace)


def lock(cluster: Any, namespace: str, release: str, revision: int, status: str) -> None:
    """What helm's memory holds when it was killed at work."""
    import base64
    import gzip

    name = f"sh.helm.release.v1.{release}.v{revision}"
    secret = cluster.core.read_namespaced_secret(name, namespace)
    twice = base64.b64decode(base64.b64decode(secret.data["release"]))
    remembered = json.loads(gzip.decompress(twice))
    remembered["info"]["status"] = status
    packed = base64.b64encode(gzip.compress(json.dumps(remembered).encode()))
    body = {
        "data": {"release": base64.b64encode(packed).decode()},
        "metadata": {"labels": secret.metadata.labels | {"status": status}},
    }
    cluster.core.patch_namespaced_secret(name, namespace, body)
