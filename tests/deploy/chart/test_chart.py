"""What `serve chart` derives from a repository, and the chart that it builds."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import helm_python
import numpy as np
import onnx
import pytest
import yaml
from batching_models import parse_graph
from repositories import TENSORS, add_ensemble, add_model, make_manifest
from sweeps import TARGET, UNEVEN, point, report

from serve_deploy.chart.build import build_chart, check_name
from serve_deploy.chart.folder import compare_chart, pack_chart, package_chart, write_files
from serve_deploy.chart.model_source import read_source
from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.plan import ChartPlan, plan_chart
from serve_deploy.chart.write import write_chart
from serve_deploy.errors import DestinationError, InvalidModelError, UsageError
from serve_deploy.manifest import MANIFEST_NAME
from serve_deploy.repository.model_folder import ModelFolder, read_models, top_level
from serve_deploy.samples.files import encode_samples


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    add_model(tmp_path / "models")
    return tmp_path / "models"


def plan(repository: Path, **request: Any) -> tuple[ChartPlan, tuple[ModelFolder, ...]]:
    models = read_models(repository)
    return plan_chart(models, ChartOptions(**request)), models


def origins(planned: ChartPlan) -> dict[str, str]:
    return {each.path: each.origin for each in planned.derived}


def files(repository: Path, name: str = "demo", **request: Any) -> dict[str, bytes]:
    planned, models = plan(repository, **request)
    return build_chart(planned, models, name)


def test_values_follow_the_manifest(repository: Path) -> None:
    """Memory and start-up come from what verification measured, and every number says so."""
    planned, _ = plan(repository)
    values = planned.values
    # 1 Gi + 256 Mi + 1.25 * 100 Mi + 4 KiB of samples = 1405 Mi, in steps of 256 Mi
    assert values.resources.memory == "1536Mi"
    assert values.resources.cpu == "1"
    assert values.probes.startup_budget_seconds == 120
    assert values.autoscaling.cold_start_seconds == 121
    assert values.image.tag == "24.10-py3"
    assert values.models.load == values.models.top_level == ["digits"]
    assert all(each.origin for each in planned.derived)
    assert "100 Mi measured" in origins(planned)["resources.memory"]


def test_slow_load_widens_the_startup_budget(repository: Path) -> None:
    """Ten times 60 s of loading is a budget of 600 s."""
    manifest = make_manifest("digits", load_seconds=60)
    (repository / "digits" / "manifest.json").write_text(manifest.model_dump_json())
    values = plan(repository)[0].values
    assert (values.probes.startup_budget_seconds, values.autoscaling.cold_start_seconds) == (600, 180)


def test_unmeasured_models_get_careful_defaults(tmp_path: Path) -> None:
    """Without a manifest nothing is known: the origin says which command would measure it."""
    add_model(tmp_path, packaged=False)
    planned, _ = plan(tmp_path)
    assert planned.values.probes.startup_budget_seconds == 600
    assert "not measured" in origins(planned)["resources.memory"]
    assert "serve package" in origins(planned)["probes.startupBudgetSeconds"]


def test_engine_builds_take_their_time(tmp_path: Path) -> None:
    """A TensorRT accelerator builds its engine at load: ten minutes more, twice that for the probe."""
    config = 'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }'
    add_model(tmp_path, config=config)
    values = plan(tmp_path)[0].values
    assert (values.probes.startup_budget_seconds, values.autoscaling.cold_start_seconds) == (1210, 721)


L4 = (
    TENSORS.replace("max_batch_size: 8", "max_batch_size: 4")
    + """instance_group { kind: KIND_GPU count: 3 }
optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt"
    parameters { key: "trt_engine_cache_enable" value: "1" }
    parameters { key: "trt_engine_cache_path" value: "FOLDER/digits-l4" } } } }"""
)


def add_named(repository: Path, name: str, text: str, folder: str = "/tmp") -> None:
    """Give the digits a configuration of their own for a GPU, whose engines are kept in the folder."""
    model = "digits"
    file = repository / model / "configs" / f"{name}.pbtxt"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'name: "{model}" {text.replace("FOLDER", folder)}')


def test_the_gpus_own_configuration_is_the_one_that_counts(repository: Path) -> None:
    """Triton is started with its name; instances, engines and the digest are those of that file."""
    add_named(repository, "l4", L4)
    add_model(repository, "plain")
    planned, models = plan(repository, gpu="l4")
    assert planned.values.server.model_config_name == "l4"
    assert origins(planned)["server.modelConfigName"] == "configs/l4.pbtxt of digits; config.pbtxt of plain"
    assert planned.values.probes.startup_budget_seconds == 1210
    described = yaml.safe_load(build_chart(planned, models, "demo")["Chart.yaml"])["annotations"]
    digests = json.loads(described["triton-serve/configurations"])
    assert digests["digits"] == (models[0].under("l4").config_sha256 or "")[:12] != (models[0].config_sha256 or "")[:12]
    assert "files/models/digits/configs/l4.pbtxt" in build_chart(planned, models, "demo")


def test_without_a_gpu_the_configuration_for_the_cpu_is_taken(repository: Path) -> None:
    """Where there is one; a GPU's is left alone."""
    add_named(repository, "l4", L4)
    assert plan(repository)[0].values.server.model_config_name == ""
    add_named(repository, "cpu", TENSORS)
    assert plan(repository)[0].values.server.model_config_name == "cpu"
    assert plan(repository, overrides={"server": {"modelConfigName": "l4"}})[0].values.server.model_config_name == "l4"


def test_a_gpu_that_no_model_is_configured_for_is_noted(repository: Path) -> None:
    """config.pbtxt serves then, which may not be what was meant."""
    add_named(repository, "l4", L4)
    notes = plan(repository, gpu="h100")[0].notes
    assert "no model has configs/h100.pbtxt; there are: l4" in notes


def test_a_slice_of_a_gpu_is_noted(repository: Path) -> None:
    """The file is sized for all of its memory."""
    add_named(repository, "h100", L4)
    notes = plan(repository, gpu="h100", overrides={"gpu": {"mig": "1g.10gb"}})[0].notes
    assert any("1g.10gb is a slice of it" in note for note in notes)


def test_a_release_without_the_choice_takes_the_portable_one(repository: Path) -> None:
    """--model-config-name came with 24.05."""
    add_named(repository, "l4", L4)
    planned, _ = plan(repository, gpu="l4", release="24.04")
    assert planned.values.server.model_config_name == ""
    assert planned.values.probes.startup_budget_seconds < 1000


@pytest.mark.parametrize(("folder", "mounted"), [("/tmp", ""), ("/engines", "/engines")])
def test_engines_outside_tmp_get_a_volume(repository: Path, folder: str, mounted: str) -> None:
    """/tmp is one already."""
    add_named(repository, "l4", L4, folder)
    assert plan(repository, gpu="l4")[0].values.engine_cache.path == mounted


def test_large_engines_get_room(repository: Path) -> None:
    """Twice the model is assumed, in /tmp and in the pod's local storage."""
    add_named(repository, "l4", L4)
    with (repository / "digits" / "1" / "weights.bin").open("wb") as file:
        file.truncate(1 << 30)
    values = plan(repository, gpu="l4", source="pvc://models")[0].values
    # 2 Gi more than the chart's 1 Gi and 2 Gi, in steps of 256 Mi
    assert (values.resources.temporary, values.resources.ephemeral_storage) == ("3328Mi", "4352Mi")


def test_ensemble_filters_the_top_level(tmp_path: Path) -> None:
    """All models are loaded, but only what clients call is scaled on; the empty version folder is carried."""
    add_model(tmp_path)
    add_ensemble(tmp_path, "pipeline", "digits")
    planned, models = plan(tmp_path)
    assert planned.values.models.load == ["digits", "pipeline"]
    assert planned.values.models.top_level == ["pipeline"]
    assert top_level(models) == ("pipeline",)
    assert "files/models/pipeline/1/README" in build_chart(planned, models, "demo")


def test_an_ensemble_takes_what_its_members_take(tmp_path: Path) -> None:
    """What serve pipeline measured of it contains them: neither memory nor loading counts twice."""
    add_model(tmp_path)
    alone = plan(tmp_path)[0].values
    folder = add_ensemble(tmp_path, "pipeline", "digits")
    (folder / MANIFEST_NAME).write_text(make_manifest("pipeline", load_seconds=50).model_dump_json())
    planned, _models = plan(tmp_path)
    assert "1.25 * 100 Mi measured" in origins(planned)["resources.memory"]
    assert planned.values.probes.startup_budget_seconds == alone.probes.startup_budget_seconds


