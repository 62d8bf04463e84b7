"""Bytes a weight, from the checkpoint's quantisation and from what was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from checkpoints import read_config

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.language_models.precision import explain_unsupported, note_emulated, read_precision

INT4 = {"weights": {"num_bits": 4, "type": "int", "group_size": 128, "symmetric": True}}
FP8 = {"weights": {"num_bits": 8, "type": "float"}}


@pytest.mark.parametrize(
    ("found", "name", "size"),
    [
        ({"quant_method": "fp8"}, "fp8", 1.0),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 0.5195),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "gptq", 1.0),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": INT4}}, "int4", 0.5156),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": FP8}}, "fp8", 1.0),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes", 0.5312),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", 0.5625),
        ({"quant_method": "mxfp4"}, "mxfp4", 0.53125),
    ],
)
def test_quantisation_is_read_from_the_checkpoint(found: dict[str, Any], name: str, size: float) -> None:
    """Scales and zero points are counted with the weights."""
    precision = read_precision(read_config("qwen2.5-7b", quantization_config=found), "vllm")
    assert precision.quantization == name
    assert precision.weight_bytes == pytest.approx(size, abs=1e-4)


def test_modelopt_says_it_in_a_file_of_its_own() -> None:
    """hf_quant_config.json, beside config.json."""
    modelopt = {"quantization": {"quant_algo": "FP8"}}
    assert read_precision(read_config("llama-3.1-8b"), "tensorrtllm", modelopt=modelopt).weight_bytes == 1.0


def test_an_unknown_quantisation_is_refused() -> None:
    """Since the weights' size is not known either."""
    with pytest.raises(InvalidModelError, match="'quip'"):
        read_precision(read_config("llama-3.1-8b", quantization_config={"quant_method": "quip"}), "vllm")


def test_vllm_makes_fp8_of_plain_weights() -> None:
    """And of no others, and TensorRT-LLM of none."""
    assert read_precision(read_config("llama-3.1-8b"), "vllm", quantization="fp8").weight_bytes == 1.0
    with pytest.raises(UsageError, match="quantised so"):
        read_precision(read_config("llama-3.1-8b"), "tensorrtllm", quantization="fp8")
    with pytest.raises(UsageError, match="quantised already, as awq"):
        read_precision(read_config("qwen2.5-7b-awq"), "vllm", quantization="fp8")


@pytest.mark.parametrize(
    ("written", "asked", "dtype"),
    [("bfloat16", None, "bfloat16"), ("torch.float16", None, "float16"), ("float32", None, "bfloat16"),
     ("float32", "float32", "float32"), (None, None, "bfloat16"), ("bfloat16", "float16", "float16")],
)  # fmt: skip
def test_dtype_is_the_checkpoints_unless_asked(written: str | None, asked: Any, dtype: str) -> None:
    """But 32 bits are served as 16."""
    precision = read_precision(read_config("llama-3.1-8b", torch_dtype=written), "vllm", dtype=asked)
    assert precision.dtype == dtype


def test_a_cache_of_fp8_takes_a_byte_a_number() -> None:
    """Whatever the weights take."""
    assert read_precision(read_config("llama-3.1-8b"), "vllm", cache_dtype="fp8").cache_bytes == 1


def test_what_a_gpu_cannot_compute_is_said() -> None:
    """bfloat16 is refused before compute capability 8.0; fp8 is slower before 8.9."""
    plain, small = (
        read_precision(read_config("llama-3.1-8b"), "vllm"),
        read_precision(read_config("deepseek-v3"), "vllm"),
    )
    assert "no bfloat16" in str(explain_unsupported(plain, "7.5"))
    assert explain_unsupported(plain, "8.0") is None
    assert "fp8" in str(note_emulated(small, "8.0"))
    assert note_emulated(small, "8.9") is None
