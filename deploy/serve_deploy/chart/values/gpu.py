"""GPUs, and models too big for one node."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_deploy.chart.gpu_profiles import CLOUDS, PROFILES
from serve_deploy.chart.values.base import Quantity, Values

ProfileName = Literal["", *PROFILES]  # type: ignore[valid-type]
CloudName = Literal["", *CLOUDS]  # type: ignore[valid-type]


class Gpu(Values):
    """Which GPU a replica gets; empty profile and count 0 is a CPU."""

    profile: ProfileName = ""
    """GPU by name; with `cloud` it gives node affinity, tolerations, resource name and runtime class."""
    cloud: CloudName = ""
    """Where the cluster runs. Empty matches the GPU by NVIDIA's node label, which exists only once a node does: a pool that scales from zero needs the cloud's own label."""  # noqa: E501
    count: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs (or MIG slices) a replica; 0 means 1 where a profile is set, else none."""
    mig: Annotated[str, Field(pattern=r"^([1-7]g\.[0-9]+gb)?$")] = ""
    """MIG slice, such as 3g.40gb."""
    mig_strategy: Literal["mixed", "single"] = "mixed"
    """How the device plugin names slices: a resource for each size, or nvidia.com/gpu."""
    resource_name: str = ""
    """Resource name in place of the derived one."""
    runtime_class_name: str = "auto"
    """RuntimeClass; `auto` is `nvidia` on premises and none in a cloud, empty is none."""


class MultiNode(Values):
    """One model over several nodes: a LeaderWorkerSet (CRD needed) in place of the Deployment, scaled by group."""

    enabled: bool = False
    """Switch it on; needs gpu.profile or gpu.count."""
    backend: Literal["vllm", "tensorrtllm"] = "vllm"
    """Triton backend that spans the group: vLLM over Ray, or TensorRT-LLM over MPI."""
    tensor_parallel: Annotated[int, Field(ge=1)] = 8
    """Tensor parallel size, as in the model's own configuration."""
    pipeline_parallel: Annotated[int, Field(ge=1)] = 2
    """Pipeline parallel size, as in the model's own configuration."""
    shared_memory: Quantity = "16Gi"
    """Size of /dev/shm of each pod: NCCL needs far more than a single-node server."""
    ssh_secret: str = ""
    """For TensorRT-LLM: existing Secret with `id_ed25519` and `id_ed25519.pub`, by which the leader's mpirun starts ranks on the workers."""  # noqa: E501
    network_resource: str = ""
    """Extended resource of an RDMA network that each pod needs, such as vpc.amazonaws.com/efa."""
    network_count: Annotated[int, Field(ge=0)] = 0
    """How many of it."""
    exclusive_topology: str = ""
    """Node label within which one group stays alone, such as a NVLink or rack domain."""
