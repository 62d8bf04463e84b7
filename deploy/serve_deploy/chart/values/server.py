"""The container: its image, Triton's flags, and what it may use; GPUs, and models too big for one node."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_deploy.chart.values.base import DnsLabel, Labels, Object, Objects, Port, Quantity, Values
from serve_deploy.gpu_profiles import CLOUDS, PROFILES

ProfileName = Literal["", *PROFILES]  # type: ignore[valid-type]
CloudName = Literal["", *CLOUDS]  # type: ignore[valid-type]


class Image(Values):
    """Where Triton's container comes from."""

    repository: str = "nvcr.io/nvidia/tritonserver"
    """Image name without a tag."""
    tag: str = ""
    """Image tag; empty means `<appVersion>-py3`. For multi-node models take a `-vllm-python-py3` or `-trtllm-python-py3` image."""  # noqa: E501
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """`sha256:…`; if set, it is what is pulled, and the tag is only informative."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet pulls the image. NVIDIA's tags do not move, and the image is over 10 GB."""
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
    """Triton's local response cache; used by models whose configuration enables `response_cache`."""

    size_bytes: Annotated[int, Field(ge=0)] = 0
    """Size of the cache in bytes; 0 disables it."""


class Server(Values):
    """Triton's own settings."""

    ports: Ports = Ports()
    control_mode: Literal["auto", "none", "explicit"] = "auto"
    """Triton's model control mode; `auto` is `explicit` where models.load names models, else `none`. Polling is not supported: it would load half-copied models."""  # noqa: E501
    exit_on_error: bool = True
    """Exit if a model fails to load at startup, so that the pod restarts and its log shows why."""
    auto_complete: bool = True
    """Let Triton complete model configurations that do not list their tensors."""
    model_config_name: str = ""
    """`--model-config-name`: use `configs/<name>.pbtxt` of each model that has one (since 24.05). Empty means the GPU profile's name, or none on a CPU."""  # noqa: E501
    log_verbose: Annotated[int, Field(ge=0, le=9)] = 0
    """`--log-verbose`; 1 writes a line per request."""
    log_format: Literal["default", "ISO8601"] = "ISO8601"
    """Time format of log lines."""
    summary_latencies: bool = False
    """Expose p50–p99 summaries per replica; they reduce throughput and cannot be aggregated across replicas."""
    grpc_max_connection_age_seconds: Annotated[int, Field(ge=0)] = 0
    """Close gRPC connections after this time, so that clients find new replicas; 0 keeps them forever."""
    grpc_max_connection_age_grace_seconds: Annotated[int, Field(ge=1)] = 30
    """How long requests on a closing connection may still take."""
    response_cache: ResponseCache = ResponseCache()
    backend_config: list[str] = []
    """Values of `--backend-config`, such as `onnxruntime,default-max-batch-size=8`."""
    extra_args: list[str] = []
    """Additional flags for tritonserver, passed as they are."""
    env: Objects = []
    """Additional environment variables of the container (Kubernetes EnvVar objects)."""
    env_from: Objects = []
    """Additional sources of environment variables (EnvFromSource objects)."""


class Resources(Values):
    """What one replica requests. The memory limit equals the request; there is no CPU limit, since throttling ruins tail latency."""  # noqa: E501

    cpu: Quantity = "500m"
    """CPU request."""
    cpu_limit: Quantity | None = None
    """CPU limit; set it only if the cluster's policy requires one."""
    memory: Quantity = "1536Mi"
    """Memory request and limit, shared memory included."""
    shared_memory: Quantity = "256Mi"
    """Size of /dev/shm (the Python backend and ensembles of Python models use it)."""
    ephemeral_storage: Quantity = "2Gi"
    """Request and limit of local storage. Models from S3, GCS, Azure and http(s) are copied there, so it must be at least their size."""  # noqa: E501
    temporary: Quantity | None = None
    """Size of /tmp, the only writable folder; by default 1Gi, or ephemeralStorage if Triton copies models there."""


class EngineCache(Values):
    """Where TensorRT keeps the engines that it builds; without it, those in /tmp live as long as the replica."""

    path: Annotated[str, Field(pattern=r"^((/[A-Za-z0-9._-]+)+)?$")] = ""
    """Folder to mount, the one above `trt_engine_cache_path` of the models' configurations (`serve package --engine-cache`); empty mounts none."""  # noqa: E501
    existing_claim: DnsLabel = ""
    """Name of an existing ReadWriteMany PersistentVolumeClaim that all replicas share, so that later ones build no engine. Let one replica fill it first: nothing locks its files. Empty means a folder that lives as long as the replica."""  # noqa: E501
    size: Quantity = "2Gi"
    """Size of the replica's own folder."""


class Probes(Values):
    """When a replica counts as started, ready and live."""

    startup_budget_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """Time from container start until every model is loaded; after that the container is restarted."""
    startup_period_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """How often startup is checked."""
    readiness_period_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """How often readiness is checked."""
    readiness_failure_threshold: Annotated[int, Field(ge=1, le=30)] = 3
    """Consecutive failures until a replica receives no more requests."""
    liveness_period_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """How often liveness is checked."""
    liveness_failure_threshold: Annotated[int, Field(ge=1, le=60)] = 6
    """Consecutive failures until the container is restarted."""
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 3
    """Timeout of each probe."""


