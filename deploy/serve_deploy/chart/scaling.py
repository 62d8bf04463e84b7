"""The autoscaler's values: from a load test where there is one, else careful guesses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from serve_deploy.autoscaling.capacity import Circumstances, choose_replicas
from serve_deploy.autoscaling.scaling_plan import DerivedScaling, ScalingPlan, plan_scaling
from serve_deploy.autoscaling.targets import GUARD_WINDOW_SECONDS, window_basis, window_seconds
from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.planned import check_options, take_plan
from serve_deploy.chart.value_paths import DerivedValue
from serve_deploy.errors import UsageError
from serve_deploy.overrides import find_value
from serve_deploy.planning.exporters import Exporter, choose_exporter, note_ensembles
from serve_deploy.planning.objectives import lowest_p99_seconds, of_streams
from serve_deploy.planning.result import ColdStart
from serve_deploy.planning.startup import Startup
from serve_deploy.planning.traffic import plan_traffic
from serve_deploy.repository.model_folder import ModelFolder, top_level

_METRICS = "autoscaling.metrics"
_HPA_NEEDS = (
    "the HPA reads these metrics through prometheus-adapter, which needs the rules in the chart's ConfigMap;"
    " without Prometheus: `settings=autoscaling.metrics.source=cpu`"
)
# What llm-d's gateway sends to a replica, and the queue at which vLLM's production stack adds one.
_ASSUMED_STREAMS, _ASSUMED_WAITING = 16, 5
_TARGET_NAMES = ("target_concurrency", "pending_guard", "min_replicas", "max_replicas", "down_window")
_DOWN_WINDOW = "autoscaling.behavior.scaleDown.stabilizationWindowSeconds"


@dataclass(frozen=True)
class Scaling:
    """The autoscaler's values, notes for the user, and the cores that a replica used at the knee, where known.

    `cold_start` is that of the plan that the values are from.
    """

    derived: list[DerivedValue]
    notes: list[str] = field(default_factory=list)
    cpu_cores: float | None = None
    cold_start: ColdStart | None = None


def derive_scaling(models: Sequence[ModelFolder], options: ChartOptions, start: Startup) -> Scaling:
    """The autoscaler's values, measured where there are reports."""
    mode, least = options.autoscaling, options.min_replicas
    if options.plan:
        check_options(options, options.plan)
    derived = [DerivedValue("autoscaling.mode", mode, "`autoscaling`")]
    if mode == "off":
        replicas = DerivedValue("replicas", 1, "default") if least is None else None
        return Scaling([*derived, replicas or DerivedValue("replicas", least, "`min_replicas`")])
    if options.prometheus:
        derived.append(DerivedValue("autoscaling.prometheus.serverAddress", options.prometheus, "`prometheus`"))
    elif mode == "keda" and not any(
        find_value(options.overrides, path)
        for path in ("autoscaling.prometheus.serverAddress", "autoscaling.keda.triggers")
    ):
        raise UsageError(
            "`autoscaling=keda` needs the address of the Prometheus that KEDA asks",
            hint="for example `prometheus=http://prometheus-operated.monitoring:9090`",
        )
    if least == 0 and not find_value(options.overrides, "autoscaling.scaleToZero.upstreamTrigger"):
        raise UsageError(
            "`min_replicas=0`: replicas that do not run report no metric, so nothing would ever start one",
            hint="at least 1, or `autoscaling=keda` with the chart value autoscaling.scaleToZero.upstreamTrigger",
        )
    exporter = choose_exporter(models, options.metric, options.overrides)
    derived += _derive_exporter(exporter)
    reads_prometheus = mode == "hpa" and find_value(options.overrides, f"{_METRICS}.source") != "cpu"
    needs = [*note_ensembles(models), *([_HPA_NEEDS] if reads_prometheus else [])]
    if options.plan:
        planned, cold_start = take_plan(models, options.gpu, options.plan, exporter)
        given = find_value(options.overrides, "autoscaling.coldStartSeconds")
        if given is not None and float(given) != math.ceil(cold_start.seconds):
            raise UsageError(
                f"the plan was tried with a cold start of {cold_start.seconds:g} s, "
                f"and the chart is to have autoscaling.coldStartSeconds={given}",
                hint=f"plan again with `cold_start_seconds={given}`, or leave it out",
            )
        values = _plan_values(planned, replace(options, slo=options.plan.plan.slo), exporter)
        return Scaling(derived + values, needs, planned.cpu_cores, cold_start)
    if not options.reports:
        if options.mix:
            raise UsageError("`mix` needs a `capacity` report for each model", hint=_how_to_measure(models))
        targets = _assume_targets(models, options, exporter)
        return Scaling(derived + targets, [_how_to_measure(models), *needs])
    planned = _plan_targets(models, options, start, exporter).scaling
    return Scaling(derived + _plan_values(planned, options, exporter), needs, planned.cpu_cores)


