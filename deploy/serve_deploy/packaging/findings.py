"""What is known of a model before it is configured, whatever serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config.options import BackendSettings
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.samples.files import Samples


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Tensors, batching, samples, the file's own metadata, and what serves it."""

    signature: ModelSignature
    batching: BatchingProof
    samples: Samples = ()
    samples_are_generated: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    backend: BackendSettings = field(default_factory=BackendSettings)
