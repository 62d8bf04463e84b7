"""Bytes on each GPU of a tensor and pipeline parallel group: weights, KV cache, and what else the engine takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from serve_deploy.errors import InvalidModelError
from serve_deploy.language_models.architecture import Architecture
from serve_deploy.language_models.parameters import Parameters, count_parameters
from serve_deploy.language_models.precision import Precision

GIB = 2**30
# CUDA's own context, NCCL's buffers and CUDA graphs: not derived, and not measured here.
ASSUMED_ENGINE_BYTES = int(1.5 * GIB)
# The logits, their float32 copy and the sampler's sorted one.
_LOGITS_BYTES = 12
# What lives at once of a step: queries, keys and values, attention's output, residual, and the feed-forward's three.
_HIDDEN_COPIES, _WIDTH_COPIES = 4, 3


@dataclass(frozen=True)
class Group:
    """The GPUs that serve one copy of a model."""

    tensor_parallel: int = 1
    pipeline_parallel: int = 1

    @property
    def gpus(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel


@dataclass(frozen=True)
class ModelMemory:
    """A model's bytes; `measured_bytes` is what its files hold, None where they are not on this disk."""

    architecture: Architecture
    precision: Precision
    measured_bytes: int | None = None

    @cached_property
    def parameters(self) -> Parameters | None:
        return count_parameters(self.architecture)

    @cached_property
    def computed_bytes(self) -> int | None:
        """From the dimensions and the precision; None for a family that is not known."""
        return None if self.parameters is None else self._bytes_of(self.parameters)

    @cached_property
    def weights_bytes(self) -> int:
        """Measured where the files are here and served as they are, else computed; InvalidModelError for neither."""
        made = self.precision.quantization_origin.startswith("chosen")
        if self.measured_bytes is not None and not (made and self.computed_bytes):
            return self.measured_bytes
        if self.computed_bytes is None:
            raise InvalidModelError(
                f"the parameters of {self.architecture.name} cannot be computed: the family"
                f" '{self.architecture.model_type}' is not known here",
                hint="give the folder that contains the weights' files: their headers say how large they are",
            )
        return self.computed_bytes

    @property
    def is_measured(self) -> bool:
        """Whether `weights_bytes` comes from the files."""
        return self.measured_bytes is not None and self.weights_bytes == self.measured_bytes

    def weights_on_gpu(self, group: Group) -> int:
        """Bytes on the fullest GPU: of the heaviest pipeline stage, with what every GPU has a copy of."""
        if self.parameters is None or self.computed_bytes is None:
            return math.ceil(self.weights_bytes / group.gpus)
        counts, stage = self.parameters, self._stage_share(group)
        copies = self._copied_key_values(group)
        compressing = counts.compressing * (group.tensor_parallel - 1)
        attention = (counts.attention + copies + compressing) * self.precision.attention_bytes
        rest = (counts.matrices - counts.attention) * self.precision.weight_bytes
        matrices = (attention + rest) / group.tensor_parallel * stage
        # The first stage has the embedding, the last the head: a model of one stage has both.
        ends = counts.embedding + (counts.head if group.pipeline_parallel == 1 else 0)
        plain = ends / group.tensor_parallel + counts.small * stage
        computed = matrices + plain * self.precision.dtype_bytes
        return math.ceil(computed * self.weights_bytes / self.computed_bytes)

    def cache_on_gpu(self, tokens: int, group: Group) -> int:
        """Bytes of KV cache that one request of so many tokens takes on each GPU."""
        a = self.architecture
        windowed = a.windowed_layers * min(tokens, a.window)
        layer_tokens = (a.layers - a.windowed_layers) * tokens + windowed
        return math.ceil(layer_tokens * self._stage_share(group) * self._numbers(group) * self.precision.cache_bytes)

    @property
    def cache_bytes_per_token(self) -> int:
        """Over all layers, on one GPU, within the window where there is one."""
        return self.cache_on_gpu(1, Group())

    def engine_bytes(self, group: Group, *, sequences: int, batched_tokens: int) -> int:
        """What the engine takes besides: its assumed base, the activations of a step, and the logits."""
        a = self.architecture
        numbers = _HIDDEN_COPIES * a.hidden + _WIDTH_COPIES * a.active_width / group.tensor_parallel
        activations = batched_tokens * numbers * self.precision.dtype_bytes
        return ASSUMED_ENGINE_BYTES + int(activations) + sequences * a.vocabulary * _LOGITS_BYTES

    def explain_unshardable(self, tensor_parallel: int) -> str | None:
        """Why the weights cannot be divided over so many GPUs; None where they can."""
        a, size = self.architecture, tensor_parallel
        if a.heads % size:
            return f"{a.heads} attention heads are not divisible by {size}"
        if a.latent is None and a.kv_heads % size and size % a.kv_heads:
            return f"{a.kv_heads} KV heads can neither be divided by {size} nor be copied to {size} evenly"
        widths = {a.experts.width if a.experts else a.feed_forward}
        for width in widths:
            if width % size:
                return f"the feed-forward width {width:,} is not divisible by {size}"
            if self.precision.group > 1 and (width // size) % self.precision.group:
                return (
                    f"a share of {width // size:,} of the feed-forward width {width:,} is no multiple of the"
                    f" quantisation's group of {self.precision.group}"
                )
        return None

    def _bytes_of(self, counts: Parameters) -> int:
        plain = counts.embedding + counts.head + counts.small
        attention = counts.attention * self.precision.attention_bytes
        rest = (counts.matrices - counts.attention) * self.precision.weight_bytes
        return math.ceil(attention + rest + plain * self.precision.dtype_bytes)

    def _stage_share(self, group: Group) -> float:
        """The heaviest stage's share of the layers."""
        return math.ceil(self.architecture.layers / group.pipeline_parallel) / self.architecture.layers

    def _copied_key_values(self, group: Group) -> float:
        """Parameters of KV projections that exist more than once, because there are fewer KV heads than GPUs."""
        counts, heads = self.parameters, self.architecture.kv_heads
        if counts is None or self.architecture.latent or group.tensor_parallel <= heads:
            return 0
        return counts.key_value * (group.tensor_parallel / heads - 1)

    def _numbers(self, group: Group) -> int:
        """Numbers that a layer keeps of a token on each GPU."""
        a = self.architecture
        if a.latent:
            return a.latent.kv_rank + a.latent.rope_dim
        return 2 * max(1, a.kv_heads // group.tensor_parallel) * a.head_dim
