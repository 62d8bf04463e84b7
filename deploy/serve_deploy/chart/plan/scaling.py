"""The autoscaler's values: from a load test where there is one, else careful guesses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from serve_deploy.autoscaling.capacity import Circumstances, check_origin
from serve_deploy.autoscaling.promql import guard_window_seconds, window_seconds
from serve_deploy.autoscaling.scaling_plan import ScalingPlan, explain_trials, plan_scaling
from serve_deploy.chart.plan.request import ChartRequest, DerivedValue, override
from serve_deploy.chart.plan.startup import Startup
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.repository.model_folder import ModelFolder, top_level

SCRAPE_SECONDS = 15.0
_METRICS = "autoscaling.metrics"
_HPA_NEEDS = (
    "the HPA reads these metrics through prometheus-adapter, with the rules that the chart makes as a ConfigMap;"
    " on a cluster without Prometheus: --set autoscaling.metrics.source=cpu"
)
_TARGET_NAMES = ("target_concurrency", "pending_guard", "min_replicas", "max_replicas")


def derive_scaling(
    models: Sequence[ModelFolder], request: ChartRequest, start: Startup
) -> tuple[list[DerivedValue], list[str]]:
    """The autoscaler's values, and notes for the user."""
    asked = request.min_replicas is not None
    derived = [DerivedValue("autoscaling.mode", request.autoscaling, "--autoscaling")]
    if request.autoscaling == "off":
        replicas = request.min_replicas if request.min_replicas is not None else 1
        return [*derived, DerivedValue("replicas", replicas, "--min" if asked else "default")], []
    if request.autoscaling == "keda" and not (
        request.prometheus or override(request.overrides, "autoscaling.prometheus.serverAddress")
    ):
        raise UsageError(
            "--autoscaling keda needs the address of the Prometheus that KEDA asks",
            hint="--prometheus http://prometheus-operated.monitoring:9090",
        )
    if request.prometheus:
        derived.append(DerivedValue("autoscaling.prometheus.serverAddress", request.prometheus, "--prometheus"))
    needs = [_HPA_NEEDS] if request.autoscaling == "hpa" and _reads_prometheus(request) else []
    if request.report is None:
        return derived + _assume_targets(models, request), [_how_to_measure(models), *needs]
    return derived + _measure_targets(models, request, request.report, start), needs


def _reads_prometheus(request: ChartRequest) -> bool:
    return bool(override(request.overrides, f"{_METRICS}.source") != "cpu")


def _assume_targets(models: Sequence[ModelFolder], request: ChartRequest) -> list[DerivedValue]:
    """Without a measurement: one request for each instance of a model that clients call."""
    called = [model for model in models if model.name in top_level(models)]
    instances = float(sum(model.instances or 1 for model in called))
    least = request.min_replicas if request.min_replicas is not None else 2
    most = request.max_replicas if request.max_replicas is not None else max(4 * least, 8)
    _check_replicas(least, most, request.overrides)
    least_origin = "--min" if request.min_replicas is not None else "two, so that one may go"
    most_origin = "--max" if request.max_replicas is not None else "four times min, at least 8"
    return [
        DerivedValue(f"{_METRICS}.concurrency.target", instances, "one request an instance: not measured"),
        DerivedValue(f"{_METRICS}.pending.target", instances, "as many waiting: not measured"),
        DerivedValue("autoscaling.minReplicas", least, least_origin),
        DerivedValue("autoscaling.maxReplicas", most, most_origin),
        *_windows(0.0),
        *_alert_budgets(request.slo_p99_seconds, "--slo"),
    ]


def _how_to_measure(models: Sequence[ModelFolder]) -> str:
    return (
        "the scaling targets are guesses; measure them with"
        f" serve loadtest http://HOST:8000 -m {top_level(models)[0]} -c 1..64 -o capacity.json,"
        " then add --capacity capacity.json"
    )


