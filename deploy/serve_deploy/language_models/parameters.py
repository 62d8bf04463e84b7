"""How many parameters a decoder has, by what happens to them: quantised, sharded over GPUs, or copied to each."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.language_models.architecture import Architecture, Experts, Latent


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Counts. `matrices` are those that quantisation makes smaller, `small` norms, biases and routers.

    Of the matrices, `attention` are those of attention: of these, `key_value` are projections that are copied where
    there are fewer KV heads than GPUs, and `compressing` those of latent attention, of which every GPU has a copy.
    """

    embedding: int
    head: int
    matrices: int
    small: int
    attention: int = 0
    key_value: int = 0
    compressing: int = 0

    @property
    def total(self) -> int:
        return self.embedding + self.head + self.matrices + self.small


def count_parameters(architecture: Architecture) -> Parameters | None:
    """Count from the dimensions; None for a family that is not known."""
    family, a = architecture.family, architecture
    if family is None:
        return None
    attention, biases = _attention(a)
    key_value = 0 if a.latent else 2 * a.hidden * a.kv_heads * a.head_dim
    compressing = a.hidden * (a.latent.kv_rank + a.latent.rope_dim + (a.latent.query_rank or 0)) if a.latent else 0
    matrices = a.layers * attention
    small = a.hidden + a.layers * (biases + family.norms * a.hidden)
    sparse = a.layers - a.experts.dense_layers if a.experts else 0
    matrices += (a.layers - sparse) * 3 * a.hidden * a.feed_forward
    small += (a.layers - sparse) * (2 * a.feed_forward + a.hidden if a.mlp_bias else 0)
    if a.experts:
        matrices += sparse * 3 * a.hidden * (a.experts.count * a.experts.width + a.experts.shared_width)
        small += sparse * _router(a, a.experts)
    embedding = a.vocabulary * a.hidden
    return Parameters(
        embedding=embedding,
        head=0 if a.tied else embedding,
        matrices=matrices,
        small=small,
        attention=a.layers * attention,
        key_value=a.layers * key_value,
        compressing=a.layers * compressing,
    )


def _attention(a: Architecture) -> tuple[int, int]:
    """The matrices and the small weights of a layer's attention."""
    if a.latent:
        return _latent_attention(a, a.latent)
    queries, keys = a.heads * a.head_dim, a.kv_heads * a.head_dim
    family = a.family
    small = 0
    if a.attention_bias:
        small += queries + 2 * keys + (a.hidden if family and family.output_bias else 0)
    if family and family.query_key_norm != "none":
        small += 2 * a.head_dim if family.query_key_norm == "head" else queries + keys
    if family and family.biased_experts:
        small += a.heads
    return 2 * a.hidden * queries + 2 * a.hidden * keys, small


def _latent_attention(a: Architecture, latent: Latent) -> tuple[int, int]:
    query_dim = a.heads * (latent.nope_dim + latent.rope_dim)
    rank = latent.query_rank
    matrices = a.hidden * rank + rank * query_dim if rank else a.hidden * query_dim
    matrices += a.hidden * (latent.kv_rank + latent.rope_dim)
    matrices += latent.kv_rank * a.heads * (latent.nope_dim + latent.value_dim)
    matrices += a.heads * latent.value_dim * a.hidden
    small = latent.kv_rank + (rank or 0)
    if a.attention_bias:
        small += (rank or 0) + latent.kv_rank + latent.rope_dim + a.hidden
    return matrices, small


def _router(a: Architecture, experts: Experts) -> int:
    small = a.hidden * experts.count
    if a.family and a.family.shared_gate and experts.shared_width:
        small += a.hidden
    if a.family and a.family.biased_experts:
        small += experts.count * (1 + 2 * experts.width + a.hidden)
    return small