def _derive_exporter(exporter: Exporter) -> Iterator[DerivedValue]:
    if exporter.name:
        yield DerivedValue(f"{_METRICS}.decoupled.exporter", exporter.name, exporter.origin)
    if exporter.metric:
        yield DerivedValue(f"{_METRICS}.decoupled.metric", exporter.metric, "`metric`")


def _assume_targets(models: Sequence[ModelFolder], options: ChartOptions, exporter: Exporter) -> list[DerivedValue]:
    """Without a measurement: one request for each instance of a model that clients call."""
    called = [model for model in models if model.name in top_level(models)]
    instances = float(sum(model.instances or 1 for model in called if not model.is_decoupled))
    streaming = sum(model.is_decoupled for model in called)
    origin, waiting_origin = "one request per instance: not measured", "as many waiting: not measured"
    if streaming:
        origin = f"{_ASSUMED_STREAMS} streams of a decoupled model, one request per instance of others: not measured"
        waiting_origin = f"{_ASSUMED_WAITING} of a decoupled model, one per instance of others: not measured"
    given = Circumstances(min_replicas=options.min_replicas, max_replicas=options.max_replicas)
    least, most = choose_replicas(given, target_rate=math.inf)
    return [
        DerivedValue(f"{_METRICS}.concurrency.target", instances + streaming * _ASSUMED_STREAMS, origin),
        DerivedValue(f"{_METRICS}.pending.target", instances + streaming * _ASSUMED_WAITING, waiting_origin),
        DerivedValue("autoscaling.minReplicas", *least),
        DerivedValue("autoscaling.maxReplicas", *most),
        *_windows(0.0, options, exporter),
        *_alert_budgets(lowest_p99_seconds(options.objectives), "`slo`"),
        *_first_token_budget(options),
    ]


def _how_to_measure(models: Sequence[ModelFolder]) -> str:
    first = next(model for model in models if model.name in top_level(models))
    url, how = "http://HOST:8000", ""
    if first.is_decoupled and _takes_text(first):
        how = " --generate triton"
    elif first.is_decoupled:
        url, how = "grpc://HOST:8001", " --streaming"
    return (
        "the scaling targets are guesses; measure them with"
        f" serve loadtest {url} -m {first.name}{how} -c 1..64 -o capacity.json,"
        " then add `capacity=capacity.json`" + ("; do so for each model" if len(top_level(models)) > 1 else "")
    )


def _takes_text(model: ModelFolder) -> bool:
    """Whether it seems to be a language model; the tensors of vLLM's models Triton adds itself."""
    return not model.config.input or any(each.name == "text_input" for each in model.config.input)