def _measure_targets(
    models: Sequence[ModelFolder], request: ChartRequest, report: LoadTestReport, start: Startup
) -> list[DerivedValue]:
    check_origin(report, {model.name: (model.config_sha256, model.instances) for model in models})
    if report.target.model not in top_level(models):
        raise InvalidModelError(
            f"the capacity report measured {report.target.model}, which only ensembles call",
            hint=f"measure what clients call: {', '.join(top_level(models))}",
        )
    least, most = request.min_replicas, request.max_replicas
    _check_replicas(1 if least is None else least, least or 1 if most is None else most, request.overrides)
    cold_start = override(request.overrides, "autoscaling.coldStartSeconds")
    circumstances = Circumstances(
        slo_p99_seconds=request.slo_p99_seconds,
        cold_start_seconds=start.cold_start_seconds if cold_start is None else float(cold_start),
        cold_start_origin=start.origin if cold_start is None else "--set or --values",
        scrape_seconds=SCRAPE_SECONDS,
        base_rate=request.base_rate,
        peak_rate=request.peak_rate,
        growth_per_second=request.growth_per_second,
        min_replicas=request.min_replicas,
        max_replicas=request.max_replicas,
    )
    return _plan_values(plan_scaling(report, circumstances, keda=request.autoscaling == "keda"))


def _plan_values(plan: ScalingPlan) -> list[DerivedValue]:
    """Names in brackets are facts on the way to a value."""
    capacity, targets = plan.capacity, plan.capacity.targets
    origins = {each.name: each.origin for each in capacity.derived}
    dropped = [DerivedValue("(dropped)", text.partition(": ")[0], text.partition(": ")[2]) for text in capacity.dropped]
    facts = [
        DerivedValue(f"({each.name})", f"{each.value:.4g} {each.unit}".strip(), each.origin)
        for each in (*capacity.derived, *explain_trials(plan))
        if each.name not in _TARGET_NAMES
    ]
    return [
        *dropped,
        *facts,
        DerivedValue(f"{_METRICS}.concurrency.target", _target(targets.concurrency), origins["target_concurrency"]),
        DerivedValue(f"{_METRICS}.pending.target", _target(targets.pending), origins["pending_guard"]),
        DerivedValue("autoscaling.minReplicas", targets.min_replicas, origins["min_replicas"]),
        DerivedValue("autoscaling.maxReplicas", targets.max_replicas, origins["max_replicas"]),
        *_windows(capacity.slo_p99_seconds),
        *_alert_budgets(capacity.slo_p99_seconds, origins["slo_p99"]),
    ]


def _windows(slo_seconds: float) -> list[DerivedValue]:
    window, guard = window_seconds(SCRAPE_SECONDS, slo_seconds), guard_window_seconds(SCRAPE_SECONDS)
    return [
        DerivedValue(f"{_METRICS}.window", f"{window}s", "4 scrapes of 15 s, 3 * the objective, at least a minute"),
        DerivedValue(f"{_METRICS}.guardWindow", f"{guard}s", "2 scrapes of 15 s, at least half a minute"),
    ]


def _alert_budgets(slo_seconds: float | None, origin: str) -> list[DerivedValue]:
    if slo_seconds is None:
        return []
    alerts = "monitoring.prometheusRule.alerts"
    return [
        DerivedValue(f"{alerts}.p99BudgetMs", round(slo_seconds * 1e3, 3), f"the objective: {origin}"),
        DerivedValue(f"{alerts}.queueBudgetMs", round(slo_seconds * 500, 3), "half of the objective"),
    ]


def _check_replicas(least: int, most: int, overrides: Mapping[str, Any]) -> None:
    if least == 0 and not override(overrides, "autoscaling.scaleToZero.upstreamTrigger"):
        raise UsageError(
            "--min 0: replicas that do not run emit no metric, so nothing would ever start one",
            hint="at least 1, or --autoscaling keda with autoscaling.scaleToZero.upstreamTrigger in --values",
        )
    if least > most:
        raise UsageError(f"--min {least} exceeds --max {most}", hint="the autoscaler needs min <= max")


def _target(value: float) -> float:
    """Rounded down to a thousandth, the finest that Kubernetes' quantities hold."""
    return max(0.001, math.floor(round(value * 1000, 6)) / 1000)
