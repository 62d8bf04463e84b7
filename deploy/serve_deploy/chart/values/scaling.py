"""How many replicas, and what scales them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from serve_deploy.chart.values.base import Object, Objects, Values

Target = Annotated[float, Field(gt=0)]
Seconds = Annotated[int, Field(ge=0, le=3600)]


def _read_off(value: Any) -> Any:
    # YAML reads an unquoted `off` as false.
    return "off" if value is False else value


Mode = Annotated[Literal["off", "hpa", "keda"], BeforeValidator(_read_off)]


class Concurrency(Values):
    """The primary metric: mean requests in flight per replica, by Little's law."""

    target: Target = 4
    """Requests in flight that one replica should have; measure it with `serve loadtest` and `serve chart --capacity`."""  # noqa: E501


class Pending(Values):
    """The guard: requests waiting for an instance, which still rise when nothing completes."""

    target: Target = 8
    """Waiting requests per replica above which replicas are added, whatever the concurrency is."""


class Decoupled(Values):
    """What counts the requests of decoupled models: Triton's own counters lose sight of them before their first response."""  # noqa: E501

    exporter: Literal["", "vllm-backend", "vllm", "tensorrtllm", "gauge", "seconds"] = ""
    """`vllm-backend`, also where it is empty and multiNode.backend is vllm, needs the parameter REPORT_CUSTOM_METRICS "true" in config.pbtxt; `vllm` is vLLM's own server or NIM; `tensorrtllm` the backend's gauges. By your own metric: `gauge` of requests in flight, or `seconds`, a histogram of request times."""  # noqa: E501
    metric: Annotated[str, Field(pattern=r"^([a-zA-Z_:][a-zA-Z0-9_:]*)?$")] = ""
    """The metric's name, for `gauge` and `seconds`; it needs the label `model` if the pod serves other models too."""


class Metrics(Values):
    """The metrics that the autoscaler uses."""

    source: Literal["prometheus", "cpu", "triggers"] = "prometheus"
    """`prometheus` scales on what Triton serves; `cpu` is for clusters without Prometheus (mode hpa only); `triggers` uses keda.triggers alone, such as a gateway's requests in flight (mode keda only)."""  # noqa: E501
    window: Annotated[str, Field(pattern=r"^[0-9]+[sm]$")] = "1m"
    """Window of the rates: at least 1 m, 4 scrape intervals, and 3 × the p99 of a slow model (of a token stream by vllm-backend: of its first token)."""  # noqa: E501
    guard_window: Annotated[str, Field(pattern=r"^[0-9]+[sm]$")] = "30s"
    """Window of pending requests: at least 2 scrape intervals."""
    decoupled: Decoupled = Decoupled()
    concurrency: Concurrency = Concurrency()
    pending: Pending = Pending()


class Cpu(Values):
    """Scaling on CPU, for clusters without Prometheus: it sees neither a GPU nor a queue."""

    target_utilization: Annotated[int, Field(ge=1, le=100)] = 60
    """Percent of the CPU request."""


class ScaleUp(Values):
    """How fast replicas are added: in each period, at most the larger of `pods` and `percent`."""

    stabilization_window_seconds: Seconds = 0
    """Use the lowest recommendation of this time; 0 reacts at once."""
    pods: Annotated[int, Field(ge=1)] = 2
    """Replicas added in a period."""
    percent: Annotated[int, Field(ge=1)] = 100
    """Percent added in a period."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)] = 60
    """The period."""


class ScaleDown(Values):
    """How fast replicas are removed."""

    stabilization_window_seconds: Seconds | None = None
    """Use the highest recommendation of this time; by default max(300, 2 × coldStartSeconds)."""
    pods: Annotated[int, Field(ge=1)] = 1
    """Replicas removed in a period."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)] = 120
    """The period."""


class Behavior(Values):
    """How fast replicas are added and removed."""

    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()


class AdapterRules(Values):
    """A ConfigMap with prometheus-adapter's rules for these metrics, the same for releases with the same windows."""

    enabled: bool = True
    """Create it (mode hpa with metrics from Prometheus); give its name to the adapter as `rules.existing`."""


class Prometheus(Values):
    """Where the metrics are."""

    server_address: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    """Address that KEDA queries, such as http://prometheus-operated.monitoring:9090."""
    adapter_rules: AdapterRules = AdapterRules()


class Fallback(Values):
    """What KEDA does when Prometheus does not answer: never scale down."""

    failure_threshold: Annotated[int, Field(ge=1)] = 3
    """Failed readings in a row until the fallback counts."""
    replicas: Annotated[int, Field(ge=1)] | None = None
    """Fewest replicas meanwhile; by default max(minReplicas, 1). If there are more, they stay."""


class Keda(Values):
    """KEDA's own settings."""

    polling_interval_seconds: Annotated[int, Field(ge=1, le=600)] = 15
    """How often the triggers are read at zero replicas, or for caching."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=86400)] = 600
    """How long without load before scaling to zero, if that is allowed."""
    fallback: Fallback = Fallback()
    authentication_ref: str = ""
    """Name of an existing TriggerAuthentication for Prometheus."""
    triggers: Objects = []
    """Additional triggers."""


class ScaleToZero(Values):
    """Scaling to zero; only a signal from outside the pods can start a replica again."""

    upstream_trigger: Object = {}
    """A KEDA trigger (type and metadata) that sees the load before it reaches Triton: a gateway's request rate, a queue's length. Needed for minReplicas 0."""  # noqa: E501


class Autoscaling(Values):
    """Horizontal autoscaling."""

    mode: Mode = "off"
    """One of `off`, `hpa` (HorizontalPodAutoscaler) and `keda` (ScaledObject)."""
    min_replicas: Annotated[int, Field(ge=0)] = 2
    """Fewest replicas; 0 only with keda and scaleToZero.upstreamTrigger."""
    max_replicas: Annotated[int, Field(ge=1)] = 10
    """Most replicas."""
    cold_start_seconds: Annotated[int, Field(ge=0, le=7200)] = 180
    """Time from scale-up to a ready replica: node, image, models, warm-up. Measure it."""
    metrics: Metrics = Metrics()
    cpu: Cpu = Cpu()
    behavior: Behavior = Behavior()
    prometheus: Prometheus = Prometheus()
    keda: Keda = Keda()
    scale_to_zero: ScaleToZero = ScaleToZero()

    @model_validator(mode="after")
    def _check(self) -> Autoscaling:
        if self.mode != "off" and self.min_replicas > self.max_replicas:
            raise ValueError(
                f"autoscaling.minReplicas {self.min_replicas} exceeds autoscaling.maxReplicas {self.max_replicas}"
            )
        return self


class DisruptionBudget(Values):
    """The PodDisruptionBudget, created if there are at least two replicas."""

    enabled: bool = True
    """Create it."""
    max_unavailable: Annotated[int, Field(ge=1)] = 1
    """Replicas that a drain may remove at once; less than the fewest replicas."""
