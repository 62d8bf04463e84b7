"""Who may do what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_deploy.chart.values.base import DnsLabel, Objects, Values

RestrictedApi = Literal[
    "model-repository", "shared-memory", "statistics", "trace", "logging", "model-config", "metadata"
]


class AdminApi(Values):
    """Triton's administrative APIs, closed to clients by a header that they do not know."""

    restricted: list[RestrictedApi] = ["model-repository", "shared-memory", "statistics", "trace", "logging"]
    """API groups that need the header; empty opens all."""
    header: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "serve-admin-key"
    """Name of the header (gRPC: triton-grpc-protocol-<name>)."""
    existing_secret: DnsLabel = ""
    """Existing Secret with the header's value; without one it is each pod's UID, which only those who may read the pod know."""  # noqa: E501
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
    """Make one."""
    name: str = ""
    """Name of the one that is made, or of the existing one."""
    annotations: dict[str, str] = {}
    """Annotations for workload identity: eks.amazonaws.com/role-arn, iam.gke.io/gcp-service-account, azure.workload.identity/client-id."""  # noqa: E501
    automount_token: bool = False
    """Mount a token of the Kubernetes API; Triton needs none."""


class NetworkPolicy(Values):
    """Who may connect to the pods, and where they may connect to."""

    enabled: bool = True
    """Make it."""
    clients: Objects = []
    """NetworkPolicyPeer objects that may send requests; empty is the release's namespace, or everyone where Service, Ingress or routes lead outside."""  # noqa: E501
    metrics: Objects = []
    """NetworkPolicyPeer objects that may read metrics; empty is every namespace, since Prometheus lives in another."""
    egress: Objects = []
    """More egress rules, beside DNS, the group's own pods and (for remote model sources) the source."""
    source_ports: list[Annotated[int, Field(ge=1, le=65535)]] = [443]
    """Ports of a remote model source; add 80 for workload identity by metadata server, or 9000 for MinIO."""
