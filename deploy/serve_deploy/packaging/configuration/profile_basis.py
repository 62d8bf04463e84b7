"""What the configurations for GPUs and for the CPU are made from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config import ConfigOptions
from serve_deploy.packaging.configuration.gpu_sizing import MemoryNeed
from serve_deploy.tensors.types import ModelSignature


@dataclass(frozen=True)
class Basis:
    """What every profile's configuration is made from; `cache_folder` is None where no engine may be kept.

    `settings` are those of config.pbtxt, with what the user asked for in `optimization`; `tuned` is what `serve tune`
    found on the profile's own machine.
    """

    signature: ModelSignature
    batching: BatchingProof
    settings: ConfigOptions
    need: MemoryNeed
    precision: str
    shapes: Sequence[Mapping[str, tuple[int, ...]]] = ()
    cache_folder: str | None = None
    batch_size_given: bool = False
    tuned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def largest_batch(self) -> int:
        """What was proven, or the smaller one that was tuned."""
        proven = self.batching.max_batch_size
        return min(proven, int(self.tuned.get("max_batch_size", proven)))