def test_ensemble_without_its_member_is_refused(tmp_path: Path) -> None:
    """Triton could not load it either."""
    add_ensemble(tmp_path, "pipeline", "digits")
    with pytest.raises(InvalidModelError, match="ensemble pipeline calls digits"):
        read_models(tmp_path)


def test_helm_test_sends_the_models_own_sample(repository: Path) -> None:
    """The first sample becomes the inference of `helm test`."""
    (request,) = plan(repository)[0].values.test.requests
    assert request.model == "digits"
    assert '"shape":[1,1,8,8]' in request.body
    assert request.expect == '"probabilities"'


def test_helm_test_sends_no_picture(repository: Path) -> None:
    """Neither JSON nor YAML carries its bytes; whether the model is ready is asked."""
    folder = next(repository.iterdir())
    picture = np.array([[b"\x89PNG\xff".decode("utf-8", "surrogateescape")]], dtype=object)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["inputs"] = [{"name": "image", "data_type": "BYTES", "shape": [-1, 1]}]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "samples.npz").write_bytes(encode_samples([{"image": picture}]))
    (request,) = plan(repository)[0].values.test.requests
    assert (request.model, request.body) == ("digits", "")


def test_a_client_of_sequences_stays_with_a_pod(tmp_path: Path) -> None:
    """The pod keeps their state; `helm test` sends a sequence of one request."""
    add_model(tmp_path / "models", config="sequence_batching {}")
    planned, _ = plan(tmp_path / "models")
    assert planned.values.service.session_affinity == "ClientIP"
    (request,) = planned.values.test.requests
    assert '"sequence_start":true,"sequence_end":true' in request.body
    assert any("the state of a sequence is lost when its pod ends" in note for note in planned.notes)


def test_unmeasured_targets_say_how_to_measure(repository: Path) -> None:
    """One request an instance, between 2 and 8 replicas, and the command that would tell better."""
    planned, _ = plan(repository)
    scaling = planned.values.autoscaling
    assert (scaling.mode, scaling.min_replicas, scaling.max_replicas) == ("hpa", 2, 8)
    assert scaling.metrics.concurrency.target == 1
    assert "serve loadtest" in planned.notes[0]


def test_a_model_that_needs_a_locale_says_so(repository: Path) -> None:
    """The chart runs NVIDIA's image, which lacks it."""
    path = repository / "digits" / "1" / "model.onnx"
    onnx.save(parse_graph("(string[N] x) => (string[N] y) { y = StringNormalizer(x) }"), path)
    assert plan(repository)[0].notes[0].startswith("digits: StringNormalizer needs the locale en_US.UTF-8")


def test_notes_say_what_the_autoscaler_needs(repository: Path) -> None:
    """The HPA needs prometheus-adapter, unless it scales on CPU; KEDA does not."""
    by_cpu = {"autoscaling": {"metrics": {"source": "cpu"}}}
    assert any("prometheus-adapter" in note for note in plan(repository)[0].notes)
    for request in ({"overrides": by_cpu}, {"autoscaling": "keda", "prometheus": "http://p:9090"}):
        assert not any("prometheus-adapter" in note for note in plan(repository, **request)[0].notes)


def test_min_max_and_off(repository: Path) -> None:
    """--min and --max are taken as they are; off leaves a fixed number of replicas."""
    scaling = plan(repository, min_replicas=3, max_replicas=5)[0].values.autoscaling
    assert (scaling.min_replicas, scaling.max_replicas) == (3, 5)
    assert plan(repository, autoscaling="off", min_replicas=3)[0].values.replicas == 3
    assert plan(repository, autoscaling="off")[0].values.autoscaling.mode == "off"


