"""What `serve chart` scales a decoupled model on, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from repositories import add_model
from sweeps import TARGET, report

from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.plan import ChartPlan, plan_chart
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.planning.traffic import plan_traffic
from serve_deploy.repository.model_folder import REPORT_CUSTOM_METRICS, read_models

TENSORS = (
    'input { name: "text_input" data_type: TYPE_STRING dims: 1 }'
    ' output { name: "text_output" data_type: TYPE_STRING dims: -1 }'
)
STREAMS = "model_transaction_policy { decoupled: true }"
VLLM = "import pb_utils\nNAMES = ('vllm:time_to_first_token_seconds', 'vllm:time_per_output_token_seconds')\n"


def add(repository: Path, name: str, config: str, files: dict[str, str] | None = None) -> None:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)
    for path, text in (files or {}).items():
        (repository / name / "1" / path).write_text(text)


def add_vllm(repository: Path, parameters: str = REPORT_CUSTOM_METRICS, arguments: str = "{}") -> None:
    config = f'backend: "vllm" instance_group {{ count: 1 kind: KIND_MODEL }} {parameters}'
    add(repository, "llm", config, {"model.json": arguments})


def add_python(repository: Path, source: str, policy: str = STREAMS, name: str = "llm") -> None:
    add(repository, name, f'backend: "python" {TENSORS} {policy}', {"model.py": source})


def add_chat(repository: Path) -> None:
    """An ensemble of the one step llm."""
    add(
        repository, "chat", f'platform: "ensemble" {TENSORS} ensemble_scheduling {{ step {{ model_name: "llm"'
        ' model_version: -1 input_map { key: "text_input" value: "text_input" }'
        ' output_map { key: "text_output" value: "text_output" } } }',
        {"README": ""},
    )  # fmt: skip


def plan(repository: Path, **request: Any) -> ChartPlan:
    return plan_chart(read_models(repository), ChartOptions(**request))


def exporter(planned: ChartPlan) -> tuple[str, str]:
    decoupled = planned.values.autoscaling.metrics.decoupled
    return decoupled.exporter, decoupled.metric


def test_vllm_is_counted_by_its_own_metrics(tmp_path: Path) -> None:
    """Its configuration need not say that it is decoupled; the line says why, and the targets are of streams."""
    add_vllm(tmp_path)
    planned = plan(tmp_path)
    assert exporter(planned) == ("vllm-backend", "")
    origins = {each.path: each.origin for each in planned.derived}
    assert "llm is decoupled" in origins["autoscaling.metrics.decoupled.exporter"]
    assert planned.values.autoscaling.metrics.concurrency.target == 16
    assert any("--generate triton" in note for note in planned.notes)


@pytest.mark.parametrize(
    ("parameters", "arguments", "reason"),
    [
        ("", "{}", "its own metrics are off"),
        (REPORT_CUSTOM_METRICS.replace("true", "false"), "{}", "its own metrics are off"),
        (REPORT_CUSTOM_METRICS, '{"disable_log_stats": true}', "disable_log_stats in llm/1/model.json"),
    ],
)
def test_vllm_that_reports_nothing_is_refused(tmp_path: Path, parameters: str, arguments: str, reason: str) -> None:
    """With what to add, and what else there is to scale on."""
    add_vllm(tmp_path, parameters, arguments)
    with pytest.raises(InvalidModelError, match=reason) as refusal:
        plan(tmp_path)
    hint = str(refusal.value.hint)
    assert "source=cpu" in hint
    assert "gateway" in hint


def test_hint_of_vllm_is_the_line_to_add(tmp_path: Path) -> None:
    """Added to the configuration as it stands, the chart is written."""
    add_vllm(tmp_path, "")
    with pytest.raises(InvalidModelError) as refusal:
        plan(tmp_path)
    assert f"llm/config.pbtxt: {REPORT_CUSTOM_METRICS}" in str(refusal.value.hint)
    with (tmp_path / "llm" / "config.pbtxt").open("a") as config:
        config.write(REPORT_CUSTOM_METRICS)
    assert exporter(plan(tmp_path)) == ("vllm-backend", "")


def test_tensorrt_llm_has_gauges(tmp_path: Path) -> None:
    """By its backend."""
    add(tmp_path, "llm", f'backend: "tensorrtllm" {TENSORS} {STREAMS}')
    assert exporter(plan(tmp_path)) == ("tensorrtllm", "")


@pytest.mark.parametrize(
    ("source", "name"), [(VLLM, "vllm-backend"), ("family('nv_trt_llm_request_metrics')", "tensorrtllm")]
)
def test_python_model_that_sets_known_metrics(tmp_path: Path, source: str, name: str) -> None:
    """Its Python files name them."""
    add_python(tmp_path, source)
    assert exporter(plan(tmp_path)) == (name, "")


@pytest.mark.parametrize("source", ["", "'vllm:time_to_first_token_seconds'"])
def test_stream_without_metrics_is_refused(tmp_path: Path, source: str) -> None:
    """Half of what the formula needs is nothing."""
    add_python(tmp_path, source)
    with pytest.raises(InvalidModelError, match="llm is decoupled: Triton's counters lose sight"):
        plan(tmp_path)


@pytest.mark.parametrize(
    "overrides",
    [
        {"autoscaling": {"metrics": {"source": "cpu"}}},
        {"autoscaling": {"metrics": {"decoupled": {"exporter": "gauge", "metric": "x"}}}},
        {"autoscaling": {"mode": "keda", "metrics": {"source": "triggers"}, "keda": {"triggers": [{"type": "x"}]}}},
    ],
)
def test_what_the_refusal_offers_is_taken(tmp_path: Path, overrides: dict[str, Any]) -> None:
    """CPU, an exporter that the user vouches for, and triggers upstream."""
    add_python(tmp_path, "")
    mode = overrides["autoscaling"].get("mode", "hpa")
    assert plan(tmp_path, overrides=overrides, autoscaling=mode).values.autoscaling.mode == mode


def test_fixed_replicas_need_no_metric(tmp_path: Path) -> None:
    """Nothing is refused where nothing scales."""
    add_python(tmp_path, "")
    assert exporter(plan(tmp_path, autoscaling="off")) == ("", "")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("llm_streams", ("gauge", "llm_streams")),
        ("llm_request_seconds", ("seconds", "llm_request_seconds")),
        ("llm_request_seconds_sum", ("seconds", "llm_request_seconds")),
    ],
)
def test_own_metric_by_its_name(tmp_path: Path, metric: str, expected: tuple[str, str]) -> None:
    """A name in seconds is a histogram of times, any other a gauge."""
    add_python(tmp_path, "")
    assert exporter(plan(tmp_path, metric=metric)) == expected


@pytest.mark.parametrize("metric", ["requests_total", "llm_time_us_sum", "llm_tokens_count"])
def test_counter_that_tells_no_load_is_refused(tmp_path: Path, metric: str) -> None:
    """How many came says nothing of how many are in flight."""
    add_python(tmp_path, "")
    with pytest.raises(UsageError, match="does not tell how many requests are in flight"):
        plan(tmp_path, metric=metric)


def test_own_metric_of_ordinary_models_is_refused(tmp_path: Path) -> None:
    """Triton's counters are true for them."""
    add_model(tmp_path)
    with pytest.raises(UsageError, match="no model of the repository is decoupled"):
        plan(tmp_path, metric="streams")


