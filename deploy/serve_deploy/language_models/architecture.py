"""A decoder's dimensions, as its checkpoint's config.json says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.language_models.config_errors import wrong_kinds
from serve_deploy.language_models.families import DEFAULTS, FAMILIES, Family

Config = Mapping[str, Any]
# What a layer that keeps no plain KV cache is called in `layer_types`, or gives a config of its own.
_STATE_MARKS = ("mamba", "ssm", "linear_attention", "linear_attn", "recurrent", "rwkv", "conv_L_cache")
_WINDOWED = "sliding_attention"
_IS = "it must be the config.json of a decoder, as transformers writes it"


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts: how many, how many of them a token takes, and their width.

    `shared_width` is the width that every token takes besides, `dense_layers` how many layers have no experts.
    """

    count: int
    per_token: int
    width: int
    shared_width: int = 0
    dense_layers: int = 0


@dataclass(frozen=True, kw_only=True)
class Latent:
    """Multi-head latent attention (DeepSeek): a layer caches one vector of `kv_rank + rope_dim` numbers a token."""

    kv_rank: int
    query_rank: int | None
    rope_dim: int
    nope_dim: int
    value_dim: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A decoder's dimensions; `family` is None where its parameters cannot be computed.

    `windowed_layers` hold at most `window` tokens of KV cache. `context` is the longest, `usual_context` what is served
    by default, for the reason in `context_origin`.
    """

    name: str
    model_type: str
    family: Family | None
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    context: int
    usual_context: int
    context_origin: str
    tied: bool
    attention_bias: bool = False
    mlp_bias: bool = False
    experts: Experts | None = None
    latent: Latent | None = None
    window: int = 0
    windowed_layers: int = 0
    encoder: str = ""

    @property
    def active_width(self) -> int:
        """The feed-forward width that one token takes."""
        experts = self.experts
        return experts.per_token * experts.width + experts.shared_width if experts else self.feed_forward


def read_architecture(config: Config) -> Architecture:
    """Read a checkpoint's config.json; InvalidModelError where it is none of a decoder, or a dimension is missing."""
    with wrong_kinds():
        return _read(config)


def _read(config: Config) -> Architecture:
    text = config.get("text_config") or config.get("llm_config") or config
    text = {**DEFAULTS.get(str(text.get("model_type")), {}), **text}
    model_type = str(text.get("model_type") or config.get("model_type") or "")
    named = (config.get("architectures") or text.get("architectures") or [model_type or "unknown"])[0]
    _require_decoder(config, text, str(named))
    family = FAMILIES.get(model_type)
    heads, hidden = _number(text, "num_attention_heads"), _number(text, "hidden_size")
    head_dim = _number(text, "head_dim") if text.get("head_dim") is not None else hidden // heads
    kv_heads = _number(text, "num_key_value_heads") if text.get("num_key_value_heads") is not None else heads
    feed_forward = _number(text, "intermediate_size") if text.get("intermediate_size") is not None else 4 * hidden
    layers = _number(text, "num_hidden_layers")
    context, usual_context, origin = _context(text)
    window, windowed = _window(text, layers, model_type, context)
    biased = {"always": True, "never": False, "asked": bool(text.get("attention_bias"))}
    return Architecture(
        name=str(named),
        model_type=model_type,
        family=family,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        feed_forward=feed_forward,
        vocabulary=_number(text, "vocab_size"),
        context=context,
        usual_context=usual_context,
        context_origin=origin,
        tied=_is_tied(config, text, family),
        attention_bias=bool(family and biased[family.attention_bias]),
        mlp_bias=bool(text.get("mlp_bias")),
        experts=_experts(text, layers),
        latent=_latent(text),
        window=window,
        windowed_layers=windowed,
        encoder=next((key for key in ("vision_config", "audio_config", "visual") if config.get(key)), ""),
    )


def _require_decoder(config: Config, text: Config, name: str) -> None:
    if config.get("is_encoder_decoder"):
        raise InvalidModelError(f"{name} is an encoder with a decoder, which this memory arithmetic does not cover")
    kinds = [*text, *map(str, text.get("layer_types") or ())]
    marks = {mark for mark in _STATE_MARKS for kind in kinds if mark in kind}
    if marks:
        raise InvalidModelError(
            f"{name} has layers with a state of their own ({', '.join(sorted(marks))}): what they cache is not known",
            hint="write model.json by hand, and measure: vLLM logs the memory of its cache at the start",
        )


