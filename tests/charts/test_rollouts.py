"""What rolls the replicas, and what must not."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from chart_cases import CHART, modes
from chart_objects import Objects, parse, select

Render = Callable[..., Objects]


def render_copy(chart: Path) -> Objects:
    """The objects of a chart directory without values."""
    with helm_python.Chart.load(chart) as loaded:
        manifests = loaded.render({}, name="demo", namespace="models")
    return [document for path, text in manifests.items() if path.endswith(".yaml") for document in parse(text)]


def pod_template(chart: Path) -> Any:
    """The Deployment's pod template of a chart directory without values."""
    (deployment,) = select(render_copy(chart), "Deployment")
    return deployment["spec"]["template"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A chart to change."""
    shutil.copytree(CHART, tmp_path / "chart")
    return tmp_path / "chart"


def test_a_new_chart_version_rolls_nothing(copy: Path) -> None:
    """Only what a replica runs is in its pod template, so an upgrade of the chart alone moves no GPU."""
    before = pod_template(copy)
    meta = yaml.safe_load((copy / "Chart.yaml").read_text(encoding="utf-8"))
    (copy / "Chart.yaml").write_text(yaml.safe_dump({**meta, "version": "9.9.9"}), encoding="utf-8")
    assert pod_template(copy) == before


def test_new_models_roll_the_replicas(copy: Path) -> None:
    """A changed file of the carried repository changes the pod template."""
    before = pod_template(copy)
    with (copy / "files/example-model/digits/labels.txt").open("a", encoding="utf-8") as labels:
        labels.write("ten\n")
    assert pod_template(copy) != before


def test_a_revision_rolls_the_replicas_of_a_remote_repository(render: Render) -> None:
    """Models behind the same address are new models only where the revision says so."""
    values = {"modelRepository": {"source": "s3", "uri": "s3://bucket/models"}}
    templates = []
    for revision in ("", "a", "b"):
        values["modelRepository"]["revision"] = revision
        (deployment,) = select(render(values), "Deployment")
        templates.append(deployment["spec"]["template"])
    assert templates[0] != templates[1] != templates[2]


def test_no_revision_mounts_the_bytes_of_another(copy: Path) -> None:
    """Over three revisions and a rollback, a ConfigMap's name means one content for ever."""
    model, labels = (copy / "files/example-model/digits" / name for name in ("1/model.onnx", "labels.txt"))
    original, bytes_behind, laid_out = model.read_bytes(), {}, []
    for content, label in ((original, "a"), (b"new" + original, "b"), (original[:100], "a"), (original, "a")):
        model.write_bytes(content)
        labels.write_text(label)
        objects = render_copy(copy)
        (config_map,) = [each for each in select(objects, "ConfigMap") if "-models-" in each["metadata"]["name"]]
        (deployment,) = select(objects, "Deployment")
        volumes = {each["name"]: each for each in deployment["spec"]["template"]["spec"]["volumes"]}
        mounted = volumes["models"]["configMap"]
        assert (mounted["name"], True) == (config_map["metadata"]["name"], config_map["immutable"])
        paths = {item["path"]: base64.b64decode(config_map["binaryData"][item["key"]]) for item in mounted["items"]}
        assert paths["repository/digits/1/model.onnx"] == content
        assert bytes_behind.setdefault(mounted["name"], config_map["binaryData"]) == config_map["binaryData"]
        laid_out.append((mounted["name"], paths))
    assert laid_out[0] == laid_out[3]
    assert len({name for name, _ in laid_out}) == 3


@pytest.mark.parametrize(
    ("update", "surge", "unavailable"),
    [
        ({}, "25%", 0),
        ({"spareCapacity": False}, 0, 1),
        ({"atOnce": 3}, 3, 0),
        ({"spareCapacity": False, "atOnce": "10%"}, 0, "10%"),
    ],
)
def test_rollout_never_takes_what_it_cannot_give(
    render: Render, update: dict[str, Any], surge: int | str, unavailable: int | str
) -> None:
    """With spare capacity no replica is missing in a rollout; without, one at a time is, or as many as one says."""
    (deployment,) = select(render({"lifecycle": {"rollingUpdate": update}}), "Deployment")
    strategy = deployment["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": surge, "maxUnavailable": unavailable}


@pytest.mark.parametrize(
    ("update", "replicas", "steps"),
    [({}, 1, 1), ({}, 8, 4), ({}, 9, 3), ({"atOnce": 3}, 8, 3), ({"spareCapacity": False, "atOnce": "25%"}, 7, 7)],
)
def test_notes_say_how_long_a_rollout_takes(
    chart: helm_python.Chart, update: dict[str, Any], replicas: int, steps: int
) -> None:
    """The time-out that helm needs is the replicas' steps times what one of them may take."""
    values = {"replicas": replicas, "lifecycle": {"rollingUpdate": update}}
    texts = chart.render(values, name="demo", namespace="models")
    notes = next(text for path, text in texts.items() if path.endswith("NOTES.txt"))
    one = 600 + 5 + 600 + (50 if update.get("spareCapacity") is False else 0)
    assert f"takes up to {-(-steps * one // 60)} minutes" in notes


def test_a_claim_template_is_named_after_its_content(render: Render) -> None:
    """Kubernetes takes no change of a ResourceClaimTemplate, so another claim is another object."""
    names = set()
    for count, selectors in ((1, []), (2, []), (1, ["true"]), (1, [])):
        gpu = {"profile": "h100", "count": count, "deviceClass": "gpu.nvidia.com", "deviceSelectors": selectors}
        objects = render({"kubeVersion": "1.35", "gpu": gpu})
        (template,) = select(objects, "ResourceClaimTemplate")
        (deployment,) = select(objects, "Deployment")
        (claim,) = deployment["spec"]["template"]["spec"]["resourceClaims"]
        assert claim["resourceClaimTemplateName"] == template["metadata"]["name"]
        resources = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
        assert resources["claims"] == [{"name": claim["name"]}]
        assert not any("/" in name for name in (*resources["requests"], *resources["limits"]))
        names.add(template["metadata"]["name"])
    assert len(names) == 3


def test_images_are_pulled_where_replicas_run(render: Render) -> None:
    """The pre-pull's pods ask for the replicas' nodes, images and no GPU, and survive their taints."""
    objects = render({"kubeVersion": "1.35", **modes()["device-claims"]})
    (deployment,), (daemon_set,) = select(objects, "Deployment"), select(objects, "DaemonSet")
    replica, puller = (item["spec"]["template"]["spec"] for item in (deployment, daemon_set))
    for field in ("nodeSelector", "affinity", "tolerations"):
        assert puller[field] == replica[field], field
    (keep,) = puller["containers"]
    assert keep["image"] == replica["containers"][0]["image"]
    assert "claims" not in keep["resources"]
    images = [[volume["image"] for volume in spec["volumes"] if "image" in volume] for spec in (puller, replica)]
    assert images[0] == images[1] != []


def test_sleep_is_a_command_where_kubernetes_has_no_action(render: Render) -> None:
    """Before 1.30 the preStop hook runs the image's sleep."""
    for version, hook in (("1.29", {"exec": {"command": ["sleep", "10"]}}), ("1.30", {"sleep": {"seconds": 10}})):
        (deployment,) = select(render({"kubeVersion": version}), "Deployment")
        assert deployment["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"] == hook


def test_start_budget_is_the_probes(render: Render) -> None:
    """The start-up probe gives up after the budget, and the rollout after the budget, a node and an image."""
    (deployment,) = select(render({"probes": {"startupBudgetSeconds": 901, "startupPeriodSeconds": 10}}), "Deployment")
    probe = deployment["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 910
    assert deployment["spec"]["progressDeadlineSeconds"] == 901 + 5 + 600


def test_the_deadline_counts_the_end_of_the_replica_that_goes_first(render: Render) -> None:
    """Without spare capacity a new replica's GPU is free only after the old one's grace period."""
    lifecycle = {"exitTimeoutSeconds": 3000, "rollingUpdate": {"spareCapacity": False}}
    (deployment,) = select(render({"lifecycle": lifecycle}), "Deployment")
    assert deployment["spec"]["progressDeadlineSeconds"] == 600 + 5 + 600 + 3020


def test_a_store_gets_room_for_its_models(render: Render) -> None:
    """Triton copies models from a store into /tmp, which is then as large as the local storage asked for."""
    for mode, size in (("gke-l4", "20Gi"), ("default", "1Gi")):
        (deployment,) = select(render(modes()[mode]), "Deployment")
        tmp = deployment["spec"]["template"]["spec"]["volumes"][0]
        assert tmp == {"name": "tmp", "emptyDir": {"sizeLimit": size}}


@pytest.mark.parametrize(("mode", "ignored"), [("keda", "false"), ("scale-to-zero", "true")])
def test_a_missing_series_is_idleness_at_zero_only(render: Render, mode: str, ignored: str) -> None:
    """Replicas that do not run have no series; those that do must have one, or the autoscaler says so."""
    (scaled,) = select(render(modes()[mode]), "ScaledObject")
    own = [trigger for trigger in scaled["spec"]["triggers"] if trigger["name"].startswith("triton_")]
    assert [trigger["metadata"]["ignoreNullValues"] for trigger in own] == [ignored, ignored]
    assert scaled["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"