def test_overrides_win_and_are_marked(repository: Path) -> None:
    """A value given as an override replaces the derived one, and its origin says so."""
    planned, _ = plan(repository, overrides={"autoscaling": {"maxReplicas": 12}, "service": {"type": "NodePort"}})
    assert (planned.values.autoscaling.max_replicas, planned.values.service.type) == (12, "NodePort")
    assert origins(planned)["autoscaling.maxReplicas"] == "`settings` or `values`"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"gpu": "l9"}, "unknown GPU profile 'l9'"),
        ({"gpu": "l40", "cloud": "gke"}, "gke does not offer l40"),
        ({"cloud": "gke"}, "`cloud=gke` says where a GPU runs"),
        (
            {"min_replicas": 4, "max_replicas": 2},
            "min replicas 4 (`min_replicas`) exceeds max replicas 2 (`max_replicas`)",
        ),
        ({"min_replicas": 0}, "`min_replicas=0`: replicas that do not run report no metric"),
        ({"autoscaling": "keda"}, "needs the address of the Prometheus"),
        ({"source": "/data/models"}, "`source=/data/models`: a release cannot read that"),
        ({"source": "file:///data"}, "a release cannot read that"),
        ({"source": "as://account"}, "`source=as://account` is incomplete"),
        ({"source": "https://host/models.zip"}, "is incomplete"),
        ({"release": "19.01"}, "older than serve supports"),
        ({"overrides": {"autoscaling": {"foo": 1}}}, "chart value autoscaling.foo"),
        ({"overrides": {"replicas": "many"}}, "chart value replicas"),
    ],
)
def test_what_cannot_work_is_refused(repository: Path, request_: dict[str, Any], message: str) -> None:
    """Each mistake is one sentence that names the option or value."""
    with pytest.raises(UsageError) as caught:
        plan(repository, **request_)
    assert message in caught.value.message


def test_model_too_new_for_the_release_is_refused(repository: Path) -> None:
    """A release whose ONNX Runtime refuses the opset would never become ready."""
    manifest = make_manifest("digits", opset=22)
    (repository / "digits" / "manifest.json").write_text(manifest.model_dump_json())
    with pytest.raises(InvalidModelError, match=r"model digits: Triton 24\.10 .* opset 22 is above 21"):
        plan(repository)


def test_models_that_no_gpu_holds_are_refused(repository: Path) -> None:
    """Two instances of 16 GB do not fit into the 24 GB of an L4; on an H100, or on two L4, they do."""
    with (repository / "digits" / "1" / "model.onnx").open("ab") as file:
        file.truncate(16 * 10**9)
    config = (repository / "digits" / "config.pbtxt").read_text()
    (repository / "digits" / "config.pbtxt").write_text(config.replace("count: 1", "count: 2"))
    request = {"gpu": "l4", "source": "s3://bucket/models"}
    with pytest.raises(InvalidModelError, match="the models take 32 GB, each instance its own, and 1 l4 has 24 GB"):
        plan(repository, **request)
    named = {"modelRepository": {"revision": "1"}}  # 16 GB need not be read
    assert plan(repository, **request | {"gpu": "h100"}, overrides=named)[0].values.gpu.profile == "h100"
    assert plan(repository, **request, overrides=named | {"gpu": {"count": 2}})[0].values.gpu.count == 2


def test_a_remote_repository_is_told_apart_by_its_files(repository: Path) -> None:
    """The revision follows the files' content, not the address: it rolls the replicas when a model changes there."""
    request = {"source": "s3://bucket/models"}
    before = plan(repository, **request)[0].values.model_repository.revision
    with (repository / "digits" / "labels.txt").open("a") as labels:
        labels.write("ten\n")
    after = plan(repository, **request)[0].values.model_repository.revision
    assert len(before) == len(after) == 16
    assert before != after


def test_a_given_revision_stays(repository: Path) -> None:
    """Who names the revision need not have its files read."""
    chosen = plan(repository, source="s3://bucket/models", overrides={"modelRepository": {"revision": "2026-11"}})
    assert chosen[0].values.model_repository.revision == "2026-11"


@pytest.mark.parametrize("content", ["nothing", "a file", "an empty folder"])
def test_no_repository(tmp_path: Path, content: str) -> None:
    """Neither a file nor a folder without models is a repository."""
    path = tmp_path / "models"
    if content == "a file":
        path.write_text("x")
    elif content == "an empty folder":
        path.mkdir()
    with pytest.raises((UsageError, InvalidModelError), match=r"is not a folder|contains no model"):
        read_models(path)


