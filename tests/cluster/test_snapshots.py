"""Snapshots of a store in a real cluster: a rollout by revision, the way back, and what prune may remove meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from identities import act_as
from repositories import add_model

Json = Callable[..., Any]
Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def pushed(tmp_path: Path, serve_json: Json) -> tuple[Path, list[str]]:
    """A store of three snapshots, the oldest first; the repositories stand beside it by their numbers."""
    store, names = tmp_path / "store", []
    for number in range(3):
        add_model(tmp_path / str(number))
        with (tmp_path / str(number) / "digits" / "config.pbtxt").open("a") as config:
            config.write(f"# {number}\n")
        names.append(serve_json("push", tmp_path / str(number), store)["snapshot"])
    return store, names


def read_paths(cluster: Any, namespace: str, release: str) -> set[str]:
    """What the replicas that stay read as their repository."""
    label = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=server"
    return {
        argument.partition("=")[2]
        for pod in cluster.core.list_namespaced_pod(namespace, label_selector=label).items
        if not pod.metadata.deletion_timestamp
        for argument in pod.spec.containers[0].args
        if argument.startswith("--model-repository=")
    }


def test_a_rollout_by_revision_and_back(
    cluster: Any, namespace: str, serve_json: Json, serve_run: Run, pushed: tuple[Path, list[str]], each_helm: str
) -> None:
    """Another ID rolls every replica; rollback names the old one; prune keeps both until the release is gone."""
    store, (old, new, last) = pushed
    release, chart = f"snapshots-{each_helm}", store.parent / "chart"
    source = ("--source", f"s3://bucket/models@{old}", "--no-check-source")
    serve_json("chart", store.parent / "0", "-o", chart, *source, "--autoscaling", "off")
    arguments = ("deploy", chart, "--release", release, "-n", namespace, "--set", "replicas=2", "--wait")
    serve_json(*arguments)
    assert read_paths(cluster, namespace, release) == {f"s3://bucket/models/snapshots/{old}"}
    state = serve_json(*arguments, "--set", f"modelRepository.revision='{new}'")["state"]
    assert read_paths(cluster, namespace, release) == {f"s3://bucket/models/snapshots/{new}"}
    assert {pod["revision"] for pod in state["pods"] if pod["ready"]} == {new}
    prune = ("prune", store, "--keep", 1)
    serve_json("push", store.parent / "2", store)
    kept = serve_json(*prune)
    assert (kept["snapshots"], [each for each in (old, new) if each in " ".join(kept["kept"])]) == ([], [old])
    assert f"revision 1 of release {release} in namespace {namespace} names it" in kept["kept"][0]
    serve_json("rollback", release, "-n", namespace, "--wait")
    assert read_paths(cluster, namespace, release) == {f"s3://bucket/models/snapshots/{old}"}
    assert serve_json(*prune)["snapshots"] == []
    serve_json("undeploy", release, "-n", namespace)
    assert [each["id"] for each in serve_json(*prune)["snapshots"]] == [old]
    assert last in json.dumps(serve_json("snapshots", store))


@pytest.mark.parametrize(("role", "code"), [("edit", 0), ("view", 6)])
def test_who_may_ask_what_releases_name(
    cluster: Any, namespace: str, serve_run: Run, pushed: tuple[Path, list[str]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, role: str, code: int,
) -> None:  # fmt: skip
    """It takes the right to read Secrets, where helm keeps releases: who has it in one namespace names that."""
    store, (old, _new, _last) = pushed
    monkeypatch.setenv("KUBECONFIG", str(act_as(cluster, namespace, role, tmp_path)))
    everywhere = serve_run("prune", store, "--keep", 1)
    assert (everywhere.returncode, "--namespace say where releases are" in everywhere.stderr) == (6, True)
    done = serve_run("prune", store, "--keep", 1, "-n", namespace)
    assert (done.returncode, old in done.stdout) == (code, code == 0), done.stderr
