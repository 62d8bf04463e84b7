"""What is known of a model before it is configured, whatever serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serve_deploy.manifest import BatchingProof, StateProof
from serve_deploy.model_config.options import BackendSettings
from serve_deploy.model_config.sequence_batching import SequenceBatching
from serve_deploy.tensors.types import ModelSignature
from serve_deploy.tensors.wire import count_bytes

if TYPE_CHECKING:
    from serve_deploy.onnx.session import OpenedModel
    from serve_deploy.samples.files import Sample, Samples

# What is kept beside the model: enough to tell rows apart, and no more than a model's folder should carry.
_FEWEST_SAMPLES, _MOST_SAMPLES = 3, 32
_MOST_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Tensors, batching, samples, the file's own metadata, and what serves it.

    Where Triton keeps a state, `sequences` says how, samples are without it, `state_shapes` are what each request then
    has beside a sample, and `state_files` what stands in the model's folder.
    """

    signature: ModelSignature
    batching: BatchingProof
    samples: Samples = ()
    samples_are_generated: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    backend: BackendSettings = field(default_factory=BackendSettings)
    sequences: SequenceBatching | None = None
    state_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    state_files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """The shapes of all inputs in each sample."""
        return [{**self.state_shapes, **{name: array.shape for name, array in each.items()}} for each in self.samples]

    @property
    def hidden(self) -> frozenset[str]:
        """The inputs and outputs that no client sees."""
        return self.sequences.served_by_triton if self.sequences else frozenset()


@dataclass(frozen=True, kw_only=True)
class ModelAnalysis(Findings):
    """Findings on an ONNX model; `returned` has the shapes that the first sample's outputs really had.

    `state` is what was proven of its sequences, where Triton keeps its state.
    """

    opened: OpenedModel
    returned: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    state: StateProof | None = None


def keep_samples(samples: Samples, *, fewest: int = _FEWEST_SAMPLES) -> Samples:
    """The first samples: at most 32 of them, and beyond the fewest at most 8 MB."""
    kept: list[Sample] = []
    size = 0
    for sample in samples[:_MOST_SAMPLES]:
        size += sum(map(count_bytes, sample.values()))
        if len(kept) >= fewest and size > _MOST_BYTES:
            break
        kept.append(sample)
    return tuple(kept)
