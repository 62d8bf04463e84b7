"""Which GPUs hold a model, and what is said where they do not."""

from __future__ import annotations

import pytest
from checkpoints import model_memory

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.language_models.memory import GIB, Group
from serve_deploy.language_models.placement import Engine, Placement, Wishes, choose_gpu, place, place_all

VLLM = Engine(backend="vllm", memory_share=0.9, sequences=256, batched_tokens=8192)
LLMAPI = Engine(backend="tensorrtllm", memory_share=0.9, sequences=256, batched_tokens=8192)


@pytest.mark.parametrize(
    ("name", "gpu", "group", "nodes"),
    [
        ("llama-3.1-8b", "h100", Group(1), 1),
        ("llama-3.1-8b", "l4", Group(2), 1),
        ("llama-3.1-70b", "h100", Group(4), 1),
        ("llama-3.1-70b", "h200", Group(2), 1),
        ("mixtral-8x7b", "a100-80", Group(2), 1),
        ("deepseek-v3", "h200", Group(8), 1),
        ("deepseek-v3", "h100", Group(8, 2), 2),
        ("llama-3.1-70b", "gh200", Group(1, 3), 3),
    ],
)
def test_the_fewest_gpus_are_taken(name: str, gpu: str, group: Group, nodes: int) -> None:
    """That hold the weights and one request of the whole context; nodes share a model by stages."""
    placement = place(model_memory(name), VLLM, gpu, Wishes())
    assert (placement.group, placement.nodes) == (group, nodes)
    assert placement.cache_tokens >= placement.max_model_len == model_memory(name).architecture.context


def test_the_room_for_the_cache_is_what_the_engine_leaves() -> None:
    """vLLM takes a share of the whole GPU, TensorRT-LLM one of what is free."""
    memory = model_memory("llama-3.1-8b")
    vllm, llmapi = (place(memory, engine, "h100", Wishes()) for engine in (VLLM, LLMAPI))
    taken = vllm.weights_bytes + vllm.engine_bytes
    assert vllm.room_bytes == pytest.approx(0.9 * 79.1 * GIB - taken, abs=2)
    assert llmapi.room_bytes == pytest.approx(0.9 * (79.1 * GIB - taken), abs=2)
    assert vllm.cache_tokens == pytest.approx(vllm.room_bytes / 131_072, abs=1)


def test_a_node_that_holds_no_whole_context_serves_a_shorter_one() -> None:
    """With all its GPUs, in steps of 1,024 tokens; a length that was asked for is kept or refused."""
    memory = model_memory("llama-3.1-70b")
    placement = place(memory, VLLM, "l4", Wishes())
    assert (placement.group, placement.nodes, placement.shortened) == (Group(8), 1, True)
    assert placement.max_model_len == placement.cache_tokens // 1024 * 1024 < 131_072
    assert place(memory, VLLM, "l4", Wishes(max_model_len=131_072)).nodes > 1


def test_what_was_asked_for_is_taken() -> None:
    """Sizes, and the GPUs of a node."""
    memory = model_memory("llama-3.1-8b")
    wishes = Wishes(tensor_parallel=4, pipeline_parallel=2, gpus_per_node=4)
    placement = place(memory, VLLM, "l4", wishes)
    assert (placement.group, placement.nodes) == (Group(4, 2), 2)


@pytest.mark.parametrize(
    ("gpu", "wishes", "words", "hint"),
    [
        ("l4", Wishes(tensor_parallel=8, pipeline_parallel=1),
         r"673.2 GB of weights, which do not fit: on the fullest of 8 l4, 0.9 × 22 GiB - 79.3 GiB \(weights\) -"
         r" 2.4 GiB \(engine\) = -61.9 GiB", "more memory"),
        ("h100-nvl", Wishes(max_model_len=163_840, pipeline_parallel=1),
         r"one request of 163,840 tokens takes 10.7 GiB of KV cache, which does not fit: on the fullest of 8 h100-nvl",
         "`max_model_len=29696` would fit; `kv_cache_dtype=fp8` halves"),
        ("t4", Wishes(), "no bfloat16", ""),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_arithmetic(gpu: str, wishes: Wishes, words: str, hint: str) -> None:
    """And with what would fit."""
    with pytest.raises(InvalidModelError, match=words) as refusal:
        place(model_memory("deepseek-v3"), VLLM, gpu, wishes)
    assert hint in (refusal.value.hint or "")


def test_a_size_that_the_heads_do_not_allow_is_refused() -> None:
    """With those that they do."""
    with pytest.raises(UsageError, match="28 attention heads") as refusal:
        place(model_memory("qwen2.5-7b"), VLLM, "h100", Wishes(tensor_parallel=8))
    assert refusal.value.hint == "Qwen2ForCausalLM allows 1, 2, 4"


def test_a_length_beyond_the_context_is_refused() -> None:
    """The engine would refuse it, too."""
    with pytest.raises(UsageError, match="a context of 32,768 tokens"):
        place(model_memory("qwen2.5-7b"), VLLM, "h100", Wishes(max_model_len=40_000))


@pytest.mark.parametrize(
    ("name", "gpu", "gpus"),
    [("qwen2.5-7b", "l4", 1), ("llama-3.1-8b", "a100-40", 1), ("llama-3.1-70b", "h200", 2), ("deepseek-v3", "h200", 8)],
)
def test_without_a_gpu_the_fewest_and_smallest_are_chosen(name: str, gpu: str, gpus: int) -> None:
    """Of those that hold a whole context; of equal ones the newest."""
    placement = choose_gpu(model_memory(name), VLLM, Wishes())
    assert (placement.gpu, placement.group.gpus) == (gpu, gpus)


def test_every_profile_says_what_it_holds() -> None:
    """Or why it holds nothing."""
    found = place_all(model_memory("llama-3.1-8b"), VLLM, Wishes())
    assert isinstance(found["t4"], InvalidModelError)
    assert all(isinstance(each, Placement) for name, each in found.items() if name != "t4")
