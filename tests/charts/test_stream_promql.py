"""Formulas and alerts of decoupled models, evaluated by promtool on series with answers worked by hand.

The stream of most tests: 3 requests a second, the first token after 0.5 s, the last 1.5 s later, so 6 are in flight.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from promtool import Series, expect_values, find_firing, render_rules

Render = Callable[..., list[dict[str, Any]]]
# exporter → its rules, for these top-level models
Rules = Callable[..., Path]

POD = 'namespace="models",pod="demo-triton-6c9f-abcde"'
LLM = f'{POD},model="llm",version="1"'
ALERTS = {"pendingBudget": 4, "firstTokenBudgetMs": 500, "kvCacheRatio": 0.9, "queueBudgetMs": 50}
FINISHED = f"sum(rate(vllm:e2e_request_latency_seconds_sum{{{POD}}}[1m]))"


@pytest.fixture(scope="module")
def rules(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Rules:
    folder = tmp_path_factory.mktemp("rules")

    def write(exporter: str, metric: str = "", models: tuple[str, ...] = ("llm", "digits")) -> Path:
        metrics = {"decoupled": {"exporter": exporter, "metric": metric}}
        values = {
            "models": {"topLevel": list(models)},
            "autoscaling": {"mode": "hpa", "metrics": metrics},
            "monitoring": {"prometheusRule": {"enabled": True, "alerts": ALERTS}},
        }
        return render_rules(render, folder / "rules.yaml", values)

    return write


def taken(per_scrape: str = "0+45x60", duration: str = "0+30000x60") -> Series:
    """What Triton counts of a decoupled model: it has handed a request over, which took it under a millisecond."""
    return {
        f"nv_inference_request_success{{{LLM}}}": per_scrape,
        f"nv_inference_count{{{LLM}}}": per_scrape,
        f"nv_inference_request_duration_us{{{LLM}}}": duration,
        f"nv_inference_pending_request_count{{{LLM}}}": "0x60",
    }


def streamed(
    first: str = "0+45x60", waited: str = "0+22.5x60", gaps: str = "0+67.5x60", tokens: str = "0+4500x60"
) -> Series:
    """What Triton's vLLM backend exports: first tokens, the seconds until them, those between tokens, and tokens."""
    return {
        f"vllm:time_to_first_token_seconds_count{{{LLM}}}": first,
        f"vllm:time_to_first_token_seconds_sum{{{LLM}}}": waited,
        f"vllm:time_per_output_token_seconds_sum{{{LLM}}}": gaps,
        f"vllm:generation_tokens_total{{{LLM}}}": tokens,
    }


def digits() -> Series:
    """An ordinary model: 10 requests a second of 0.3 s, one waiting."""
    labels = f'{POD},model="digits",version="1"'
    return {
        f"nv_inference_request_success{{{labels}}}": "0+150x60",
        f"nv_inference_count{{{labels}}}": "0+150x60",
        f"nv_inference_request_duration_us{{{labels}}}": "0+45000000x60",
        f"nv_inference_pending_request_count{{{labels}}}": "1x60",
    }


def gauges(prefix: str = "vllm:", running: str = "5x60", waiting: str = "2x60", engine: int = 0) -> Series:
    """The gauges of vLLM's own server; NIM's have no prefix."""
    labels = f'{POD},model_name="org/llm",engine="{engine}"'
    return {
        f"{prefix}num_requests_running{{{labels}}}": running,
        f"{prefix}num_requests_waiting{{{labels}}}": waiting,
        f"{prefix}generation_tokens_total{{{labels}}}": "0+4500x60",
    }


def tensorrt(active: int, scheduled: int) -> Series:
    """The gauges of the TensorRT-LLM backend: what waits is active and not scheduled."""
    kinds = {"active": active, "scheduled": scheduled, "waiting": active - scheduled, "max": 64, "context": 1}
    return {
        f'nv_trt_llm_request_metrics{{{LLM},request_type="{kind}"}}': f"{value}x60" for kind, value in kinds.items()
    }


@pytest.fixture
def reads(rules: Rules, tmp_path: Path) -> Callable[..., None]:
    """Compare what the recorded metrics of an exporter are at a time with what they should be, of the one pod."""

    def run(series: Series, at: str = "5m", exporter: str = "vllm-backend", metric: str = "",
            models: tuple[str, ...] = ("llm", "digits"), **expected: float) -> None:  # fmt: skip
        queries = {f"triton:{name}": {POD: value} for name, value in expected.items()}
        expect_values(rules(exporter, metric, models), tmp_path, series, at, queries)

    return run


@pytest.fixture
def fires(rules: Rules, tmp_path: Path) -> Callable[..., set[str]]:
    def run(series: Series, at: str, exporter: str = "vllm-backend") -> set[str]:
        up = {f'up{{{POD},job="j"}}': "1x60"}
        return find_firing(rules(exporter, models=("llm",)), tmp_path, up | taken() | series, at)

    return run