def _plan_targets(
    models: Sequence[ModelFolder], options: ChartOptions, start: Startup, exporter: Exporter
) -> ScalingPlan:
    cold_start = find_value(options.overrides, "autoscaling.coldStartSeconds")
    circumstances = Circumstances(
        slo_p99_seconds=lowest_p99_seconds(options.objectives),
        gates=of_streams(options.objectives),
        exporter=exporter.name,
        cold_start_seconds=start.cold_start_seconds if cold_start is None else float(cold_start),
        cold_start_origin=start.origin if cold_start is None else "`settings` or `values`",
        base_rate=options.base_rate,
        peak_rate=options.peak_rate,
        growth_per_second=options.growth_percent_per_minute / 100 / 60,
        min_replicas=options.min_replicas,
        max_replicas=options.max_replicas,
    )
    traffic = plan_traffic(models, options.reports, options.mix)
    return plan_scaling(traffic, circumstances, keda=options.autoscaling == "keda")


def _plan_values(scaling: DerivedScaling, options: ChartOptions, exporter: Exporter) -> list[DerivedValue]:
    targets = scaling.targets
    only_streams = lowest_p99_seconds(options.objectives) is None and bool(of_streams(options.objectives))
    origins = {each.name: each.origin for each in scaling.derived}
    facts = [
        DerivedValue(f"({each.name})", each.text, each.origin)
        for each in scaling.derived
        if each.name not in _TARGET_NAMES
    ]
    return [
        *(DerivedValue("(dropped)", *text.split(": ", 1)) for text in scaling.dropped),
        *facts,
        DerivedValue(f"{_METRICS}.concurrency.target", _target(targets.concurrency), origins["target_concurrency"]),
        DerivedValue(f"{_METRICS}.pending.target", _target(targets.pending), origins["pending_guard"]),
        DerivedValue("autoscaling.minReplicas", targets.min_replicas, origins["min_replicas"]),
        DerivedValue("autoscaling.maxReplicas", targets.max_replicas, origins["max_replicas"]),
        *([DerivedValue(_DOWN_WINDOW, held, origins["down_window"])] if (held := targets.down_window_seconds) else []),
        *_windows(scaling.slo_p99_seconds, options, exporter),
        # Of streams alone, Triton's own times tell nothing.
        *([] if only_streams else _alert_budgets(scaling.slo_p99_seconds, origins["slo_p99"])),
        *_first_token_budget(options),
    ]


def _windows(slo_seconds: float, options: ChartOptions, exporter: Exporter) -> list[DerivedValue]:
    basis = window_basis(exporter.name, slo_seconds, of_streams(options.objectives))
    window, guard = f"{window_seconds(basis)}s", f"{GUARD_WINDOW_SECONDS:.0f}s"
    what = "the objective" if exporter.name in ("", "seconds") else "the first token's objective"
    return [
        DerivedValue(f"{_METRICS}.window", window, f"4 scrapes of 15 s, 3 * {what}, at least a minute"),
        DerivedValue(f"{_METRICS}.guardWindow", guard, "2 scrapes of 15 s, at least half a minute"),
    ]


def _alert_budgets(slo_seconds: float | None, origin: str) -> list[DerivedValue]:
    if slo_seconds is None:
        return []
    alerts = "monitoring.prometheusRule.alerts"
    return [
        DerivedValue(f"{alerts}.p99BudgetMs", round(slo_seconds * 1e3, 3), f"the objective: {origin}"),
        DerivedValue(f"{alerts}.queueBudgetMs", round(slo_seconds * 500, 3), "half of the objective"),
    ]


def _first_token_budget(options: ChartOptions) -> list[DerivedValue]:
    limits = {
        gate.threshold * gate.factor / 1e3: gate.expression
        for gate in of_streams(options.objectives)
        if gate.figure == "ttft_p99"
    }
    path = "monitoring.prometheusRule.alerts.firstTokenBudgetMs"
    return [DerivedValue(path, round(min(limits), 3), f"the objective: {limits[min(limits)]}")] if limits else []


def _target(value: float) -> float:
    """Rounded down to a thousandth, the finest that Kubernetes' quantities hold."""
    return max(0.001, math.floor(round(value * 1000, 6)) / 1000)