@pytest.mark.parametrize(
    ("source", "values"),
    [
        (None, {"source": "carried", "carried": {"path": "files/models"}}),
        ("s3://bucket/models", {"source": "s3", "uri": "s3://bucket/models"}),
        ("s3://https://minio:9000/b/m", {"source": "s3", "uri": "s3://https://minio:9000/b/m"}),
        ("gs://bucket/m", {"source": "gcs", "uri": "gs://bucket/m"}),
        ("as://account/container/m", {"source": "azure", "uri": "as://account/container/m"}),
        ("pvc://claim/sub/path", {"source": "pvc", "pvc": {"existingClaim": "claim", "path": "sub/path"}}),
        ("oci://r/i:1", {"source": "oci", "oci": {"reference": "r/i:1"}}),
        ("oci://r/i@sha256:ab#m", {"source": "oci", "oci": {"reference": "r/i@sha256:ab", "path": "m"}}),
        ("https://h/m.tar.gz", {"source": "http", "http": {"url": "https://h/m.tar.gz"}}),
    ],
)
def test_sources(source: str | None, values: dict[str, Any]) -> None:
    """Each address becomes the chart's values for it."""
    assert read_source(source) == values


def test_zero_replicas_with_a_signal_from_upstream(repository: Path) -> None:
    """KEDA may go to zero where a trigger sees the load before Triton does."""
    trigger = {"type": "prometheus", "metadata": {"query": "gateway_requests", "threshold": "1"}}
    overrides = {"autoscaling": {"scaleToZero": {"upstreamTrigger": trigger}}}
    planned, _ = plan(repository, autoscaling="keda", prometheus="http://p:9090", min_replicas=0, overrides=overrides)
    assert planned.values.autoscaling.min_replicas == 0


def test_given_cold_start_counts_for_the_targets(repository: Path) -> None:
    """A measured cold start, given as an override, leaves more room for the load's growth."""
    target = TARGET.model_copy(update={"model_config_sha256": read_models(repository)[0].config_sha256})
    sweep = report().model_copy(update={"target": target})
    overrides = {"autoscaling": {"coldStartSeconds": 600}}
    planned, _ = plan(repository, reports=(sweep,), slo=("p99<50ms",), overrides=overrides)
    facts = {each.path: each for each in planned.derived}
    assert facts["(reaction)"].value == "645 s"
    assert planned.values.autoscaling.metrics.concurrency.target < 1.5


def test_an_uneven_sweep_makes_the_chart_remove_replicas_later(repository: Path) -> None:
    """The window that the replay held still with is the chart's, with its reason."""
    target = TARGET.model_copy(update={"model_config_sha256": read_models(repository)[0].config_sha256})
    sweep = report(*UNEVEN).model_copy(update={"target": target})
    planned, _ = plan(repository, reports=(sweep,), slo=("p99<100ms",))
    path = "autoscaling.behavior.scaleDown.stabilizationWindowSeconds"
    assert planned.values.autoscaling.behavior.scale_down.stabilization_window_seconds == 1200
    assert {each.path: each for each in planned.derived}[path].origin.startswith("longer: with 300 s")


def test_large_rates_are_written_out(repository: Path) -> None:
    """A rate of five digits has a comma and no exponent."""
    target = TARGET.model_copy(update={"model_config_sha256": read_models(repository)[0].config_sha256})
    sweep = report(point(1, 9_000, 12), point(2, 15_200, 20)).model_copy(update={"target": target})
    planned, _ = plan(repository, reports=(sweep,), slo=("p99<50ms",))
    facts = {each.path: each.value for each in planned.derived}
    assert facts["(knee_rate)"] == "15,200 requests/s"
    assert facts["(target_rate)"] == "10,820 requests/s"


def test_remote_source_carries_no_model(repository: Path) -> None:
    """With a store the chart holds no model, and each replica gets disk for its copy."""
    planned, models = plan(repository, source="s3://bucket/models")
    assert not any(path.startswith("files/models") for path in build_chart(planned, models, "demo"))
    assert planned.values.resources.ephemeral_storage == "1280Mi"


def test_repository_too_big_to_be_carried(repository: Path) -> None:
    """Helm stores a release in one Secret of 1 MiB, with every file twice: half a megabyte of noise is too much."""
    (repository / "digits" / "1" / "model.onnx").write_bytes(os.urandom(500_000))
    with pytest.raises(InvalidModelError, match="too big to be carried") as caught:
        files(repository)
    assert "`source=s3://…`" in str(caught.value.hint)


def test_repository_far_too_big_is_not_read(repository: Path) -> None:
    """Gigabytes are refused by their size alone: a sparse file would take its whole length in memory."""
    with (repository / "digits" / "1" / "model.onnx").open("ab") as file:
        file.truncate(8 * 2**30)
    with pytest.raises(InvalidModelError, match=r"8589\.9 MB"):
        files(repository)