Reads = Callable[..., None]
Fires = Callable[..., set[str]]


def test_steady_stream(reads: Reads) -> None:
    """0.5 s before the first token and 1.5 s after it, 3 times a second: 6 in flight, and none waits for long."""
    reads(taken() | streamed(), concurrency=6.0, pending=0.0)


def test_tritons_counters_lose_sight_of_a_stream(reads: Reads) -> None:
    """The formula of other models reads 0.002 for the same 6, and that nothing waits."""
    reads(taken() | streamed(), exporter="", concurrency=0.002, pending=0.0)


def test_cancelled_requests_count_for_as_long_as_they_ran(reads: Reads, rules: Rules, tmp_path: Path) -> None:
    """Half of 3 requests a second are given up after 1 s: 4.5 are in flight. What finishes accounts for 3 of them."""
    series = taken() | streamed(gaps="0+45x60") | {f"vllm:e2e_request_latency_seconds_sum{{{LLM}}}": "0+45x60"}
    reads(series, concurrency=4.5, pending=0.0)
    expect_values(rules("vllm-backend"), tmp_path, series, "5m", {FINISHED: {"": 3.0}})


def test_long_requests_show_before_they_end(reads: Reads, rules: Rules, tmp_path: Path) -> None:
    """From the fifth minute on 20 more requests run for ten minutes: 26 within a minute; none of them has finished."""
    gaps = f"0+67.5x20 {1350 + 367.5}+367.5x39"
    series = taken() | streamed(gaps=gaps) | {f"vllm:e2e_request_latency_seconds_sum{{{LLM}}}": "0+90x60"}
    reads(series, at="7m", concurrency=26.0)
    expect_values(rules("vllm-backend"), tmp_path, series, "7m", {FINISHED: {"": 6.0}})


def test_stalled_engine_raises_the_guard(reads: Reads) -> None:
    """No token leaves after the fifth minute, while 3 requests a second still come: 90 in the window of 30 s."""
    series = taken() | streamed("0+45x20 900x40", "0+22.5x20 450x40", "0+67.5x20 1350x40", "0+4500x20 90000x40")
    reads(series, at="5m", pending=0.0)
    reads(series, at="5m30s", pending=90.0)
    reads(series, at="7m", pending=90.0, concurrency=0.0)


@pytest.mark.parametrize(
    ("first_tokens", "pending"),
    [("0+45x60", 0.0), ("0+27x60", 0.0), ("0+22.5x60", 0.0), ("0+18x60", 18.0), ("0x60", 90.0)],
)
def test_requests_without_a_first_token_weigh_where_they_are_the_most(
    reads: Reads, first_tokens: str, pending: float
) -> None:
    """Up to half may be refused or given up; 36 of 90 with a token leave 18, and none leaves all 90."""
    reads(taken() | streamed(first=first_tokens), pending=pending)


@pytest.mark.parametrize("at", ["5m", "5m15s", "5m30s", "5m45s", "6m"])
def test_restart_does_not_raise_the_guard(reads: Reads, at: str) -> None:
    """All counters begin anew."""
    reads(taken("0+45x20 0+45x39") | streamed(first="0+45x20 0+45x39"), at=at, pending=0.0)


def test_first_requests_of_a_new_replica_wait(reads: Reads) -> None:
    """There are no earlier counters to compare with: 45 taken and 10 begun weigh as 25."""
    reads(taken("_x19 0 45x40") | streamed(first="_x19 0 10x40"), at="5m", pending=25.0)


def test_other_models_of_the_pod_count_as_ever(reads: Reads) -> None:
    """6 streams, and 3 requests of an ordinary model of which one waits."""
    reads(taken() | streamed() | digits(), concurrency=9.0, pending=1.0)


def test_ensemble_of_a_stream_is_counted_once(reads: Reads) -> None:
    """Triton counts an ensemble until its last response: 6 in flight, and not its member's once more."""
    chat = {f'nv_inference_request_duration_us{{{POD},model="chat",version="1"}}': "0+90000000x60"}
    reads(taken() | streamed() | chat, models=("chat",), concurrency=6.0, pending=0.0)


@pytest.mark.parametrize("prefix", ["vllm:", ""])
def test_gauges_of_vllms_own_server(reads: Reads, prefix: str) -> None:
    """Five run and two wait, on each of two engines."""
    reads(gauges(prefix) | gauges(prefix, engine=1), exporter="vllm", concurrency=14.0, pending=4.0)


def test_gauges_of_tensorrt_llm(reads: Reads) -> None:
    """Seven are active, two of them wait to be scheduled; the ordinary model adds 3 and 1."""
    reads(taken() | tensorrt(7, 5) | digits(), exporter="tensorrtllm", concurrency=10.0, pending=3.0)


