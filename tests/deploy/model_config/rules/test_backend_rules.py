"""What a backend makes of instances, accelerators and parameters."""

from __future__ import annotations

import pytest

from serve_deploy.model_config import check_config, parse_config
from serve_deploy.model_config.rules.backends import note_parameters

ONNX, PYTHON = 'backend: "onnxruntime"', 'backend: "python"'
TENSORS = (
    'max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 3 } '
    'output { name: "y" data_type: TYPE_FP32 dims: 3 }'
)


def find_messages(rest: str, backend: str = ONNX) -> list[str]:
    return [problem.message for problem in check_config(parse_config(f"{backend} {TENSORS} {rest}"))]


def parameter(key: str, value: str = "1") -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def tensorrt(**parameters: str) -> str:
    given = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in parameters.items())
    return f'optimization {{ execution_accelerators {{ gpu_execution_accelerator {{ name: "tensorrt" {given} }} }} }}'


@pytest.mark.parametrize(
    ("bounds", "is_legal"),
    [
        ((), True),
        (("min",), False),
        (("min", "opt"), False),
        (("opt", "max"), False),
        (("min", "opt", "max"), True),
    ],
)
def test_a_shape_profile_is_whole_or_not_there(bounds: tuple[str, ...], is_legal: bool) -> None:
    """Two of its three bounds are as bad as one."""
    said = find_messages(tensorrt(**{f"trt_profile_{bound}_shapes": "x:1x3" for bound in bounds}))
    assert said == ([] if is_legal else ["a TensorRT shape profile needs min, opt and max"])


@pytest.mark.parametrize(
    ("precision", "is_legal"),
    [("FP32", True), ("FP16", True), ("BF16", True), ("INT8", True), ("fp16", False), ("FP8", False)],
)
def test_a_precision_is_written_in_capitals(precision: str, is_legal: bool) -> None:
    """As the backend compares it."""
    said = find_messages(tensorrt(precision_mode=precision))
    assert said == ([] if is_legal else [f"unknown precision_mode '{precision}'"])


@pytest.mark.parametrize(("gpu", "is_legal"), [(-1, False), (0, True), (1, True)])
def test_gpus_are_counted_from_0(gpu: int, is_legal: bool) -> None:
    """As NVIDIA's tools do."""
    assert find_messages(f"instance_group {{ kind: KIND_GPU gpus: {gpu} }}") == (
        [] if is_legal else [f"{gpu}: a GPU's number is 0 or more"]
    )


@pytest.mark.parametrize(
    ("path", "rest", "messages"),
    [
        ("/models/m/1/batch.so", "", []),
        ("batch.so", "", ["'batch.so' is not a full path"]),
        ("/models/m/1/batch.so", "sequence_batching {}", ["sequence batching takes no batch strategy"]),
    ],
)
def test_a_batch_strategy_is_a_full_path_of_a_model_without_sequences(
    path: str, rest: str, messages: list[str]
) -> None:
    """Triton loads it from there."""
    assert find_messages(f"{parameter('TRITON_BATCH_STRATEGY_PATH', path)} {rest}", PYTHON) == messages


@pytest.mark.parametrize(
    ("key", "value", "is_legal"),
    [
        ("intra_op_thread_count", "0", True),
        ("intra_op_thread_count", "-1", True),
        ("inter_op_thread_count", "two", False),
        ("execution_mode", "0", True),
        ("execution_mode", "1", True),
        ("execution_mode", "2", False),
        ("enable_mem_arena", "True", True),
        ("enable_mem_pattern", "2", False),
    ],
)
def test_onnx_runtimes_parameters_are_what_it_reads(key: str, value: str, is_legal: bool) -> None:
    """Another backend may give them any meaning."""
    assert bool(find_messages(parameter(key, value))) is not is_legal
    assert find_messages(parameter(key, value), PYTHON) == []


@pytest.mark.parametrize(
    ("backend", "key", "notes"),
    [
        (ONNX, "intra_op_threads_count", ["did you mean 'intra_op_thread_count'?"]),
        (ONNX, "intra_op_thread_count", []),
        (ONNX, "owner", []),
        (PYTHON, "intra_op_threads_count", []),
    ],
)
def test_a_parameter_that_is_misspelt_is_noted(backend: str, key: str, notes: list[str]) -> None:
    """What looks like none of the backend's is somebody's own."""
    said = list(note_parameters(parse_config(f"{backend} {TENSORS} {parameter(key)}")))
    assert said == [f"parameters[{key}] is read by nobody: {note}" for note in notes]
