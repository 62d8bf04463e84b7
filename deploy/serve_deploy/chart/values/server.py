"""The container: its image, Triton's flags, and what it may use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_deploy.chart.values.base import Labels, Object, Objects, Port, Quantity, Values


class Image(Values):
    """Where Triton's container comes from."""

    repository: str = "nvcr.io/nvidia/tritonserver"
    """Image name without a tag."""
    tag: str = ""
    """Image tag; empty means `<appVersion>-py3`. For multi-node models take a `-vllm-python-py3` or `-trtllm-python-py3` image."""  # noqa: E501
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """`sha256:…`; where given it is what is pulled, and the tag is for the reader only."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet asks the registry. A tag of NVIDIA's does not move, and the image is over 10 GB."""
    pull_secrets: list[str] = []
    """Names of existing Secrets of type kubernetes.io/dockerconfigjson."""


class Ports(Values):
    """The ports that Triton listens on."""

    http: Port = 8000
    """HTTP/REST (KServe v2)."""
    grpc: Port = 8001
    """gRPC (KServe v2)."""
    metrics: Port = 8002
    """Prometheus metrics."""


class ResponseCache(Values):
    """Triton's local response cache; a model takes part when its configuration says `response_cache`."""

    size_bytes: Annotated[int, Field(ge=0)] = 0
    """Size of the cache in bytes; 0 switches it off."""


class Server(Values):
    """Triton's own settings."""

    ports: Ports = Ports()
    control_mode: Literal["auto", "none", "explicit"] = "auto"
    """Triton's model control mode; `auto` is `explicit` where models.load names models, else `none`. Polling is left out: a half-copied model would be loaded."""  # noqa: E501
    exit_on_error: bool = True
    """End Triton when a model fails to load at the start, so that the pod restarts and its log says why."""
    auto_complete: bool = True
    """Let Triton complete model configurations that leave tensors out."""
    model_config_name: str = ""
    """`--model-config-name`: use `configs/<name>.pbtxt` of each model where there is one (since 24.05). Empty means the GPU profile's name, or none on a CPU."""  # noqa: E501
    log_verbose: Annotated[int, Field(ge=0, le=9)] = 0
    """`--log-verbose`; 1 writes a line per request."""
    log_format: Literal["default", "ISO8601"] = "ISO8601"
    """Time format of log lines."""
    summary_latencies: bool = False
    """Expose p50–p99 summaries per replica; they cost throughput and cannot be aggregated over replicas."""
    grpc_max_connection_age_seconds: Annotated[int, Field(ge=0)] = 0
    """Close gRPC connections after this time, so that clients find new replicas; 0 keeps them for ever."""
    grpc_max_connection_age_grace_seconds: Annotated[int, Field(ge=1)] = 30
    """How long requests on a connection that is being closed may still take."""
    response_cache: ResponseCache = ResponseCache()
    backend_config: list[str] = []
    """Values of `--backend-config`, such as `onnxruntime,default-max-batch-size=8`."""
    extra_args: list[str] = []
    """More flags for tritonserver, as they are."""
    env: Objects = []
    """More environment variables of the container (Kubernetes EnvVar objects)."""
    env_from: Objects = []
    """More sources of environment variables (EnvFromSource objects)."""


class Resources(Values):
    """What one replica asks for. Memory limit equals its request; there is no CPU limit, since throttling ruins tail latency."""  # noqa: E501

    cpu: Quantity = "500m"
    """CPU request."""
    cpu_limit: Quantity | None = None
    """CPU limit; leave it out unless the cluster's policy demands one."""
    memory: Quantity = "1536Mi"
    """Memory request and limit, shared memory included."""
    shared_memory: Quantity = "256Mi"
    """Size of /dev/shm (the Python backend and ensembles of Python models use it)."""
    ephemeral_storage: Quantity = "2Gi"
    """Request and limit of local storage. Models from S3, GCS, Azure and http(s) are copied there: at least their size."""  # noqa: E501
    temporary: Quantity | None = None
    """Size of /tmp, the only writable folder; computed as 1Gi, or as ephemeralStorage where Triton copies models there."""  # noqa: E501


class Probes(Values):
    """When a replica counts as started, ready and alive."""

    startup_budget_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """Time a replica may take from container start until every model is loaded; afterwards it is restarted."""
    startup_period_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """How often the start-up is looked at."""
    readiness_period_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """How often readiness is looked at."""
    readiness_failure_threshold: Annotated[int, Field(ge=1, le=30)] = 3
    """Failures in a row until a replica gets no more requests."""
    liveness_period_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """How often liveness is looked at."""
    liveness_failure_threshold: Annotated[int, Field(ge=1, le=60)] = 6
    """Failures in a row until the container is restarted."""
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 3
    """Timeout of each probe."""


class RollingUpdate(Values):
    """How a rollout replaces replicas."""

    spare_capacity: bool = True
    """True starts a new replica before an old one ends (one spare GPU is needed); false ends the old one first."""


class Lifecycle(Values):
    """How a replica ends without dropping a request."""

    pre_stop_seconds: Annotated[int, Field(ge=1, le=120)] = 10
    """Sleep before SIGTERM, in which every kube-proxy and load balancer learns that the replica leaves."""
    exit_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """`--exit-timeout-secs`: how long Triton finishes what it has begun. An idle keep-alive connection uses all of it."""  # noqa: E501
    margin_seconds: Annotated[int, Field(ge=10, le=600)] = 10
    """Added to both for unloading models."""
    termination_grace_period_seconds: Annotated[int, Field(ge=1)] | None = None
    """Computed as preStopSeconds + exitTimeoutSeconds + marginSeconds; a lower value is refused."""
    min_ready_seconds: Annotated[int, Field(ge=0, le=600)] = 5
    """How long a new replica must stay ready before the rollout goes on."""
    rolling_update: RollingUpdate = RollingUpdate()


class Pod(Values):
    """What is added to every pod."""

    labels: Labels = {}
    """More labels."""
    annotations: dict[str, str] = {}
    """More annotations."""
    node_selector: Labels = {}
    """More node labels to require, beside those of the GPU profile."""
    tolerations: Objects = []
    """More tolerations, beside those of the GPU profile."""
    affinity: Object = {}
    """Affinity; a nodeAffinity here replaces that of the GPU profile."""
    topology_spread: Literal["off", "preferred", "required"] = "preferred"
    """Spread replicas over nodes and zones."""
    topology_spread_constraints: Objects = []
    """Constraints of your own in place of topologySpread."""
    priority_class_name: str = ""
    """Name of an existing PriorityClass."""
    scheduler_name: str = ""
    """Name of the scheduler, where it is not the default one."""
    init_containers: Objects = []
    """Init containers of your own; they run after the model source's."""
    sidecars: Objects = []
    """Containers beside Triton."""
    volumes: Objects = []
    """More volumes."""
    volume_mounts: Objects = []
    """More volume mounts of the Triton container."""