class RollingUpdate(Values):
    """How a rollout replaces replicas."""

    spare_capacity: bool = True
    """true starts a new replica before stopping an old one (needs a spare GPU); false stops the old one first."""
    at_once: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^([1-9][0-9]?|100)%$")] | None = None
    """Replicas, or share of them, replaced at once; by default 25% with spare capacity and 1 without. With fewer spare GPUs than that, the rollout takes what there is."""  # noqa: E501


class Lifecycle(Values):
    """How a replica stops without dropping a request."""

    pre_stop_seconds: Annotated[int, Field(ge=1, le=120)] = 10
    """Sleep before SIGTERM, so that every kube-proxy and load balancer learns that the replica is leaving."""
    exit_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """`--exit-timeout-secs`: how long Triton may take to finish its requests. An idle keep-alive connection uses all of it."""  # noqa: E501
    margin_seconds: Annotated[int, Field(ge=10, le=600)] = 10
    """Additional time for unloading models."""
    termination_grace_period_seconds: Annotated[int, Field(ge=1)] | None = None
    """By default preStopSeconds + exitTimeoutSeconds + marginSeconds; a lower value is rejected."""
    min_ready_seconds: Annotated[int, Field(ge=0, le=600)] = 5
    """How long a new replica must stay ready before the rollout goes on."""
    rolling_update: RollingUpdate = RollingUpdate()


class Pod(Values):
    """Additions to every pod."""

    labels: Labels = {}
    """Additional labels."""
    annotations: dict[str, str] = {}
    """Additional annotations."""
    node_selector: Labels = {}
    """Additional node labels to require, besides those of the GPU profile."""
    tolerations: Objects = []
    """Additional tolerations, besides those of the GPU profile."""
    affinity: Object = {}
    """Affinity; a nodeAffinity here replaces that of the GPU profile."""
    topology_spread: Literal["off", "preferred", "required"] = "preferred"
    """Spread replicas over nodes and zones."""
    topology_spread_constraints: Objects = []
    """Your own constraints instead of topologySpread."""
    priority_class_name: str = ""
    """Name of an existing PriorityClass."""
    scheduler_name: str = ""
    """Name of the scheduler, if it is not the default one."""
    init_containers: Objects = []
    """Additional init containers; they run after those of the model source."""
    sidecars: Objects = []
    """Additional containers."""
    volumes: Objects = []
    """Additional volumes."""
    volume_mounts: Objects = []
    """Additional volume mounts of the Triton container."""


class PrePull(Values):
    """A DaemonSet that keeps the images on every node where a replica may run, so that none waits for them."""

    enabled: bool = False
    """Create it; needs gpu.profile, pod.nodeSelector or a node affinity, or it would fill every node."""
    images: list[Annotated[str, Field(min_length=1)]] = []
    """Additional images, such as the next Triton's before an upgrade; each must have the command `true`."""


class Gpu(Values):
    """Which GPU a replica gets; an empty profile and count 0 means CPU only."""

    profile: ProfileName = ""
    """GPU by name; with `cloud` it sets node affinity, tolerations, resource name and runtime class."""
    cloud: CloudName = ""
    """Where the cluster runs. Empty matches the GPU by NVIDIA's node label, which exists only once a node does: a pool that scales from zero needs the cloud's own label."""  # noqa: E501
    count: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs (or MIG slices) per replica; 0 means 1 if a profile is set, else none."""
    mig: Annotated[str, Field(pattern=r"^([1-7]g\.[0-9]+gb)?$")] = ""
    """MIG slice, such as 3g.40gb."""
    mig_strategy: Literal["mixed", "single"] = "mixed"
    """How the device plugin names slices: a resource for each size, or nvidia.com/gpu."""
    resource_name: str = ""
    """Resource name instead of the derived one."""
    runtime_class_name: str = "auto"
    """RuntimeClass; `auto` means `nvidia` on premises with the device plugin, otherwise none; empty means none."""
    device_class: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")] = ""
    """DeviceClass of Dynamic Resource Allocation (Kubernetes 1.34 and later), such as gpu.nvidia.com; empty asks the device plugin."""  # noqa: E501
    device_selectors: list[Annotated[str, Field(min_length=1)]] = []
    """CEL expressions that each device must fulfil, such as `device.attributes["gpu.nvidia.com"].profile == "1g.10gb"`."""  # noqa: E501


class MultiNode(Values):
    """One model on several nodes: a LeaderWorkerSet (CRD needed) instead of the Deployment, scaled by group."""

    enabled: bool = False
    """Enable it; needs gpu.profile or gpu.count."""
    backend: Literal["vllm", "tensorrtllm"] = "vllm"
    """Triton backend that spans the group: vLLM over Ray, or TensorRT-LLM over MPI."""
    tensor_parallel: Annotated[int, Field(ge=1)] = 8
    """Tensor parallel size, as in the model's own configuration."""
    pipeline_parallel: Annotated[int, Field(ge=1)] = 2
    """Pipeline parallel size, as in the model's own configuration."""
    shared_memory: Quantity = "16Gi"
    """Size of /dev/shm of each pod: NCCL needs far more than a single-node server."""
    ssh_secret: str = ""
    """For TensorRT-LLM: existing Secret with `id_ed25519` and `id_ed25519.pub`, which the leader's mpirun uses to start ranks on the workers."""  # noqa: E501
    network_resource: str = ""
    """Extended resource of an RDMA network that each pod needs, such as vpc.amazonaws.com/efa."""
    network_count: Annotated[int, Field(ge=0)] = 0
    """How many of these resources."""
    exclusive_topology: str = ""
    """Node label of a domain, such as NVLink or rack, that one group has to itself."""
