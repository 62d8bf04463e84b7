"""What counts the requests of decoupled models, whose answers Triton's own counters lose sight of.

Triton's statistics of a request end when the backend hands it back, which a decoupled one does before its first token:
of six requests in flight, seen with Triton 2.51, they show 0.03, and none that waits. An ensemble is counted until its
last response has left, whatever its members are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.model_config.ensemble_graph import is_decoupled
from serve_deploy.overrides import find_value
from serve_deploy.repository.model_folder import REPORT_CUSTOM_METRICS, ModelFolder, top_level

_METRICS = "autoscaling.metrics"
_BLIND = "Triton's counters lose sight of a request before its first response, so an autoscaler on them would not move"
_OTHERWISE = (
    "name a metric of the model with `metric`, or scale on something else: on CPU with"
    " `settings=autoscaling.metrics.source=cpu`, or on a gateway's requests in flight with `autoscaling=keda`,"
    " `settings=autoscaling.metrics.source=triggers` and autoscaling.keda.triggers"
)
# What each exporter's formulas read, by which a Python model that sets them is told.
_SERIES = {
    "vllm-backend": (b"vllm:time_to_first_token_seconds", b"vllm:time_per_output_token_seconds"),
    "tensorrtllm": (b"nv_trt_llm_request_metrics",),
}


@dataclass(frozen=True)
class Exporter:
    """The chart's name for it ("" for Triton), your metric's name where it is yours, and how it was found."""

    name: str = ""
    metric: str = ""
    origin: str = ""


def choose_exporter(
    models: Sequence[ModelFolder], metric: str | None = None, overrides: Mapping[str, Any] = MappingProxyType({})
) -> Exporter:
    """What to scale on; an error where a decoupled model exports nothing that is true for it.

    `metric` is one of the model's own, `overrides` are chart values that may name a source or an exporter.
    """
    source = find_value(overrides, f"{_METRICS}.source") or "prometheus"
    given = find_value(overrides, f"{_METRICS}.decoupled.exporter")
    streaming = find_streaming(models)
    if metric is not None and not streaming:
        raise UsageError(
            f"`metric={metric}`: no model of the repository is decoupled, so Triton's own counters are true",
            hint="leave it out",
        )
    if source != "prometheus" or given is not None:
        return Exporter(name=given or "")
    if metric is not None:
        return read_metric(metric)
    called = [model for model in streaming if model.name in top_level(models)]
    found = {model.name: _find_exporter(model) for model in called}
    names = {exporter.name for exporter in found.values()}
    if len(names) > 1:
        listed = ", ".join(f"{name} by {exporter.name}" for name, exporter in found.items())
        raise UsageError(f"decoupled models of one pod are counted differently: {listed}", hint="deploy each by itself")
    return next(iter(found.values()), Exporter())


def find_streaming(models: Sequence[ModelFolder]) -> tuple[ModelFolder, ...]:
    """The models that are decoupled themselves, not as ensembles of such models."""
    return tuple(model for model in models if not model.members and model.is_decoupled)


def read_metric(metric: str) -> Exporter:
    """Tell a histogram of request times from a gauge by its name; UsageError for a counter that tells neither."""
    base = metric.removesuffix("_sum")
    if base.endswith("_seconds"):
        return Exporter("seconds", base, f"{metric} is a histogram of request times, by its name")
    if metric.endswith(("_sum", "_count", "_bucket", "_total")):
        raise UsageError(
            f"`metric={metric}` is a counter that does not tell how many requests are in flight",
            hint="give a gauge of requests in flight, or a histogram of their times in seconds (…_seconds)",
        )
    return Exporter("gauge", metric, f"{metric} is a gauge of requests in flight, by its name")


def note_ensembles(models: Sequence[ModelFolder]) -> Iterator[str]:
    """Ensembles that clients call and that stream: what their numbers cannot show."""
    configs: dict[str, Any] = {model.name: model.config for model in models}
    for model in models:
        if model.members and model.name in top_level(models) and is_decoupled(model.name, configs):
            yield (
                f"{model.name} is an ensemble with a decoupled member: Triton counts its requests when they end, so"
                f" {_METRICS}.window must be at least three times as long as they take, and the guard does not see an"
                " engine that hangs"
            )


def _find_exporter(model: ModelFolder) -> Exporter:
    subject = f"{model.name} is decoupled"
    if model.config.backend == "vllm":
        _require_report(model)
        return Exporter("vllm-backend", origin=f"{subject}, and its vLLM reports its own metrics")
    if model.config.backend == "tensorrtllm":
        return Exporter("tensorrtllm", origin=f"{subject}, and its backend exports its own gauges")
    sources = [path.read_bytes() for name, path in model.files.items() if name.endswith(".py")]
    for name, series in _SERIES.items():
        if all(any(word in source for source in sources) for word in series):
            return Exporter(name, origin=f"{subject}, and its Python files name these metrics")
    raise InvalidModelError(f"{subject}: {_BLIND}", hint=_OTHERWISE)


def _require_report(model: ModelFolder) -> None:
    why = f"{model.name} is served by vLLM, which is decoupled: {_BLIND}"
    if not model.reports_custom_metrics:
        raise InvalidModelError(
            f"{why}; its own metrics are off",
            hint=f"add to {model.name}/config.pbtxt: {REPORT_CUSTOM_METRICS}; or {_OTHERWISE}",
        )
    for version in model.served_versions:
        path = model.path / str(version) / "model.json"
        if path.is_file() and _reads_true(path.read_text(encoding="utf-8"), "disable_log_stats"):
            raise InvalidModelError(
                f"{why}; disable_log_stats in {model.name}/{version}/model.json turns its own metrics off",
                hint=f"remove disable_log_stats; or {_OTHERWISE}",
            )


def _reads_true(text: str, key: str) -> bool:
    try:
        arguments = json.loads(text)
    except ValueError:
        return False  # Triton will say so
    return isinstance(arguments, dict) and str(arguments.get(key, "")).lower() == "true"