def test_gauge_of_a_python_model(reads: Reads) -> None:
    """With the label `model` it takes the place of Triton's counters for that model."""
    series = taken() | digits() | {f"streams{{{LLM}}}": "4x60"}
    reads(series, exporter="gauge", metric="streams", concurrency=7.0, pending=1.0)


def test_gauge_without_the_label_of_its_model(reads: Reads) -> None:
    """It is all that counts but for the milliseconds that Triton saw, here none."""
    series = taken(duration="0x60") | {f"streams{{{POD}}}": "4x60"}
    reads(series, exporter="gauge", metric="streams", models=("llm",), concurrency=4.0, pending=0.0)


@pytest.mark.parametrize("metric", ["chat_seconds", "chat_seconds_sum"])
def test_histogram_of_a_python_model(reads: Reads, metric: str) -> None:
    """By Little's law over the requests that ended; it stalls after the fifth minute, and a minute of 3/s arrives."""
    series = taken() | {
        f"chat_seconds_sum{{{LLM}}}": "0+90x20 1800x40",
        f"chat_seconds_count{{{LLM}}}": "0+45x20 900x40",
    }
    reads(series, exporter="seconds", metric=metric, concurrency=6.0, pending=0.0)
    reads(series, at="6m15s", exporter="seconds", metric=metric, concurrency=0.0, pending=180.0)


def first_tokens(under: str) -> Series:
    """A histogram of the time to the first token: up to so many seconds, in buckets of vLLM."""
    bounds = ("0.1", "0.25", "0.5", "1.0", "2.5", "+Inf")
    name = "vllm:time_to_first_token_seconds_bucket"
    return {
        f'{name}{{{LLM},le="{bound}"}}': "0+45x60" if bounds.index(bound) >= bounds.index(under) else "0x60"
        for bound in bounds
    }


def test_healthy_streams_are_quiet(fires: Fires) -> None:
    """Neither steady streams nor an idle server raise an alert."""
    assert fires(streamed() | first_tokens("0.25"), "14m") == set()
    idle = {name: "100x60" for name in taken() | streamed()} | {f"nv_inference_pending_request_count{{{LLM}}}": "0x60"}
    assert fires(idle, "14m") == set()


def test_stalled_engine_fires(fires: Fires) -> None:
    """After two minutes without a token while requests come, by the vLLM backend's counters or vLLM's gauges."""
    silent = streamed("0+45x20 900x40", "0+22.5x20 450x40", "0+67.5x20 1350x40", "0+4500x20 90000x40")
    assert "TritonStreamsStalled" not in fires(silent, "7m")
    assert "TritonStreamsStalled" in fires(silent, "9m")
    hung = {name: "90000x60" if "tokens" in name else value for name, value in gauges().items()}
    assert fires(hung, "9m", "vllm") == {"TritonStreamsStalled"}


def test_growing_queue_of_streams_fires(fires: Fires) -> None:
    """5 wait for their first token, and 0.8 more each minute: the guard sees no stall, but the queue grows."""
    waited = " ".join(f"{15 * (5 * n + 0.1 * n * n):g}" for n in range(61))
    assert fires(streamed(waited=waited), "14m") == {"TritonStreamsQueue"}


def test_idle_stream_beside_a_busy_model_is_quiet(fires: Fires) -> None:
    """What waits for the ordinary model is none of the engine's."""
    idle = {name: "100x60" for name in taken() | streamed()} | {f"nv_inference_pending_request_count{{{LLM}}}": "0x60"}
    assert fires(digits() | idle, "14m") == set()


def test_late_first_token_fires(fires: Fires) -> None:
    """The p99 lies in the bucket from 1 to 2.5 s, and the objective is 0.5 s."""
    assert fires(streamed() | first_tokens("2.5"), "8m") == {"TritonFirstTokenBudget"}


@pytest.mark.parametrize("name", ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "kv_cache_usage_perc"])
def test_full_kv_cache_fires(rules: Rules, tmp_path: Path, name: str) -> None:
    """96 % for ten minutes, by the names of vLLM's versions and of NIM."""
    series = gauges() | {f"{name}{{{POD}}}": "0.96x60", f'up{{{POD},job="j"}}': "1x60"} | taken()
    assert find_firing(rules("vllm", models=("llm",)), tmp_path, series, "12m") == {"TritonKvCacheNearlyFull"}


def test_model_that_does_not_report_fires(fires: Fires) -> None:
    """Triton's counters are there, but not those of the vLLM backend, on which the release scales."""
    assert fires({}, "8m") == {"TritonScalingMetricMissing"}


def test_growing_queue_of_gauges_fires_once(fires: Fires) -> None:
    """What waits is known from two formulas there."""
    assert fires(gauges(waiting="5+1x60"), "14m", "vllm") == {"TritonPendingGrowing"}
