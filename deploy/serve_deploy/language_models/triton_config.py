"""config.pbtxt of a model that vLLM or TensorRT-LLM serves, with the reason for each line.

Sources: triton-inference-server/vllm_backend, src/model.py; NVIDIA/TensorRT-LLM, triton_backend/all_models/llmapi.
"""

from __future__ import annotations

from typing import Any

from serve_deploy.language_models.precision import Backend
from serve_deploy.model_config import VersionPolicy, format_config
from serve_deploy.model_config.build import version_policy_message

# What model.py of llmapi reads of a request: type and dims by name; all but the text are optional.
_INPUTS = {
    "text_input": ("STRING", -1), "image_url": ("STRING", -1), "streaming": ("BOOL", 1), "stop": ("BOOL", 1),
    "sampling_param_best_of": ("INT32", 1), "sampling_param_temperature": ("FP32", 1),
    "sampling_param_top_k": ("INT32", 1), "sampling_param_top_p": ("FP32", 1),
    "sampling_param_frequency_penalty": ("FP32", 1), "sampling_param_presence_penalty": ("FP32", 1),
    "sampling_param_max_tokens": ("INT32", 1), "sampling_param_stop": ("STRING", -1),
    "sampling_param_seed": ("UINT64", 1), "sampling_param_exclude_input_from_output": ("BOOL", 1),
    "sampling_param_return_perf_metrics": ("BOOL", 1), "return_finish_reason": ("BOOL", 1),
    "return_stop_reason": ("BOOL", 1), "return_cumulative_logprob": ("BOOL", 1), "lora_id": ("UINT64", 1),
    "lora_name": ("STRING", 1), "lora_path": ("STRING", 1), "lora_ckpt_source": ("STRING", 1),
}  # fmt: skip
_OUTPUTS = {
    "text_output": ("STRING", -1), "finish_reason": ("STRING", -1), "stop_reason": ("STRING", -1),
    "cumulative_logprob": ("FP32", -1), "kv_cache_reused_block": ("INT32", -1), "kv_cache_missed_block": ("INT32", -1),
    "kv_cache_alloc_new_blocks": ("INT32", -1), "kv_cache_alloc_total_blocks": ("INT32", -1),
    "kv_cache_hit_rate": ("FP32", -1), "arrival_time_ns": ("INT64", 1), "first_scheduled_time_ns": ("INT64", 1),
    "first_token_time_ns": ("INT64", 1), "last_token_time_ns": ("INT64", 1), "acceptance_rate": ("FP32", 1),
    "total_accepted_draft_tokens": ("INT32", 1), "total_draft_tokens": ("INT32", 1),
}  # fmt: skip
_REASONS = {
    "name": "the model's folder, and its name in requests",
    "max_batch_size": "0: the engine batches by itself, token by token",
    "version_policy": "chosen by the user",
    "model_transaction_policy.decoupled": "many responses to one request: tokens are streamed",
    "instance_group.count": "one engine; more would each take GPUs of their own",
}
_VLLM_REASONS = {
    **_REASONS,
    "backend": "Triton's vLLM backend reads model.json, and adds its tensors to this file when it loads",
    "instance_group.kind": "KIND_MODEL: vLLM itself takes the GPUs; with KIND_GPU it takes no more than one",
    "parameters[REPORT_CUSTOM_METRICS]": "vllm:… metrics, which autoscaling needs; they are off by default",
}
_TENSORRT_LLM_REASONS = {
    **_REASONS,
    "backend": "model.py of TensorRT-LLM's llmapi runs in Triton's Python backend, and reads model.yaml",
    "instance_group.kind": "KIND_CPU: TensorRT-LLM itself takes the GPUs",
    "input": "what model.py reads of a request",
    "output": "what model.py may answer",
}


def build_engine_config(backend: Backend, name: str, policy: VersionPolicy | None) -> Any:
    """The ModelConfig."""
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    message: dict[str, Any] = {
        "name": name,
        "backend": "vllm" if backend == "vllm" else "python",
        "version_policy": version_policy_message(policy),
        "model_transaction_policy": {"decoupled": True},
        "instance_group": [{"count": 1, "kind": "KIND_MODEL" if backend == "vllm" else "KIND_CPU"}],
    }
    if backend == "vllm":
        message["parameters"] = {"REPORT_CUSTOM_METRICS": {"string_value": "true"}}
    else:
        message["input"] = [
            {**_tensor(tensor, *kind), "optional": tensor != "text_input"} for tensor, kind in _INPUTS.items()
        ]
        message["output"] = [_tensor(tensor, *kind) for tensor, kind in _OUTPUTS.items()]
    return ParseDict(message, ModelConfig())


def format_engine_config(backend: Backend, config: Any) -> str:
    """The text of config.pbtxt."""
    return format_config(config, _VLLM_REASONS if backend == "vllm" else _TENSORRT_LLM_REASONS)


def _tensor(name: str, data_type: str, size: int) -> dict[str, Any]:
    return {"name": name, "data_type": f"TYPE_{data_type}", "dims": [size]}