def test_ordinary_models_scale_as_ever(tmp_path: Path) -> None:
    """So does a Python model that answers once."""
    add_model(tmp_path)
    add_python(tmp_path, "", policy="", name="other")
    assert exporter(plan(tmp_path)) == ("", "")


def test_stream_beside_an_ordinary_model(tmp_path: Path) -> None:
    """One metric counts both: 16 streams and one request for the other's instance."""
    add_vllm(tmp_path)
    add_model(tmp_path)
    planned = plan(tmp_path)
    assert exporter(planned) == ("vllm-backend", "")
    assert planned.values.autoscaling.metrics.concurrency.target == 17


def test_streams_that_are_counted_differently_are_refused(tmp_path: Path) -> None:
    """One metric cannot count both."""
    add_vllm(tmp_path)
    add(tmp_path, "trt", f'backend: "tensorrtllm" {TENSORS} {STREAMS}')
    with pytest.raises(UsageError, match="llm by vllm-backend, trt by tensorrtllm"):
        plan(tmp_path)


def test_ensemble_of_a_stream_is_counted_by_triton(tmp_path: Path) -> None:
    """Until its last response has left; a note says what follows for the window."""
    add_python(tmp_path, "")
    add_chat(tmp_path)
    planned = plan(tmp_path)
    assert exporter(planned) == ("", "")
    assert any("chat is an ensemble with a decoupled member" in note for note in planned.notes)


def test_report_of_vllm_is_matched_by_name_alone(tmp_path: Path) -> None:
    """Triton writes its tensors into the configuration, so the digest of the file never matches."""
    add_vllm(tmp_path)
    sweep = report().model_copy(update={"target": TARGET.model_copy(update={"model": "llm"})})
    (traffic,) = plan_traffic(read_models(tmp_path), (sweep,), None)
    assert traffic.report is sweep


@pytest.mark.parametrize("slo", ["p50<10ms", "p99>50ms", "goodput<5%", "ttft_p99>1s", "errors<1%", "rate>5"])
def test_objective_that_scaling_cannot_hold_is_refused(slo: str) -> None:
    """A limit of the p99, or of token streams, is what more load makes harder to keep."""
    with pytest.raises(UsageError, match="scaling needs an upper limit for the p99"):
        ChartOptions(slo=(slo,), autoscaling="off")


def test_objective_of_the_first_token_is_the_alert_s(tmp_path: Path) -> None:
    """The lowest p99 of several; three times the longest is the window."""
    add_vllm(tmp_path)
    planned = plan(tmp_path, slo=("ttft_p99<30s", "ttft_max<40s", "itl_p99<50ms", "goodput>95%"))
    assert planned.values.monitoring.prometheus_rule.alerts.first_token_budget_ms == 30_000
    assert planned.values.autoscaling.metrics.window == "120s"


@pytest.mark.parametrize(
    ("tensors", "command"),
    [
        (TENSORS, "serve loadtest http://HOST:8000 -m llm --generate triton -c"),
        (TENSORS.replace("text_input", "frame"), "serve loadtest grpc://HOST:8001 -m llm --streaming -c"),
    ],
)
def test_how_to_measure_is_a_command_that_the_model_allows(tmp_path: Path, tensors: str, command: str) -> None:
    """Only a language model is asked for tokens."""
    add(tmp_path, "llm", f'backend: "python" {tensors} {STREAMS}', {"model.py": ""})
    assert any(command in note for note in plan(tmp_path, metric="requests_in_flight").notes)
