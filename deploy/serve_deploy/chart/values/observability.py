"""Monitoring of the release, and its test."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serve_deploy.chart.values.base import Labels, Values

Duration = Annotated[str, Field(pattern=r"^[0-9]+[smh]$")]


class Monitor(Values):
    """A monitor of the Prometheus operator or of Google's managed Prometheus (CRD needed)."""

    enabled: bool = False
    """Create it."""
    labels: Labels = {}
    """Labels by which your Prometheus selects it."""
    interval: Duration = "15s"
    """Scrape interval."""


class Alerts(Values):
    """Thresholds of the alerts."""

    enabled: bool = True
    """Create the alerts; the PrometheusRule always has the recording rules."""
    error_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of failed requests."""
    p99_budget_ms: Annotated[float, Field(gt=0)] = 1000
    """p99 of the request time (needs server.summaryLatencies)."""
    queue_budget_ms: Annotated[float, Field(gt=0)] = 100
    """Mean time in the queue."""
    first_token_budget_ms: Annotated[float, Field(gt=0)] = 2000
    """p99 of the time to the first token of a token stream (needs an exporter that tells it)."""
    kv_cache_ratio: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of the KV cache in use (needs an exporter that tells it)."""
    pending_budget: Annotated[float, Field(gt=0)] | None = None
    """Waiting requests per replica, above which growth alerts; by default autoscaling.metrics.pending.target."""
    gpu_memory_ratio: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of GPU memory in use."""
    kube_state_metrics: bool = True
    """Create the alerts that need kube-state-metrics."""


class PrometheusRules(Values):
    """A PrometheusRule with recording rules and alerts (CRD needed)."""

    enabled: bool = False
    """Create it."""
    labels: Labels = {}
    """Labels by which your Prometheus selects it."""
    interval: Duration = "15s"
    """How often the rules are evaluated."""
    alerts: Alerts = Alerts()


class Dashboard(Values):
    """A ConfigMap with the Grafana dashboard, for Grafana's sidecar."""

    enabled: bool = False
    """Create it."""
    labels: Labels = {"grafana_dashboard": "1"}
    """Labels by which the sidecar finds it."""
    folder: str = ""
    """Grafana folder (annotation grafana_folder)."""


class Monitoring(Values):
    """Monitoring; without any of it, the pods still have the classic prometheus.io annotations."""

    service_monitor: Monitor = Monitor()
    pod_monitor: Monitor = Monitor()
    gmp_pod_monitoring: Monitor = Monitor()
    prometheus_rule: PrometheusRules = PrometheusRules()
    dashboard: Dashboard = Dashboard()
    scrape_annotations: bool = True
    """prometheus.io/scrape, port and path on the pods, if no monitor is created (both would scrape twice)."""


class Tracing(Values):
    """Traces of requests, sent to OpenTelemetry's collector as OTLP over HTTP."""

    url: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    """Address of the collector, such as http://collector.observability:4318/v1/traces; empty sends no trace."""
    one_in: Annotated[int, Field(ge=1)] = 1000
    """One request in this many is traced, besides those that arrive with a trace context of their own."""


class TestRequest(Values):
    """One inference that `helm test` sends."""

    model: str
    """Model to call."""
    body: str
    """The request as JSON (KServe v2)."""
    expect: str = ""
    """Text that the reply must contain, ignoring white space."""


class Test(Values):
    """`helm test`."""

    enabled: bool = True
    """Create the test pod."""
    timeout_seconds: Annotated[int, Field(ge=5, le=3600)] = 120
    """How long it waits for an answer."""
    requests: list[TestRequest] = []
    """Inferences to send; empty sends one to the example model, or asks the loaded models whether they are ready."""
