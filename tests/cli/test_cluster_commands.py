"""`serve status`, `logs` and `deploy` against a stand-in for the API, and without any cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from fake_cluster import running_api, write_kubeconfig
from recorded_objects import LOADED, LOADING, deployment, pod, release_routes

Serve = Callable[..., "CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "triton"
CORE = "/api/v1/namespaces/models"


def environment(folder: Path, url: str) -> dict[str, str]:
    return os.environ | {"KUBECONFIG": str(write_kubeconfig(folder, url))}


def test_status_shows_replicas_models_and_autoscaler(serve: Serve, tmp_path: Path) -> None:
    """Which model is ready where, what a replica waits for, what the autoscaler wants and why."""
    waiting = pod("demo-triton-2", ready=False)
    routes = release_routes([pod("demo-triton-1"), waiting], workload=deployment(available=1))
    routes[f"{CORE}/pods/demo-triton-2/log"] = LOADING
    with running_api(routes) as url:
        shown = serve("status", "demo", "-n", "models", env=environment(tmp_path, url))
        data = serve("status", "demo", "-n", "models", "--json", env=environment(tmp_path, url))
    assert shown.returncode == 0, shown.stderr
    assert "rollout (Deployment revision 2): 1 of 2 replicas are available" in shown.stdout
    assert "demo-triton-2 is not ready: models are loading: digits" in shown.stdout
    assert "wants 3 (between 2 and 8); recommended size matches" in shown.stdout
    assert json.loads(data.stdout)["pods"][0]["models"] == {"digits": "ready"}


def test_every_release_in_a_line(serve: Serve, tmp_path: Path) -> None:
    """One that serves and one that does not, of this chart only."""
    routes = release_routes([pod("demo-triton-1", ready=False)], log=LOADING)
    (workload,) = routes["/apis/apps/v1/namespaces/models/deployments"]
    workload["metadata"]["namespace"] = "models"
    other = {"metadata": {"name": "web", "namespace": "models", "labels": {"app.kubernetes.io/instance": "web"}}}
    routes["/apis/apps/v1/deployments"] = [workload, other]
    with running_api(routes) as url:
        done = serve("status", "--all-namespaces", env=environment(tmp_path, url))
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:]] == [["models", "demo"]]
    assert "models are loading: digits" in done.stdout


@pytest.mark.parametrize("words", [(), ("demo", "--all"), ("--all", "--watch")])
def test_status_of_what(serve: Serve, words: tuple[str, ...]) -> None:
    """One release or all of them; watching is for one."""
    done = serve("status", *words)
    assert (done.returncode, "hint: serve status demo" in done.stderr) == (2, True), done.stderr


def test_logs_of_every_replica(serve: Serve, tmp_path: Path) -> None:
    """Each line stands under its replica's name, followed or not."""
    with running_api(release_routes([pod("a"), pod("b")])) as url:
        once = serve("logs", "demo", "-n", "models", env=environment(tmp_path, url))
        followed = serve("logs", "demo", "-n", "models", "--follow", env=environment(tmp_path, url))
    assert once.stdout.splitlines() == [f"{name}  {line}" for name in "ab" for line in LOADED.splitlines()]
    assert sorted(followed.stdout.splitlines()) == sorted(once.stdout.splitlines())


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ((401, "Unauthorized"), 6, "authentication failed: Unauthorized"),
        (
            (403, 'pods is forbidden: User "me" cannot list'),
            6,
            "you may not do that in this cluster: pods is forbidden",
        ),
        ((404, "not found"), 2, "there is no release demo of a triton chart in namespace models"),
        ((500, "etcd is gone"), 6, "the cluster answered 500"),
    ],
)
def test_refusals(serve: Serve, tmp_path: Path, answer: tuple[int, str], code: int, message: str) -> None:
    """Each refusal in words of its own, with the exit code that fits."""
    with running_api({"/apis/apps/v1/namespaces/models/deployments": answer}) as url:
        done = serve("status", "demo", "-n", "models", env=environment(tmp_path, url))
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_cluster_that_is_gone(serve: Serve, tmp_path: Path) -> None:
    """A server that has ended refuses the connection."""
    with running_api({}) as url:
        gone = environment(tmp_path, url)
    done = serve("status", "demo", env=gone)
    assert (done.returncode, "the cluster does not answer" in done.stderr) == (6, True)


def test_cluster_that_is_not_trusted(serve: Serve, tmp_path: Path) -> None:
    """A failed TLS handshake is an answer that never came, in OpenSSL's words."""
    with running_api({}) as url:
        done = serve("status", "demo", env=environment(tmp_path, url.replace("http:", "https:")))
    assert (done.returncode, "the cluster does not answer: [SSL" in done.stderr) == (6, True), done.stderr


