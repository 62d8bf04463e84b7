"""How each family of decoders differs from Llama in what it has weights for.

To add one: enter its `model_type`, and a config.json with its published parameter count in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Family:
    """Weights besides those that every decoder has.

    `norms` are those of a layer; `query_key_norm` one for each head's dims, or for all heads; `output_bias` goes with
    the biases of attention; `biased_experts` is gpt-oss, whose experts and router have biases and whose heads sinks.
    """

    tied: bool = False
    attention_bias: Literal["never", "asked", "always"] = "never"
    output_bias: bool = False
    norms: int = 2
    query_key_norm: Literal["none", "head", "all"] = "none"
    shared_gate: bool = False
    biased_experts: bool = False


_LLAMA = Family(attention_bias="asked", output_bias=True)
_GEMMA = Family(tied=True, attention_bias="asked", output_bias=True)
_DEEPSEEK = Family(attention_bias="asked", output_bias=True)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": Family(),
    "ministral": Family(),
    "ministral3": Family(),
    "phi3": Family(),
    "granite": _LLAMA,
    "qwen2": Family(attention_bias="always"),
    "qwen3": Family(attention_bias="asked", output_bias=True, query_key_norm="head"),
    "qwen2_moe": Family(attention_bias="always", shared_gate=True),
    "qwen3_moe": Family(attention_bias="asked", output_bias=True, query_key_norm="head"),
    "mixtral": Family(),
    "gemma": _GEMMA,
    "gemma2": Family(tied=True, attention_bias="asked", output_bias=True, norms=4),
    "gemma3_text": Family(tied=True, attention_bias="asked", output_bias=True, norms=4, query_key_norm="head"),
    "olmo2": Family(attention_bias="asked", output_bias=True, query_key_norm="all"),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "gpt_oss": Family(attention_bias="always", output_bias=True, biased_experts=True),
}

# What a config.json of the family leaves out where it is transformers' default.
DEFAULTS: dict[str, dict[str, int]] = {
    "gemma3_text": {
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
        "max_position_embeddings": 131072, "sliding_window": 4096,
    },
}  # fmt: skip