def _number(text: Config, key: str) -> int:
    value = text.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        said = "is missing" if value is None else f"is {value}"
        raise InvalidModelError(f"config.json: {key} {said}", hint=_IS)
    return value


def _context(text: Config) -> tuple[int, int, str]:
    """The longest context, the one to serve by default, and where they come from, as vLLM 0.33 derives them."""
    plain = int(text.get("max_position_embeddings") or 0)
    if not plain:
        raise InvalidModelError("config.json: max_position_embeddings is missing: the context is not known", hint=_IS)
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    kind, factor = scaling.get("rope_type") or scaling.get("type") or "default", scaling.get("factor")
    if kind in ("linear", "dynamic") and factor and not str(text.get("model_type")).startswith("gemma3"):
        scaled = int(plain * factor)
        return scaled, scaled, f"{plain:,} positions × {factor:g}, scaled by {kind}"
    original = text.get("original_max_position_embeddings") or scaling.get("original_max_position_embeddings")
    if kind in ("longrope", "su") and original:
        return (
            plain,
            int(original),
            f"positions without LongRoPE, which allows {plain:,} but answers short ones worse",
        )
    return plain, plain, "max_position_embeddings in config.json"


def _window(text: Config, layers: int, model_type: str, context: int) -> tuple[int, int]:
    """The sliding window and how many layers have it; 0 and 0 where every layer sees the whole context."""
    window = int(text.get("sliding_window") or 0)
    if not window or window >= context or text.get("use_sliding_window") is False:
        return 0, 0
    if kinds := text.get("layer_types"):
        windowed = sum(kind == _WINDOWED for kind in kinds)
    elif model_type in ("gemma2", "gpt_oss"):
        windowed = (layers + 1) // 2
    elif pattern := (text.get("sliding_window_pattern") or (6 if model_type.startswith("gemma3") else 0)):
        windowed = layers - layers // int(pattern)
    elif "max_window_layers" in text:
        windowed = max(0, layers - int(text["max_window_layers"])) if text.get("use_sliding_window") else 0
    else:
        windowed = layers
    return (window, windowed) if windowed else (0, 0)


def _is_tied(config: Config, text: Config, family: Family | None) -> bool:
    default = family.tied if family else False
    for level in (text, config):
        if isinstance(level.get("tie_word_embeddings"), bool):
            return bool(level["tie_word_embeddings"])
    return default


def _experts(text: Config, layers: int) -> Experts | None:
    keys = ("num_local_experts", "num_experts", "n_routed_experts")
    count = next((int(text[key]) for key in keys if text.get(key)), 0)
    if count < 2:
        return None
    width = int(text.get("moe_intermediate_size") or _number(text, "intermediate_size"))
    shared = int(text.get("n_shared_experts") or 0) * width or int(text.get("shared_expert_intermediate_size") or 0)
    step = int(text.get("decoder_sparse_step") or text.get("moe_layer_freq") or 1)
    only_dense = {int(layer) for layer in text.get("mlp_only_layers") or ()} | set(
        range(int(text.get("first_k_dense_replace") or 0))
    )
    offset = 1 if "decoder_sparse_step" in text else 0
    dense = sum(layer in only_dense or (layer + offset) % step != 0 for layer in range(layers))
    per_token = int(text.get("num_experts_per_tok") or text.get("experts_per_token") or 1)
    return Experts(count=count, per_token=per_token, width=width, shared_width=shared, dense_layers=dense)


def _latent(text: Config) -> Latent | None:
    if not text.get("kv_lora_rank"):
        return None
    return Latent(
        kv_rank=_number(text, "kv_lora_rank"),
        query_rank=int(text["q_lora_rank"]) if text.get("q_lora_rank") else None,
        rope_dim=_number(text, "qk_rope_head_dim"),
        nope_dim=_number(text, "qk_nope_head_dim"),
        value_dim=_number(text, "v_head_dim"),
    )
