"""How requests reach the replicas."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_deploy.chart.values.base import DnsLabel, Object, Objects, Port, Values


class Service(Values):
    """The Service for clients."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Service type."""
    annotations: dict[str, str] = {}
    """Annotations, such as a cloud's load balancer settings."""
    http_port: Port = 8000
    """Port of HTTP."""
    grpc_port: Port = 8001
    """Port of gRPC."""
    load_balancer_class: str = ""
    """Load balancer class."""
    load_balancer_source_ranges: list[str] = []
    """Client addresses that may connect."""
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    """Where cluster traffic may go."""
    session_affinity: Literal["None", "ClientIP"] = "None"
    """Client affinity; stateful sequences need it where clients use several connections."""


class HeadlessService(Values):
    """A headless Service: gRPC clients see every replica and balance over them themselves."""

    enabled: bool = True
    """Make it; clients use dns:///<name>-headless:8001 with round_robin."""


class IngressHost(Values):
    """A host and its path."""

    host: str
    """Host name."""
    path: str = "/"
    """Path prefix."""


class Ingress(Values):
    """An Ingress for HTTP."""

    enabled: bool = False
    """Make it."""
    class_name: str = ""
    """IngressClass."""
    annotations: dict[str, str] = {}
    """Annotations of your ingress controller."""
    hosts: list[IngressHost] = []
    """Hosts; at least one."""
    tls: Objects = []
    """IngressTLS objects."""
    backend: Literal["http", "grpc"] = "http"
    """The port it leads to; for grpc your controller needs an annotation of its own."""


class Canary(Values):
    """A second release that gets a share of the requests."""

    service: DnsLabel = ""
    """Service of the second release (its ports are this one's)."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Its share in percent; this release gets the rest."""


class Route(Values):
    """A route of the Gateway API."""

    enabled: bool = False
    """Make it."""
    hostnames: list[str] = []
    """Hostnames; empty takes the Gateway's."""
    timeout_seconds: Annotated[int, Field(ge=0)] = 0
    """Request timeout of an HTTPRoute; 0 leaves it to the Gateway."""
    annotations: dict[str, str] = {}
    """Annotations."""


class Gateway(Values):
    """Routes of the Gateway API (CRDs needed)."""

    parent_refs: list[Object] = []
    """Gateways to attach to (ParentReference objects); at least one where a route is on."""
    http_route: Route = Route()
    grpc_route: Route = Route()
    canary: Canary = Canary()


class Compatibility(Values):
    """Protocols of managed platforms, served in addition to Triton's own."""

    vertex_ai: bool = False
    """Serve Vertex AI's prediction protocol."""
    vertex_ai_default_model: str = ""
    """Model that Vertex AI requests without a redirect header go to."""
    sage_maker: bool = False
    """Serve SageMaker's protocol (/ping, /invocations)."""
    sage_maker_default_model: str = ""
    """SAGEMAKER_TRITON_DEFAULT_MODEL_NAME."""
    sage_maker_multi_model: bool = False
    """SAGEMAKER_MULTI_MODEL: load and unload models by SageMaker's own API."""
    port: Port = 8080
    """Port of that protocol."""
