"""How requests reach the replicas, and who may do what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_deploy.chart.values.base import DnsLabel, Object, Objects, Port, Values

RestrictedApi = Literal[
    "model-repository", "shared-memory", "statistics", "trace", "logging", "model-config", "metadata"
]


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
    """Client affinity; stateful sequences need it if clients use several connections."""


class HeadlessService(Values):
    """A headless Service: gRPC clients see every replica and balance over them themselves."""

    enabled: bool = True
    """Create it; clients use dns:///<name>-headless:8001 with round_robin."""


class IngressHost(Values):
    """A host and its path."""

    host: str
    """Host name."""
    path: str = "/"
    """Path prefix."""


class Ingress(Values):
    """An Ingress for HTTP."""

    enabled: bool = False
    """Create it."""
    class_name: str = ""
    """IngressClass."""
    annotations: dict[str, str] = {}
    """Annotations of your ingress controller."""
    hosts: list[IngressHost] = []
    """Host names; at least one."""
    tls: Objects = []
    """IngressTLS objects."""
    backend: Literal["http", "grpc"] = "http"
    """The port it routes to; for grpc your controller needs its own annotation."""


class Canary(Values):
    """A second release that receives a share of the requests."""

    service: DnsLabel = ""
    """Service of the second release (its ports are this one's)."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """Its share in percent; this release receives the rest."""


class Route(Values):
    """A route of the Gateway API."""

    enabled: bool = False
    """Create it."""
    hostnames: list[str] = []
    """Hostnames; empty takes the Gateway's."""
    timeout_seconds: Annotated[int, Field(ge=0)] = 0
    """Request timeout of an HTTPRoute; 0 leaves it to the Gateway."""
    filters: Objects = []
    """Filters of the Gateway API, such as an ExtensionRef to your implementation's rate limit or authentication."""
    annotations: dict[str, str] = {}
    """Annotations."""


class EnvoyGateway(Values):
    """Policies of Envoy Gateway for these routes (CRDs needed)."""

    enabled: bool = False
    """Create them: each request, of gRPC too, goes to the replica with the fewest in flight."""
    requests_per_second: Annotated[int, Field(ge=0)] = 0
    """Requests that each Envoy lets through on each route in a second, the others get 429; 0 means no limit."""
    api_key_secret: DnsLabel = ""
    """Existing Secret with an API key for each client; empty lets everyone in."""
    api_key_header: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "x-api-key"
    """Header that contains the key."""


class Gateway(Values):
    """Routes of the Gateway API (CRDs needed)."""

    parent_refs: list[Object] = []
    """Gateways to attach to (ParentReference objects); at least one where a route is on."""
    http_route: Route = Route()
    grpc_route: Route = Route()
    envoy_gateway: EnvoyGateway = EnvoyGateway()
    canary: Canary = Canary()


class Compatibility(Values):
    """Protocols of managed platforms, served in addition to Triton's own."""

    vertex_ai: bool = False
    """Serve Vertex AI's prediction protocol."""
    vertex_ai_default_model: str = ""
    """Model for Vertex AI requests without a redirect header."""
    sage_maker: bool = False
    """Serve SageMaker's protocol (/ping, /invocations)."""
    sage_maker_default_model: str = ""
    """SAGEMAKER_TRITON_DEFAULT_MODEL_NAME."""
    sage_maker_multi_model: bool = False
    """SAGEMAKER_MULTI_MODEL: load and unload models by SageMaker's own API."""
    port: Port = 8080
    """Port of that protocol."""


class AdminApi(Values):
    """Triton's administrative APIs, which clients cannot call without a secret header."""

    restricted: list[RestrictedApi] = ["model-repository", "shared-memory", "statistics", "trace", "logging"]
    """API groups that need the header; empty opens all."""
    header: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "serve-admin-key"
    """Name of the header (gRPC: triton-grpc-protocol-<name>)."""
    existing_secret: DnsLabel = ""
    """Existing Secret with the header's value; without one it is each pod's UID, known only to those who may read the pod."""  # noqa: E501
    key: str = "admin-key"
    """Key in that Secret."""


class Security(Values):
    """The pod's security context: Pod Security "restricted"."""

    run_as_user: Annotated[int, Field(ge=1)] | None = 1000
    """User; 1000 is triton-server in NVIDIA's image. null leaves it to the cluster (OpenShift)."""
    run_as_group: Annotated[int, Field(ge=1)] | None = 1000
    """Group."""
    fs_group: Annotated[int, Field(ge=1)] | None = 1000
    """Group of mounted volumes."""
    admin_api: AdminApi = AdminApi()


class ServiceAccount(Values):
    """The pods' identity."""

    create: bool = True
    """Create one."""
    name: str = ""
    """Name of the ServiceAccount, created or existing."""
    annotations: dict[str, str] = {}
    """Annotations for workload identity: eks.amazonaws.com/role-arn, iam.gke.io/gcp-service-account, azure.workload.identity/client-id."""  # noqa: E501
    automount_token: bool = False
    """Mount a token of the Kubernetes API; Triton needs none."""


class NetworkPolicy(Values):
    """Who may connect to the pods, and where the pods may connect to."""

    enabled: bool = True
    """Create it."""
    clients: Objects = []
    """NetworkPolicyPeer objects that may send requests; empty is the release's namespace, or everyone where the Service, an Ingress or a route is reachable from outside."""  # noqa: E501
    metrics: Objects = []
    """NetworkPolicyPeer objects that may read metrics; empty is every namespace, since Prometheus runs in another."""
    egress: Objects = []
    """Additional egress rules, besides DNS, the group's own pods and (for remote model sources) the source."""
    source_ports: list[Annotated[int, Field(ge=1, le=65535)]] = [443]
    """Ports of a remote model source; add 80 for workload identity by metadata server, or 9000 for MinIO."""


class Subject(Values):
    """A user, group or ServiceAccount."""

    kind: Literal["User", "Group", "ServiceAccount"]
    """What it is."""
    name: Annotated[str, Field(min_length=1)]
    """Its name."""
    namespace: DnsLabel = ""
    """Namespace of a ServiceAccount; empty means the release's."""


class Viewer(Values):
    """A Role with all that `serve status`, `serve logs` and `serve deploy --wait` read."""

    create: bool = False
    """Create the Role and, with subjects, its RoleBinding; who installs the chart must hold these rights."""
    subjects: list[Subject] = []
    """Who gets the Role."""


class Rbac(Values):
    """Rights of people; the pods need none."""

    viewer: Viewer = Viewer()
