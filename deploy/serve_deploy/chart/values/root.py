"""ChartValues: everything that can be set."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from serve_deploy.chart.values.access import (
    Compatibility,
    Gateway,
    HeadlessService,
    Ingress,
    NetworkPolicy,
    Rbac,
    Security,
    Service,
    ServiceAccount,
)
from serve_deploy.chart.values.base import Annotations, Labels, Objects, Values
from serve_deploy.chart.values.observability import Monitoring, Test, Tracing
from serve_deploy.chart.values.repository import ExternalSecret, ModelRepository, ModelSelection
from serve_deploy.chart.values.scaling import Autoscaling, DisruptionBudget
from serve_deploy.chart.values.server import (
    EngineCache,
    Gpu,
    Image,
    Lifecycle,
    MultiNode,
    Pod,
    PrePull,
    Probes,
    Resources,
    Server,
)


class ChartValues(Values):
    """All values of charts/triton."""

    model_repository: ModelRepository = ModelRepository()
    models: ModelSelection = ModelSelection()
    gpu: Gpu = Gpu()
    resources: Resources = Resources()
    replicas: Annotated[int, Field(ge=0)] = 1
    """Replicas if autoscaling.mode is off; for multi-node models, the number of groups."""
    autoscaling: Autoscaling = Autoscaling()
    image: Image = Image()
    server: Server = Server()
    engine_cache: EngineCache = EngineCache()
    probes: Probes = Probes()
    lifecycle: Lifecycle = Lifecycle()
    service: Service = Service()
    headless_service: HeadlessService = HeadlessService()
    gateway: Gateway = Gateway()
    ingress: Ingress = Ingress()
    network_policy: NetworkPolicy = NetworkPolicy()
    monitoring: Monitoring = Monitoring()
    tracing: Tracing = Tracing()
    service_account: ServiceAccount = ServiceAccount()
    external_secret: ExternalSecret = ExternalSecret()
    security: Security = Security()
    rbac: Rbac = Rbac()
    pod: Pod = Pod()
    pre_pull: PrePull = PrePull()
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    multi_node: MultiNode = MultiNode()
    compatibility: Compatibility = Compatibility()
    test: Test = Test()
    common_labels: Labels = {}
    """Labels of every object."""
    common_annotations: Annotations = {}
    """Annotations of every object."""
    name_override: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,40}$")] = ""
    """Replaces `triton` in the objects' names."""
    fullname_override: Annotated[str, Field(pattern=r"^([a-z]([-a-z0-9]{0,44}[a-z0-9])?)?$")] = ""
    """Replaces `<release>-triton`; two releases with the same name collide."""
    kube_version: Annotated[str, Field(pattern=r"^(v?1\.[0-9]+(\.[0-9]+)?)?$")] = ""
    """Kubernetes version to render for; empty means the cluster's (or that of `helm template --kube-version`)."""
    extra_objects: Objects = []
    """Additional Kubernetes objects, rendered as templates."""
    global_: Annotated[dict[str, Any], Field(alias="global")] = {}
    """Values that a parent chart shares with its subcharts; this chart ignores them."""