def test_a_third_of_a_megabyte_is_carried(repository: Path) -> None:
    """What packs to 300 KB still fits."""
    (repository / "digits" / "1" / "model.onnx").write_bytes(os.urandom(300_000))
    assert "files/models/digits/1/model.onnx" in files(repository)


def test_same_input_same_bytes(repository: Path, tmp_path: Path) -> None:
    """Neither the files nor the package depend on time, order or place."""
    assert files(repository) == files(repository)
    assert pack_chart(files(repository), "demo") == pack_chart(files(repository), "demo")
    path = package_chart(files(repository), tmp_path / "out")
    assert path.name == "demo-0.1.0.tgz"
    with tarfile.open(path) as archive:
        assert archive.getnames()[0] == "demo/Chart.yaml"


def test_chart_describes_itself(repository: Path) -> None:
    """Chart.yaml has the name asked for and the release as its application version."""
    description = yaml.safe_load(files(repository, "digits-chart", release="24.10")["Chart.yaml"])
    assert (description["name"], description["appVersion"]) == ("digits-chart", "24.10")


def test_difference_to_an_existing_chart(repository: Path, tmp_path: Path) -> None:
    """A changed value shows as a diff, a new file as added, the same chart as nothing."""
    chart = tmp_path / "chart"
    write_files(files(repository), chart, force=False)
    assert compare_chart(files(repository), chart) == ()
    (change,) = compare_chart(files(repository, max_replicas=12), chart)
    assert (change.path, change.change) == ("values.yaml", "changed")
    assert "+  maxReplicas: 12" in change.diff
    assert {each.change for each in compare_chart(files(repository), tmp_path / "none")} == {"added"}


def test_existing_directory_is_kept(repository: Path, tmp_path: Path) -> None:
    """Without --force nothing is replaced; with it only what is a chart."""
    chart = tmp_path / "chart"
    write_files(files(repository), chart, force=False)
    with pytest.raises(DestinationError, match="exists already"):
        write_files(files(repository), chart, force=False)
    write_files(files(repository, max_replicas=12), chart, force=True)
    assert "maxReplicas: 12" in (chart / "values.yaml").read_text()
    for force in (True, False):
        with pytest.raises(DestinationError, match="is not a chart"):
            write_files(files(repository), repository, force=force)


def test_refused_chart_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    """What the check raises is passed on, and neither chart nor temporary folder is left."""

    def refuse(_chart: Path) -> None:
        raise UsageError("no")

    with pytest.raises(UsageError):
        write_files(files(repository), tmp_path / "out" / "chart", force=False, check=refuse)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["Digits", "a_b", "1a", "-a", "a-", "", "a" * 70])
def test_chart_names(name: str) -> None:
    """Helm takes lower-case letters, digits and dashes."""
    with pytest.raises(UsageError, match="is not a chart name"):
        check_name(name)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"autoscaling": "off"},
        {"autoscaling": "keda", "prometheus": "http://prometheus:9090"},
        {"gpu": "l4", "cloud": "gke", "source": "gs://bucket/models"},
        {"gpu": "gh200", "source": "pvc://models"},
        {"source": "oci://registry/models:1"},
        {"source": "https://host/models.tar.gz", "slo": ("p99<50ms",)},
    ],
)
def test_built_chart_renders(repository: Path, tmp_path: Path, request_: dict[str, Any]) -> None:
    """Helm's own engine renders what was built, with a Deployment that serves the model."""
    chart = tmp_path / "chart"
    write_files(files(repository, **request_), chart, force=False)
    with helm_python.Chart.load(chart) as loaded:
        manifests = loaded.render({}, name="demo", namespace="models")
    (deployment,) = (yaml.safe_load(text) for path, text in manifests.items() if path.endswith("/deployment.yaml"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "--load-model=digits" in container["args"]


def test_chart_from_python(repository: Path, tmp_path: Path) -> None:
    """One call writes the chart and says what was written; the same call with `diff` finds nothing to change."""
    options = ChartOptions(directory=tmp_path / "demo", overrides={"replicas": 3}, autoscaling="off", package=True)
    result = write_chart(repository, options)
    assert (result.name, result.written, result.package) == ("demo", True, tmp_path / "demo-0.1.0.tgz")
    assert "replicas: 3" in (tmp_path / "demo" / "values.yaml").read_text()
    assert write_chart(repository, replace(options, diff=True)).changes == ()
