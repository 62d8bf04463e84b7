"""A store of snapshots: replicas read the one that the revision names, and a new revision rolls them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import pytest
from chart_cases import CHART, merge, modes
from chart_objects import Objects, pod_templates
from chart_pod import run_test_job, running_pod
from ports import free_ports
from store_servers import aws_environment, make_s3_bucket, running_seaweed

from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.write import write_chart
from serve_deploy.stores.address import parse_address
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.push.push import push_repository

OLD, NEW = "0123456789abcdef", "1234567890123456"
STORES: dict[str, tuple[dict[str, Any], str]] = {
    "s3": ({"source": "s3", "uri": "s3://bucket/models"}, "s3://bucket/models"),
    "bucket": ({"source": "s3", "uri": "s3://bucket/"}, "s3://bucket"),
    "minio": ({"source": "s3", "uri": "s3://https://minio:9000/b/m"}, "s3://https://minio:9000/b/m"),
    "gcs": ({"source": "gcs", "uri": "gs://bucket/models"}, "gs://bucket/models"),
    "azure": ({"source": "azure", "uri": "as://account/container/models"}, "as://account/container/models"),
    "claim": ({"source": "pvc", "pvc": {"existingClaim": "m", "path": "/a/b/"}}, "/mnt/models/a/b"),
    "whole claim": ({"source": "pvc", "pvc": {"existingClaim": "m"}}, "/mnt/models"),
}


def server(objects: Objects) -> Any:
    """The pod template that serves."""
    (found,) = [each for each in pod_templates(objects) if each.serves]
    return found


def arguments(objects: Objects) -> list[str]:
    """What Triton is started with."""
    return [str(each) for each in server(objects).spec["containers"][0]["args"]]


@pytest.mark.parametrize("store", STORES)
def test_replicas_read_the_snapshot_that_revision_names(render: Callable[..., Objects], store: str) -> None:
    """The path ends in the snapshot, once; the fixed layout is the address as it was."""
    repository, root = STORES[store]
    snapshots = render({"modelRepository": {**repository, "layout": "snapshots", "revision": OLD}})
    fixed = render({"modelRepository": {**repository, "revision": OLD}})
    assert f"--model-repository={root}/snapshots/{OLD}" in arguments(snapshots)
    (plain,) = [each for each in arguments(fixed) if each.startswith("--model-repository=")]
    assert plain.removeprefix("--model-repository=").rstrip("/") == root


def test_another_revision_changes_the_pods_and_nothing_else(render: Callable[..., Objects]) -> None:
    """Naming another snapshot rolls the replicas, and naming the first one again gives the pods of before."""
    old, new, back = (
        render(merge(modes()["model-store"], {"modelRepository": {"revision": revision}}))
        for revision in (OLD, NEW, OLD)
    )
    assert back == old
    changed = [before["kind"] for before, after in zip(old, new, strict=True) if before != after]
    assert changed == ["Deployment"]
    assert arguments(new) == [each.replace(OLD, NEW) for each in arguments(old)]


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        (modes()["model-store"], [
            "Replicas read snapshot 3f8a0c21d95be476 of s3://my-models/store.",
            "helm upgrade demo CHART --namespace models --reuse-values --set-string modelRepository.revision=ID",
        ]),
        ({"modelRepository": {**STORES["gcs"][0]}}, [
            "No credentials are set for gs://bucket/models",
            "set serviceAccount.annotations (iam.gke.io/gcp-service-account on GKE) or"
            " modelRepository.credentials.existingSecret",
        ]),
        ({"modelRepository": {**STORES["azure"][0]}}, ["set modelRepository.credentials.existingSecret"]),
        ({"modelRepository": {**STORES["claim"][0], "layout": "snapshots", "revision": OLD}},
         [f"Replicas read snapshot {OLD} of claim m."]),
    ],
    ids=["store", "google", "azure", "claim"],
)  # fmt: skip
def test_notes_say_what_is_read_and_what_it_takes(
    chart: helm_python.Chart, values: dict[str, Any], sentences: list[str]
) -> None:
    """Which snapshot, how another one is named, and the credentials that a cloud's store needs."""
    rendered = chart.render(values, name="demo", namespace="models")
    notes = " ".join(next(text for path, text in rendered.items() if path.endswith("NOTES.txt")).split())
    assert [sentence for sentence in sentences if sentence not in notes] == []
    assert ("No credentials" in notes) == any("credentials" in sentence for sentence in sentences)


def test_a_real_triton_goes_back_to_the_snapshot_that_revision_names(
    render: Callable[..., Objects], tmp_path: Path
) -> None:
    """Two are pushed to a real S3 and the newer one is charted; with the older ID the same pod gives its answer."""
    models = tmp_path / "models"
    shutil.copytree(CHART / "files" / "example-model", models)
    with running_seaweed(tmp_path / "s3") as url, aws_environment(AWS_DEFAULT_REGION="us-east-1"):
        make_s3_bucket(url, "models")
        store = f"s3://{url}/models/store"
        old = push_repository(PushOptions(repository=models, store=parse_address(store))).snapshot
        labels = models / "digits" / "labels.txt"
        labels.write_text(labels.read_text().replace("one", "uno"))
        push_repository(PushOptions(repository=models, store=parse_address(store)))
        values = write_chart(models, ChartOptions(source=store, dry_run=True)).values
        request = json.loads((CHART / "files" / "example-request.json").read_text(encoding="utf-8"))
        ports = dict(zip(("http", "grpc", "metrics"), free_ports(3), strict=True))
        back = {
            "modelRepository": {"revision": old}, "server": {"ports": ports},
            "test": {"requests": [{**request, "expect": ":1:one"}]},
        }  # fmt: skip
        objects = render(merge(values or {}, back))
        with running_pod(objects, tmp_path):
            result = run_test_job(objects, f"http://127.0.0.1:{ports['http']}")
    assert result.returncode == 0, result.stdout + result.stderr