def test_no_cluster_configured(serve: Serve, tmp_path: Path) -> None:
    """Without a configuration the hint says where one is looked for."""
    nowhere = os.environ | {"KUBECONFIG": str(tmp_path / "none")}
    for command in (("status", "demo"), ("logs", "demo"), ("deploy", CHART, "--release", "demo")):
        done = serve(*command, env=nowhere)
        assert (done.returncode, "no cluster is configured" in done.stderr) == (6, True), done.stderr


@pytest.mark.parametrize("text", ["bad: [", "hello"], ids=["no YAML", "no mapping"])
def test_configuration_that_is_none(serve: Serve, tmp_path: Path, text: str) -> None:
    """A file that is no configuration is the file's fault, not a bug of ours."""
    broken = tmp_path / "kubeconfig"
    broken.write_text(text)
    done = serve("status", "demo", env=os.environ | {"KUBECONFIG": str(broken)})
    assert (done.returncode, "configuration cannot be read" in done.stderr) == (6, True), done.stderr


def test_a_node_that_is_down_hides_no_replica(serve: Serve, tmp_path: Path) -> None:
    """Status does without a log that the node does not give; logs names it, goes on, and says so at the end."""
    routes = release_routes([pod("demo-triton-1", ready=False), pod("demo-triton-2")])
    routes[f"{CORE}/pods/demo-triton-1/log"] = (500, "dial tcp 192.0.2.1:10250: connect: no route to host")
    with running_api(routes) as url:
        state = serve("status", "demo", "-n", "models", "--json", env=environment(tmp_path, url))
        logs = serve("logs", "demo", "-n", "models", env=environment(tmp_path, url))
    assert state.returncode == 0, state.stderr
    assert [each["name"] for each in json.loads(state.stdout)["pods"]] == ["demo-triton-1", "demo-triton-2"]
    assert (logs.returncode, "1 of 2 logs could not be read" in logs.stderr) == (6, True), logs.stderr
    assert "demo-triton-1  the log of demo-triton-1 cannot be read" in logs.stderr
    assert logs.stdout.startswith("demo-triton-2  ")


def test_no_helm(serve: Serve, tmp_path: Path) -> None:
    """Deploying needs helm, and says so before anything else."""
    with running_api({}) as url:
        without = environment(tmp_path, url) | {"PATH": str(tmp_path)}
        done = serve("deploy", CHART, "--release", "demo", env=without)
    assert (done.returncode, "helm is not installed" in done.stderr) == (2, True)


def test_deploy_dry_run_renders(serve: Serve) -> None:
    """The manifests that would be applied; no cluster is needed for that."""
    if not (ROOT / ".tools" / "helm").exists():
        pytest.skip("helm is missing: make tools")
    done = serve("deploy", "--dry-run", CHART, "--release", "demo", "-n", "models", "--set", "replicas=7")
    assert done.returncode == 0, done.stderr
    assert "kind: Deployment" in done.stdout
    assert "  replicas: 7\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.tgz"], "there is no chart nowhere.tgz"),
        ([CHART, "-f", "nowhere.yaml"], "--values nowhere.yaml: No such file"),
        ([CHART, "--set", "replicas"], "--set replicas is not PATH=VALUE"),
        ([CHART, "--set", "replicas=["], "--set replicas=[ has no YAML behind the =: expected the node content"),
        ([CHART, "--set", 'replicas="2"'], "got string, want integer"),
    ],
    ids=["chart", "values", "setting", "broken setting", "type"],
)
def test_what_is_given_is_named(serve: Serve, arguments: list[object], words: str) -> None:
    """A missing file, or a value of the wrong type, before any cluster is asked."""
    if not (ROOT / ".tools" / "helm").exists():
        pytest.skip("helm is missing: make tools")
    done = serve("deploy", *arguments, "--release", "demo", "--dry-run")
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("name", ["a b", "Demo", "demo-", "d" * 54])
@pytest.mark.parametrize("command", [["rollback"], ["undeploy"], ["logs"], ["deploy", CHART, "--release"]])
def test_no_release_has_such_a_name(serve: Serve, command: list[object], name: str) -> None:
    """A name that Helm takes for no release is refused at once, without a cluster and without helm."""
    done = serve(*command, name)
    assert (done.returncode, "is not a name for a release" in done.stderr) == (2, True), done.stderr


def test_a_release_without_a_name(serve: Serve) -> None:
    """An empty variable of a script is not asked of helm."""
    done = serve("deploy", CHART, "--release", "")
    assert (done.returncode, "the release has no name" in done.stderr) == (2, True), done.stderr


def test_deploying_without_a_cluster(serve: Serve, tmp_path: Path) -> None:
    """A cluster that does not answer is told before helm is run, with exit code 6."""
    with running_api({}) as url:
        gone = environment(tmp_path, url)
    done = serve("deploy", CHART, "--release", "demo", env=gone)
    assert (done.returncode, "the cluster does not answer" in done.stderr) == (6, True), done.stderr
