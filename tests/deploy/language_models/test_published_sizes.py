"""The arithmetic against what the models' makers published."""

from __future__ import annotations

import pytest
from checkpoints import NAMES, model_memory

# Parameters that transformers 5.24 counts in a model made from the same config.json, on its meta device.
COUNTED = {
    "deepseek-v2-lite": 15_706_484_224, "deepseek-v3": 671_026_404_352, "gemma-2-9b": 9_241_705_984,
    "gemma-3-12b": 11_766_034_176, "gpt-oss-20b": 20_914_757_184, "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248, "mistral-7b-v0.3": 7_248_023_552, "mixtral-8x7b": 46_702_792_704,
    "olmo-2-7b": 7_298_617_344, "phi-3-mini-128k": 3_821_079_552, "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen2.5-7b": 7_615_616_512, "qwen2.5-7b-awq": 7_615_616_512, "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-8b": 8_190_735_360,
}  # fmt: skip
# Gigabytes of the published checkpoints.
PUBLISHED = {
    "llama-3.1-8b": 16.06, "llama-3.1-70b": 141.1, "qwen2.5-7b": 15.23, "qwen2.5-7b-awq": 5.57, "mistral-7b-v0.3": 14.5,
    "mixtral-8x7b": 93.4, "gemma-2-9b": 18.48, "deepseek-v3": 671, "gpt-oss-20b": 12.8 * 1.073741824,
}  # fmt: skip
# KiB of KV cache a token: 2 × layers × KV heads × head dim × 2 bytes, or the latent vector.
CACHED = {
    "llama-3.1-8b": 128, "llama-3.1-70b": 320, "qwen2.5-7b": 56, "mistral-7b-v0.3": 128, "mixtral-8x7b": 128,
    "gemma-2-9b": 336, "deepseek-v3": 68.625,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_that_transformers_counts(name: str) -> None:
    """To the last one, for each family."""
    counts = model_memory(name).parameters
    assert counts is not None
    assert counts.total == COUNTED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_are_as_large_as_published(name: str) -> None:
    """Within 5 %, in 16 bits, fp8, 4 bits with groups, and mxfp4."""
    assert model_memory(name).weights_bytes / 1e9 == pytest.approx(PUBLISHED[name], rel=0.05)


@pytest.mark.parametrize("name", CACHED)
def test_kv_cache_is_as_large_as_published(name: str) -> None:
    """For each token, over all layers."""
    assert model_memory(name).cache_bytes_per_token / 1024 == CACHED[name]
