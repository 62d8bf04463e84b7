"""What config.json says, and what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from checkpoints import NAMES, read_config
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import InvalidModelError, ServeError
from serve_deploy.language_models.architecture import read_architecture
from serve_deploy.language_models.memory import Group, ModelMemory
from serve_deploy.language_models.precision import read_precision


@pytest.mark.parametrize(
    ("scaling", "context"),
    [
        (None, 32768),
        ({"type": "linear", "factor": 4.0}, 131072),
        ({"rope_type": "dynamic", "factor": 2.0}, 65536),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}, 32768),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 32768),
        ({"rope_type": "default", "rope_theta": 10000.0}, 32768),
    ],
)
def test_context_follows_the_scaling_of_positions(scaling: dict[str, Any] | None, context: int) -> None:
    """Linear and dynamic scaling lengthen it; yarn's and Llama 3's positions are scaled already."""
    architecture = read_architecture(read_config("mistral-7b-v0.3", rope_scaling=scaling))
    assert (architecture.context, architecture.usual_context) == (context, context)


def test_context_of_longrope_is_usually_the_original_one() -> None:
    """As vLLM serves it unless a longer one is asked for."""
    architecture = read_architecture(read_config("phi-3-mini-128k"))
    assert (architecture.context, architecture.usual_context) == (131072, 4096)


def test_gemma_3_is_read_from_its_text_config() -> None:
    """Whose defaults are left out, and whose context is scaled already."""
    architecture = read_architecture(read_config("gemma-3-12b"))
    found = architecture.context, architecture.vocabulary, architecture.head_dim, architecture.tied
    assert found == (131072, 262208, 256, True)
    assert (architecture.window, architecture.windowed_layers) == (1024, 40)
    assert architecture.encoder == "vision_config"


@pytest.mark.parametrize(
    ("name", "changes", "window"),
    [
        ("mistral-7b-v0.3", {"sliding_window": 4096}, (4096, 32)),
        ("mistral-7b-v0.3", {"sliding_window": 65536}, (0, 0)),
        ("qwen2.5-7b", {"sliding_window": 4096}, (0, 0)),
        ("qwen2.5-7b", {"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 20}, (4096, 8)),
        ("gemma-2-9b", {}, (4096, 21)),
        ("gpt-oss-20b", {}, (128, 12)),
    ],
)
def test_layers_with_a_sliding_window_are_counted(name: str, changes: dict[str, Any], window: tuple[int, int]) -> None:
    """By the families' rules; a window as long as the context is none."""
    architecture = read_architecture(read_config(name, **changes))
    assert (architecture.window, architecture.windowed_layers) == window


def test_what_is_left_out_has_its_default() -> None:
    """KV heads are all heads, and the head's dims are the hidden size's share."""
    architecture = read_architecture(read_config("llama-3.1-8b", num_key_value_heads=None, head_dim=None))
    assert (architecture.kv_heads, architecture.head_dim) == (32, 128)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"max_position_embeddings": None}, "the context is not known"),
        ({"is_encoder_decoder": True}, "an encoder with a decoder"),
        ({"layer_types": ["linear_attention", "full_attention"]}, "a state of their own"),
        ({"mamba_d_state": 16}, "a state of their own"),
    ],
)
def test_what_the_arithmetic_does_not_cover_is_refused(changes: dict[str, Any], words: str) -> None:
    """In words, rather than with wrong numbers."""
    with pytest.raises(InvalidModelError, match=words):
        read_architecture(read_config("llama-3.1-8b", **changes))


@given(
    name=st.sampled_from(NAMES),
    key=st.sampled_from([
        "head_dim", "hidden_size", "kv_lora_rank", "layer_types", "max_position_embeddings", "n_routed_experts",
        "num_attention_heads", "num_key_value_heads", "num_hidden_layers", "quantization_config", "rope_scaling",
        "sliding_window", "text_config", "torch_dtype", "vocab_size", "intermediate_size", "mlp_only_layers",
    ]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
            st.sampled_from(["factor", "type", "rope_type", "bits", "quant_method", "config_groups"]), inner, max_size=3
        ),
        max_leaves=4,
    ),
)  # fmt: skip
def test_a_value_of_any_kind_is_read_or_refused_in_words(name: str, key: str, value: Any) -> None:
    """No config.json ends in a traceback."""
    config = {**read_config(name), key: value}
    try:
        memory = ModelMemory(read_architecture(config), read_precision(config, "vllm"))
        assert memory.cache_on_gpu(1000, Group(8)) >= 0
        assert memory.weights_on_gpu(Group()) >= 0
    except ServeError:
        pass
