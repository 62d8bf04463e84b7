"""The shipped formulas and alerts, evaluated by promtool on series with answers worked by hand."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus import tool
from promtool import Series, expect_values, find_firing, read_groups, render_rules, run_promtool

CHART = Path(__file__).parents[2] / "charts" / "triton"
POD = 'namespace="models",pod="demo-triton-6c9f-abcde"'
VALUES = {
    "models": {"topLevel": ["top", "other"]},
    "server": {"summaryLatencies": True},
    "autoscaling": {"mode": "hpa"},
    "probes": {"startupBudgetSeconds": 10},
    "monitoring": {
        "prometheusRule": {
            "enabled": True,
            "alerts": {"p99BudgetMs": 200, "queueBudgetMs": 50, "pendingBudget": 4},
        },
    },
}

Check = Callable[..., None]
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def rules(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_rules(render, tmp_path_factory.mktemp("rules") / "rules.yaml", VALUES)


@pytest.fixture
def check(rules: Path, tmp_path: Path) -> Check:
    """Let promtool evaluate the rules over series and compare each query with its labels and values."""

    def run(series: Series, at: str, **expected: dict[str, float]) -> None:
        queries = {name: name.replace("__", ":") for name in expected}
        expect_values(rules, tmp_path, series, at, {queries[name]: samples for name, samples in expected.items()})

    return run


@pytest.fixture
def fires(rules: Path, tmp_path: Path) -> Callable[[Series, str], set[str]]:
    """The names of the alerts that fire at a time, found by promtool's own account of what differs from none."""

    def run(series: Series, at: str) -> set[str]:
        return find_firing(rules, tmp_path, series, at)

    return run


def counters(model: str, pod: str = POD, *, per_scrape: int, request_us: int = 0, queue_us: int = 0) -> Series:
    """A model's counters over 15 minutes, each scrape 15 s after the last."""
    labels = f'{{{pod},model="{model}",version="1"}}'
    return {
        f"nv_inference_request_success{labels}": f"0+{per_scrape}x60",
        f"nv_inference_count{labels}": f"0+{4 * per_scrape}x60",
        f"nv_inference_exec_count{labels}": f"0+{per_scrape}x60",
        f"nv_inference_request_duration_us{labels}": f"0+{per_scrape * request_us}x60",
        f"nv_inference_queue_duration_us{labels}": f"0+{per_scrape * queue_us}x60",
    }


def failures(model: str, reason: str, per_scrape: int) -> Series:
    labels = f'{{{POD},model="{model}",version="1",reason="{reason}"}}'
    return {f"nv_inference_request_failure{labels}": f"0+{per_scrape}x60"}


def pending(values: str, model: str = "top", pod: str = POD) -> Series:
    return {f'nv_inference_pending_request_count{{{pod},model="{model}",version="1"}}': values}


