"""Bytes on each GPU of a group."""

from __future__ import annotations

import pytest
from checkpoints import NAMES, model_memory
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import InvalidModelError
from serve_deploy.language_models.memory import Group

GROUPS = st.builds(Group, st.sampled_from([1, 2, 4, 8]), st.integers(1, 8))


@pytest.mark.parametrize("name", NAMES)
def test_one_gpu_has_all_weights(name: str) -> None:
    """To the byte."""
    memory = model_memory(name)
    assert memory.weights_on_gpu(Group()) == pytest.approx(memory.weights_bytes, abs=2)


@given(name=st.sampled_from(NAMES), group=GROUPS)
def test_a_group_holds_the_weights_at_least_once(name: str, group: Group) -> None:
    """What is copied to every GPU comes on top, and no GPU has more than one alone."""
    memory = model_memory(name)
    each = memory.weights_on_gpu(group)
    assert each * group.gpus >= 0.999 * memory.weights_bytes - memory.parameters.small * 2  # type: ignore[union-attr]
    assert each <= memory.weights_on_gpu(Group()) + 1


@given(name=st.sampled_from(NAMES), group=GROUPS, tokens=st.integers(1, 200_000))
def test_longer_requests_never_take_less_cache(name: str, group: Group, tokens: int) -> None:
    """Nor do they take more a token than the first."""
    memory = model_memory(name)
    one, more = memory.cache_on_gpu(tokens, group), memory.cache_on_gpu(tokens + 1, group)
    assert one <= more <= (tokens + 1) * (memory.cache_on_gpu(1, group) + 1)


def test_kv_heads_are_copied_where_there_are_fewer_than_gpus() -> None:
    """Qwen2.5-7B has 4: on 2 GPUs each holds half of the cache, on 4 and more one head."""
    memory = model_memory("qwen2.5-7b")
    assert [memory.cache_on_gpu(1000, Group(size)) for size in (1, 2, 4)] == [57_344_000, 28_672_000, 14_336_000]
    llama = model_memory("llama-3.1-8b")
    assert llama.cache_on_gpu(1000, Group(16)) == llama.cache_on_gpu(1000, Group(8))
    assert llama.weights_on_gpu(Group(16)) * 16 > llama.weights_on_gpu(Group(8)) * 8


def test_a_latent_cache_is_on_every_gpu() -> None:
    """More GPUs in a tensor-parallel group do not make it smaller; stages do."""
    memory = model_memory("deepseek-v3")
    assert memory.cache_on_gpu(1000, Group(8)) == memory.cache_on_gpu(1000, Group(1)) == 70_272_000
    assert memory.cache_on_gpu(1000, Group(8, 2)) == 70_272_000 * 31 // 61


def test_windowed_layers_keep_only_the_window() -> None:
    """Gemma 2: 21 of 42 layers hold at most 4,096 tokens."""
    memory = model_memory("gemma-2-9b")
    token = memory.cache_on_gpu(1, Group())
    assert memory.cache_on_gpu(8192, Group()) == token * (8192 + 4096) // 2


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("qwen2.5-7b", 8, "28 attention heads are not divisible by 8"),
        ("qwen2.5-7b", 7, "4 KV heads can neither be divided by 7"),
        ("qwen2.5-7b-awq", 4, None),
        ("mixtral-8x7b", 8, None),
        ("deepseek-v3", 16, None),
        ("deepseek-v3", 32, "a share of 64 of the feed-forward width 2,048 is no multiple"),
    ],
)
def test_sizes_that_the_model_does_not_allow_are_explained(name: str, size: int, reason: str | None) -> None:
    """Heads, KV heads, feed-forward and the quantisation's groups must all be divisible."""
    assert (model_memory(name).explain_unshardable(size) or "").startswith(reason or "")
    assert (model_memory(name).explain_unshardable(size) is None) == (reason is None)


def test_measured_bytes_replace_computed_ones() -> None:
    """Unless the engine makes others of them."""
    assert model_memory("llama-3.1-8b", measured=17_000_000_000).weights_bytes == 17_000_000_000
    made = model_memory("llama-3.1-8b", measured=16_060_522_496, quantization="fp8")
    assert made.weights_bytes < 9.2e9
    assert not made.is_measured


def test_an_unknown_family_needs_its_files() -> None:
    """With them their size stands; without them nothing is guessed."""
    from checkpoints import read_config

    from serve_deploy.language_models.architecture import read_architecture
    from serve_deploy.language_models.memory import ModelMemory
    from serve_deploy.language_models.precision import read_precision

    config = read_config("llama-3.1-8b", model_type="nobody")
    architecture, precision = read_architecture(config), read_precision(config, "vllm")
    assert ModelMemory(architecture, precision, 5_000).weights_on_gpu(Group(2)) == 2_500
    with pytest.raises(InvalidModelError, match="'nobody' is not known"):
        _ = ModelMemory(architecture, precision).weights_bytes
