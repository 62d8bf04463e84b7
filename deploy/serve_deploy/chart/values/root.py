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
from serve_deploy.chart.values.observability import Monitoring, Test
from serve_deploy.chart.values.repository import ExternalSecret, ModelRepository, ModelSelection
from serve_deploy.chart.values.scaling import Autoscaling, DisruptionBudget
from serve_deploy.chart.values.server import Gpu, Image, Lifecycle, MultiNode, Pod, Probes, Resources, Server


class ChartValues(Values):
    """All values of charts/triton."""

    global_: Annotated[dict[str, Any], Field(alias="global")] = {}
    """Values that a parent chart shares with its subcharts; this chart ignores them."""
    name_override: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,40}$")] = ""
    """Replaces `triton` in the objects' names."""
    fullname_override: Annotated[str, Field(pattern=r"^([a-z]([-a-z0-9]{0,44}[a-z0-9])?)?$")] = ""
    """Replaces `<release>-triton`; two releases with the same name collide."""
    kube_version: Annotated[str, Field(pattern=r"^(v?1\.[0-9]+(\.[0-9]+)?)?$")] = ""
    """Kubernetes version to render for; empty means the cluster's (or that of `helm template --kube-version`)."""
    common_labels: Labels = {}
    """Labels of every object."""
    common_annotations: Annotations = {}
    """Annotations of every object."""
    image: Image = Image()
    model_repository: ModelRepository = ModelRepository()
    models: ModelSelection = ModelSelection()
    server: Server = Server()
    replicas: Annotated[int, Field(ge=0)] = 1
    """Replicas if autoscaling.mode is off; for multi-node models, the number of groups."""
    resources: Resources = Resources()
    gpu: Gpu = Gpu()
    multi_node: MultiNode = MultiNode()
    autoscaling: Autoscaling = Autoscaling()
    probes: Probes = Probes()
    lifecycle: Lifecycle = Lifecycle()
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    pod: Pod = Pod()
    service_account: ServiceAccount = ServiceAccount()
    security: Security = Security()
    network_policy: NetworkPolicy = NetworkPolicy()
    rbac: Rbac = Rbac()
    external_secret: ExternalSecret = ExternalSecret()
    service: Service = Service()
    headless_service: HeadlessService = HeadlessService()
    ingress: Ingress = Ingress()
    gateway: Gateway = Gateway()
    compatibility: Compatibility = Compatibility()
    monitoring: Monitoring = Monitoring()
    test: Test = Test()
    extra_objects: Objects = []
    """Additional Kubernetes objects, rendered as templates."""
