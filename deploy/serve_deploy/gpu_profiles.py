"""GPU profiles: what each GPU holds, and how it is asked for in each cloud; the chart has them as a file of its own.

Products are GPU Feature Discovery's `nvidia.com/gpu.product` labels. GKE has a label of its own; EKS, AKS and OKE are
matched by instance type, since a provider's label is all that an autoscaler knows of a node that does not exist yet.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from serve_deploy.errors import UsageError

_NOT_IN_THE_CHART = ("usable_gib", "compute_capability", "node_gpus")
CLOUDS = ("gke", "eks", "aks", "oke", "onprem")
_G = ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
_G_LARGE = (*_G, "24xlarge", "48xlarge")


@dataclass(frozen=True, kw_only=True)
class GpuProfile:
    """A GPU: memory in GB, MIG slices as name → how many one GPU makes, and its names in each cloud.

    `usable_gib` is what CUDA has of that memory (total capacity, as PyTorch's errors say it; ECC on), which language
    models are fitted into; `node_gpus` how many of it a server commonly has.
    """

    memory_gb: int
    usable_gib: float
    compute_capability: str
    products: tuple[str, ...]
    architecture: str = "amd64"
    gke: tuple[str, ...] = ()
    eks: tuple[str, ...] = ()
    aks: tuple[str, ...] = ()
    oke: tuple[str, ...] = ()
    mig: dict[str, int] = field(default_factory=dict)
    node_gpus: int = 8

    @property
    def usable_bytes(self) -> int:
        """What CUDA has of the memory, in bytes."""
        return int(self.usable_gib * 2**30)

    def clouds(self) -> tuple[str, ...]:
        """Clouds that offer this GPU; on premises always."""
        return tuple(cloud for cloud in CLOUDS if cloud == "onprem" or getattr(self, cloud))


def _types(family: str, sizes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{family}.{size}" for size in sizes)


_MIG_A100_40 = {"1g.5gb": 7, "2g.10gb": 3, "3g.20gb": 2, "7g.40gb": 1}
_MIG_80 = {"1g.10gb": 7, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "7g.80gb": 1}

PROFILES: dict[str, GpuProfile] = {
    "t4": GpuProfile(
        memory_gb=16,
        usable_gib=14.5,
        compute_capability="7.5",
        products=("Tesla-T4",),
        gke=("nvidia-tesla-t4",),
        eks=_types("g4dn", (*_G, "metal")),
        aks=tuple(f"Standard_NC{cores}as_T4_v3" for cores in (4, 8, 16, 64)),
    ),
    "a10": GpuProfile(
        memory_gb=24,
        usable_gib=22.0,
        compute_capability="8.6",
        products=("NVIDIA-A10",),
        aks=("Standard_NV36ads_A10_v5", "Standard_NV72ads_A10_v5"),
        oke=("VM.GPU.A10.1", "VM.GPU.A10.2"),
    ),
    "a10g": GpuProfile(
        memory_gb=24, usable_gib=22.0, compute_capability="8.6", products=("NVIDIA-A10G",), eks=_types("g5", _G_LARGE)
    ),
    "a30": GpuProfile(
        memory_gb=24,
        usable_gib=23.5,
        compute_capability="8.0",
        products=("NVIDIA-A30",),
        mig={"1g.6gb": 4, "2g.12gb": 2, "4g.24gb": 1},
    ),
    "a100-40": GpuProfile(
        memory_gb=40,
        usable_gib=39.4,
        compute_capability="8.0",
        products=("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"),
        gke=("nvidia-tesla-a100",),
        eks=("p4d.24xlarge",),
        aks=("Standard_ND96asr_v4",),
        oke=("BM.GPU4.8",),
        mig=_MIG_A100_40,
    ),
    "a100-80": GpuProfile(
        memory_gb=80,
        usable_gib=79.1,
        compute_capability="8.0",
        products=("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"),
        gke=("nvidia-a100-80gb",),
        eks=("p4de.24xlarge",),
        aks=(*(f"Standard_NC{cores}ads_A100_v4" for cores in (24, 48, 96)), "Standard_ND96amsr_A100_v4"),
        oke=("BM.GPU.A100-v2.8",),
        mig=_MIG_80,
    ),
    "l4": GpuProfile(
        memory_gb=24,
        usable_gib=22.0,
        compute_capability="8.9",
        products=("NVIDIA-L4",),
        gke=("nvidia-l4",),
        eks=_types("g6", _G_LARGE),
    ),
    "l40": GpuProfile(memory_gb=48, usable_gib=44.4, compute_capability="8.9", products=("NVIDIA-L40",)),
    "l40s": GpuProfile(
        memory_gb=48,
        usable_gib=44.4,
        compute_capability="8.9",
        products=("NVIDIA-L40S",),
        eks=_types("g6e", _G_LARGE),
        oke=("BM.GPU.L40S-NC.4",),
    ),
    "h100-pcie": GpuProfile(
        memory_gb=80, usable_gib=79.1, compute_capability="9.0", products=("NVIDIA-H100-PCIe",), mig=_MIG_80
    ),
    "h100": GpuProfile(
        memory_gb=80,
        usable_gib=79.1,
        compute_capability="9.0",
        products=("NVIDIA-H100-80GB-HBM3",),
        gke=("nvidia-h100-80gb", "nvidia-h100-mega-80gb"),
        eks=("p5.48xlarge",),
        aks=("Standard_ND96isr_H100_v5",),
        oke=("BM.GPU.H100.8",),
        mig=_MIG_80,
    ),
    "h100-nvl": GpuProfile(
        memory_gb=94,
        usable_gib=93.0,
        compute_capability="9.0",
        products=("NVIDIA-H100-NVL",),
        aks=("Standard_NC40ads_H100_v5", "Standard_NC80adis_H100_v5"),
        mig={"1g.12gb": 7, "3g.47gb": 2, "7g.94gb": 1},
    ),
    "h200": GpuProfile(
        memory_gb=141,
        usable_gib=139.8,
        compute_capability="9.0",
        products=("NVIDIA-H200", "NVIDIA-H200-NVL"),
        gke=("nvidia-h200-141gb",),
        eks=("p5e.48xlarge", "p5en.48xlarge"),
        aks=("Standard_ND96isr_H200_v5",),
        oke=("BM.GPU.H200.8",),
        mig={"1g.18gb": 7, "1g.35gb": 4, "3g.71gb": 2, "7g.141gb": 1},
    ),
    "gh200": GpuProfile(
        memory_gb=96,
        usable_gib=94.5,
        compute_capability="9.0",
        products=("NVIDIA-GH200-480GB",),
        architecture="arm64",
        node_gpus=1,
        mig={"1g.12gb": 7, "3g.48gb": 2},
    ),
    "b200": GpuProfile(
        memory_gb=180,
        usable_gib=178.3,
        compute_capability="10.0",
        products=("NVIDIA-B200",),
        gke=("nvidia-b200",),
        eks=("p6-b200.48xlarge",),
        oke=("BM.GPU.B200.8",),
        mig={"1g.23gb": 7, "3g.90gb": 2, "7g.180gb": 1},
    ),
}


def find_profile(name: str, *, cloud: str = "") -> GpuProfile:
    """Return a profile; UsageError names the ones that exist where the GPU or the cloud does not."""
    profile = PROFILES.get(name)
    if profile is None:
        raise UsageError(f"unknown GPU profile '{name}'", hint=f"known: {', '.join(PROFILES)}")
    if cloud and cloud not in CLOUDS:
        raise UsageError(f"unknown cloud '{cloud}'", hint=f"known: {', '.join(CLOUDS)}")
    if cloud and cloud not in profile.clouds():
        raise UsageError(f"{cloud} does not offer {name}", hint=f"{name} is known in {', '.join(profile.clouds())}")
    return profile


def profiles_document() -> dict[str, Any]:
    """Return the profiles as plain data, as the chart needs them: only the clouds that offer the GPU."""
    document: dict[str, Any] = {}
    for name, profile in PROFILES.items():
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(profile).items()}
        document[name] = {key: value for key, value in values.items() if value and key not in _NOT_IN_THE_CHART}
    return document