def test_promtool_accepts_the_rules(rules: Path) -> None:
    """Syntax, templates and duplicates, as Prometheus checks them at start."""
    done = subprocess.run([tool("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{sum(len(group['rules']) for group in read_groups(rules))} rules found" in done.stdout


def test_every_formula_is_recorded() -> None:
    """No formula file lies idle."""
    records = yaml.safe_load((CHART / "files" / "records.yaml").read_text())
    assert {record["formula"] for record in records} == {path.stem for path in CHART.glob("files/formulas/**/*.promql")}


def test_no_placeholder_is_left(rules: Path) -> None:
    """What Helm assembles holds no __NAME__ any more."""
    assert not re.search(r"__[A-Z_]+__", rules.read_text())


def test_steady_load(check: Check) -> None:
    """10 requests/s of 300 ms, 100 ms of it in the queue, in batches of 4: three requests are in flight."""
    series = counters("top", per_scrape=150, request_us=300_000, queue_us=100_000) | pending("1x60")
    one = f'{POD},model="top"'
    check(
        series, "5m", triton__concurrency={POD: 3.0}, triton__pending={POD: 1.0},
        triton__queue_time_us={one: 100_000.0}, triton__batch_size={one: 4.0}, triton__request_rate={one: 10.0},
        triton__request_time_us={one: 300_000.0},
    )  # fmt: skip


def test_low_rate_reads_true(check: Check) -> None:
    """0.2 requests/s that wait 2 s of 2.5 s: the queue time is 2 s and half a request is in flight."""
    series = counters("top", per_scrape=3, request_us=2_500_000, queue_us=2_000_000)
    check(
        series, "5m", triton__queue_time_us={f'{POD},model="top"': 2_000_000.0}, triton__concurrency={POD: 0.5}
    )  # fmt: skip


def test_one_hot_and_one_idle_model(check: Check) -> None:
    """The idle model neither halves the hot one's queue time nor has one itself."""
    series = counters("top", per_scrape=1500, request_us=40_000, queue_us=30_000) | counters("other", per_scrape=0)
    check(
        series, "5m", triton__queue_time_us={f'{POD},model="top"': 30_000.0}, triton__concurrency={POD: 4.0},
    )  # fmt: skip


def test_counter_reset(check: Check) -> None:
    """A restarted Triton counts from 0 again; the concurrency shows neither a spike nor a negative value."""
    labels = f'{{{POD},model="top",version="1"}}'
    series = {f"nv_inference_request_duration_us{labels}": "0+30000000x20 0+30000000x20"}
    check(series, "8m", triton__concurrency={POD: 2.0})
    sane = "max(triton__concurrency <= bool 2.001) * max(triton__concurrency >= bool 1)"
    for at in ("5m", "5m15s", "5m30s", "5m45s", "6m"):
        # The increase across the reset is not known, so a window may lack one of its four.
        check(series, at, **{sane: {"": 1.0}})


def test_total_stall(check: Check) -> None:
    """When nothing completes every rate is 0 and the queue time has no sample, but the waiting are still counted."""
    top = f'{{{POD},model="top",version="1"}}'
    series = {
        f"nv_inference_request_success{top}": "0+150x20 3000x40",
        f"nv_inference_request_duration_us{top}": "0+45000000x20 900000000x40",
        f"nv_inference_queue_duration_us{top}": "0+1500000x20 30000000x40",
    } | pending("1x20 60x40")
    check(
        series, "8m", triton__concurrency={POD: 0.0}, triton__queue_time_us={}, triton__pending={POD: 60.0}
    )  # fmt: skip


def test_ensemble_is_counted_once(check: Check) -> None:
    """The ensemble's 30 ms contain its members' 10 and 20: 3 requests are in flight, not 6; only members wait."""
    series = (
        counters("top", per_scrape=1500, request_us=30_000)
        | counters("first", per_scrape=1500, request_us=10_000, queue_us=5_000)
        | counters("second", per_scrape=1500, request_us=20_000, queue_us=8_000)
        | pending("0x60")
        | pending("0.5x60", "first")
        | pending("2x60", "second")
    )
    check(
        series, "5m", triton__concurrency={POD: 3.0}, triton__pending={POD: 2.5},
        triton__request_rate={f'{POD},model="top"': 100.0},
    )  # fmt: skip


def test_failures_by_whose_fault(check: Check) -> None:
    """1 of 20 requests failed in the backend; those turned away or cancelled are no errors, and are counted apart."""
    series = (
        counters("top", per_scrape=150, request_us=1)
        | failures("top", "BACKEND", 10)
        | failures("top", "REJECTED", 30)
        | failures("top", "CANCELED", 10)
        | failures("top", "OTHER", 0)
    )
    one = f'{POD},model="top"'
    check(series, "5m", triton__error_ratio={one: 0.05}, triton__rejected_rate={one: 2.0})


def test_two_pods_are_told_apart(check: Check) -> None:
    """Each pod has its own concurrency, as the HPA averages over pods itself."""
    other = POD.replace("abcde", "fghij")
    series = counters("top", per_scrape=150, request_us=300_000) | counters(
        "top", other, per_scrape=150, request_us=100_000
    )
    check(series, "5m", triton__concurrency={POD: 3.0, other: 1.0})


UP = {f'up{{{POD},job="j"}}': "1x60"}
LOADED = counters("top", per_scrape=150, request_us=1000) | counters("other", per_scrape=150, request_us=1000)
QUIET = UP | LOADED | pending("0x60")
HPA = 'namespace="models",horizontalpodautoscaler="demo-triton"'


def test_a_healthy_release_is_quiet(fires: Callable[[Series, str], set[str]]) -> None:
    """With two models served and no trouble no alert fires."""
    series = QUIET | {
        f'kube_pod_status_ready{{{POD},condition="true"}}': "1x60",
        f"kube_horizontalpodautoscaler_status_desired_replicas{{{HPA}}}": "2x80",
        f"kube_horizontalpodautoscaler_spec_max_replicas{{{HPA}}}": "8x80",
        f'kube_horizontalpodautoscaler_status_condition{{{HPA},condition="ScalingActive",status="false"}}': "0x80",
        f'nv_gpu_memory_used_bytes{{{POD},gpu_uuid="g"}}': "5x60",
        f'nv_gpu_memory_total_bytes{{{POD},gpu_uuid="g"}}': "10x60",
        f'nv_inference_request_summary_us{{{POD},model="top",quantile="0.99"}}': "1000x60",
    }
    assert fires(series, "14m") == set()


@pytest.mark.parametrize(
    ("alert", "at", "series"),
    [
        ("TritonDown", "4m", QUIET | {f'up{{{POD},job="j"}}': "1x4 0x60"}),
        ("TritonNotReady", "14m", QUIET | {f'kube_pod_status_ready{{{POD},condition="true"}}': "0x60"}),
        ("TritonModelLoadFailed", "6m", UP | pending("0x60") | counters("top", per_scrape=1)),
        ("TritonErrorRate", "8m", QUIET | failures("top", "BACKEND", 10) | failures("top", "OTHER", 0)),
        ("TritonRejected", "8m", QUIET | failures("other", "REJECTED", 1)),
        ("TritonQueueBudget", "8m", QUIET | counters("top", per_scrape=15, request_us=80_000, queue_us=60_000)),
        ("TritonLatencyBudget", "8m",
         QUIET | {f'nv_inference_request_summary_us{{{POD},model="top",quantile="0.99"}}': "300000x60"}),
        ("TritonPendingGrowing", "14m", QUIET | pending("5+1x60")),
        ("TritonAutoscalerAtMax", "17m",
         QUIET | {f"kube_horizontalpodautoscaler_status_desired_replicas{{{HPA}}}": "8x80",
                  f"kube_horizontalpodautoscaler_spec_max_replicas{{{HPA}}}": "8x80"}),
        ("TritonScalingInactive", "8m",
         QUIET | {f'kube_horizontalpodautoscaler_status_condition{{{HPA},condition="ScalingActive",status="false"}}':
                  "1x80"}),
        ("TritonGpuMemoryHigh", "12m",
         QUIET | {f'nv_gpu_memory_used_bytes{{{POD},gpu_uuid="g"}}': "96x60",
                  f'nv_gpu_memory_total_bytes{{{POD},gpu_uuid="g"}}': "100x60"}),
    ],
)  # fmt: skip
def test_alert_fires_alone(alert: str, at: str, series: Series, fires: Callable[[Series, str], set[str]]) -> None:
    """Each trouble raises its own alert and no other."""
    long = {name: re.sub(r"x60$", "x80", values) for name, values in series.items()}
    assert fires(long, at) == {alert}


def test_members_do_not_stand_in_for_a_model(fires: Callable[[Series, str], set[str]]) -> None:
    """One of two top-level models is missing: a loaded member of an ensemble does not make up for it."""
    series = UP | pending("0x60") | counters("top", per_scrape=1) | counters("member", per_scrape=1)
    assert fires(series, "6m") == {"TritonModelLoadFailed"}


def test_nothing_loaded(fires: Callable[[Series, str], set[str]]) -> None:
    """A server without any model misses its models and the autoscaler's metric."""
    assert fires(UP, "8m") == {"TritonModelLoadFailed", "TritonScalingMetricMissing"}


def test_nothing_scraped(fires: Callable[[Series, str], set[str]]) -> None:
    """Where Prometheus finds no pod at all, that is said, and that the autoscaler is blind."""
    assert fires({}, "8m") == {"TritonAbsent", "TritonScalingMetricMissing"}


@pytest.mark.parametrize(
    ("alert", "at", "series"),
    [
        ("up for a moment only", "5m", QUIET | {f'up{{{POD},job="j"}}': "1x4 0x4 1x60"}),
        ("a single rejected request", "10m", QUIET | {
            next(iter(failures("top", "REJECTED", 0))): "0x10 1x60"}),
        ("a high but steady queue of waiting requests", "14m", QUIET | pending("9x60")),
        ("a burst of waiting requests that drains", "14m", QUIET | pending("0x20 9-1x9 0x60")),
    ],
)  # fmt: skip
def test_no_alert_without_lasting_trouble(
    alert: str, at: str, series: Series, fires: Callable[[Series, str], set[str]]
) -> None:
    """What passes by itself wakes nobody."""
    assert fires(series, at) == set(), alert


def test_an_alert_names_what_it_is_about(rules: Path, tmp_path: Path) -> None:
    """The summary is filled in with the pod and the numbers, and the runbook comes with it."""
    alerts = [rule for group in read_groups(rules) for rule in group["rules"]]
    (definition,) = (rule for rule in alerts if rule.get("alert") == "TritonModelLoadFailed")
    expected = {
        "exp_labels": {
            "severity": "critical", "namespace": "models", "release": "demo", "pod": "demo-triton-6c9f-abcde",
        },
        "exp_annotations": {
            "summary": "demo-triton-6c9f-abcde serves 1 of 2 models", "runbook": definition["annotations"]["runbook"],
        },
    }  # fmt: skip
    test = {"eval_time": "6m", "alertname": "TritonModelLoadFailed", "exp_alerts": [expected]}
    done = run_promtool(rules, tmp_path, UP | counters("top", per_scrape=1), {"alert_rule_test": [test]})
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_tell_what_to_do(rules: Path) -> None:
    """Every alert has a severity, a summary, and a runbook of more than a sentence's length."""
    alerts = [rule for group in read_groups(rules) for rule in group["rules"] if "alert" in rule]
    assert len(alerts) == 13
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert len(rule["annotations"]["runbook"]) > 120, rule["alert"]


def test_model_names_are_matched_literally(render: Render, tmp_path: Path) -> None:
    """A dot in a model's name is a dot, in PromQL's escaping too."""
    path = render_rules(render, tmp_path / "rules.yaml", VALUES | {"models": {"topLevel": ["resnet.v1", "b-2"]}})
    series = counters("resnet.v1", per_scrape=150, request_us=100_000) | counters(
        "resnetxv1", per_scrape=150, request_us=100_000
    )
    expect_values(path, tmp_path, series, "5m", {"triton:concurrency": {POD: 1.0}})
