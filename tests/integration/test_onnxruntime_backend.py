"""The embedded onnxruntime backend behaves as the native one does."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import tritonclient.http as triton_http
from onnx import TensorProto as T
from onnx import helper
from onnx_models import add_to_repository, build_model, doubling_model, echo_model, tensor_config
from tritonclient.utils import InferenceServerException

from serve_deploy.triton import ModelState, TritonServer

Infer = Callable[..., dict[str, np.ndarray]]

_ONE = "instance_group { count: 1 }\n"
_DOUBLE = "max_batch_size: 4\n" + tensor_config("input", "x", "FP32", [3]) + tensor_config("output", "y", "FP32", [3])
_STATE = """sequence_batching { state {
  input_name: "a" output_name: "b" data_type: TYPE_FP32 dims: 1
} }"""

_ACCELERATOR = 'optimization { execution_accelerators { cpu_execution_accelerator { name: "openvino" } } }'


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


# name → (the model's shape, its configuration, a part of Triton's reason)
_REFUSED: dict[str, tuple[tuple[int | str, ...], str, str]] = {
    "input_name": (("n", 3), _DOUBLE.replace('"x"', '"z"'), "input 'z', allowed inputs are: x"),
    "output_name": (("n", 3), _DOUBLE.replace('"y"', '"z"'), "output 'z', allowed outputs are: y"),
    "type": (("n", 3), _DOUBLE.replace("FP32", "FP64", 1), "TYPE_FP64 for input 'x', model provides TYPE_FP32"),
    "input_dims": (
        ("n", 3),
        _DOUBLE.replace("[3]", "[5]"),
        "tensor 'x': the model expects 2 dimensions (shape [-1,3])",
    ),
    "output_dims": (("n", "m"), _DOUBLE, "tensor 'y': the model expects 2 dimensions (shape [-1,-1])"),
    "count": (("n", 3), _DOUBLE + tensor_config("input", "w", "FP32", [3]), "expects 2 inputs, model provides 1"),
    "fixed_batch": ((2, 3), _DOUBLE, "first dimension must be -1; but shape expected by the model is [2,3]"),
    "mode": (("n", 3), _DOUBLE + _parameter("execution_mode", "7"), "execution_mode are 0 or 1 but got 7"),
    "threads": (("n", 3), _DOUBLE + _parameter("intra_op_thread_count", "abc"), "failed to convert 'abc' to integral"),
    "arena": (("n", 3), _DOUBLE + _parameter("enable_mem_arena", "maybe"), "failed to convert 'maybe' to boolean"),
    "openvino": (("n", 3), _DOUBLE + _ACCELERATOR, "unknown Execution Accelerator 'openvino' is requested"),
    "state": (("n", 3), _DOUBLE + _STATE, "implicit state (sequence_batching.state) needs the native"),
    "ragged": (
        ("n", 3),
        _DOUBLE.replace("{", "{ allow_ragged_batch: true", 1),
        "(allow_ragged_batch) needs the native",
    ),
    "optional": (("n", 3), _DOUBLE.replace("{", "{ optional: true", 1), "expects 0 inputs, model provides 1"),
}
# A busy machine may let a second and more pass between two requests.
_SEQUENCE = """sequence_batching { max_sequence_idle_microseconds: 600000000 control_input {
  name: "start" control { kind: CONTROL_SEQUENCE_START int32_false_true: [0, 1] }
} }"""
_PATIENT = "dynamic_batching { max_queue_delay_microseconds: 200000 preferred_batch_size: 4 }"
_TUNING = (
    _parameter("execution_mode", "1")
    + _parameter("intra_op_thread_count", "2")
    + _parameter("inter_op_thread_count", "1")
    + _parameter("enable_mem_arena", "true")
    + _parameter("enable_mem_pattern", "0")
    + _parameter("memory.enable_memory_arena_shrinkage", "cpu:0")
    + """
optimization { graph { level: 2 } execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }
model_warmup { name: "ones" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 3 zero_data: true } } }
"""
)


def _same(data_type: str, dims: list[int], output_dims: list[int] | None = None, *, batch: int = 4) -> str:
    return (
        f"max_batch_size: {batch}\n{_ONE}"
        + tensor_config("input", "x", data_type, dims)
        + tensor_config("output", "y", data_type, output_dims or dims)
    )


def _sequence_model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("SequenceConstruct", ["x"], ["all"]),
    ]
    model = build_model(nodes, [("x", T.FLOAT, ("n", 3))], [("y", T.FLOAT, ("n", 3))])
    model.graph.output.append(helper.make_tensor_sequence_value_info("all", T.FLOAT, None))
    return model


def _initializer_model() -> onnx.ModelProto:
    """y = x + bias, where bias is an input with a default; before IR 4 ONNX Runtime takes it for a constant."""
    bias = helper.make_tensor("bias", T.FLOAT, [1], [10.0])
    node = helper.make_node("Add", ["x", "bias"], ["y"])
    inputs = [("x", T.FLOAT, (3,)), ("bias", T.FLOAT, (1,))]
    return build_model([node], inputs, [("y", T.FLOAT, (3,))], initializers=[bias])


def _counting_model() -> onnx.ModelProto:
    """y = x + start."""
    node = helper.make_node("Add", ["x", "start"], ["y"])
    inputs = [("x", T.INT32, ("n", 1)), ("start", T.INT32, ("n", 1))]
    return build_model([node], inputs, [("y", T.INT32, ("n", 1))])


def _gathering_model() -> onnx.ModelProto:
    """y = table[x], which fails at run time for an index of 3 or more; z = x."""
    table = helper.make_tensor("table", T.FLOAT, [3], [0.0, 10.0, 20.0])
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    outputs = [("y", T.FLOAT, ("n", 1)), ("z", T.INT64, ("n", 1))]
    return build_model(nodes, [("x", T.INT64, ("n", 1))], outputs, initializers=[table])


def _add_external_data_model(repository: Path) -> None:
    """As Triton wants models of several files: a folder model.onnx that holds model.onnx and its weights."""
    weight = helper.make_tensor("w", T.FLOAT, [3], np.arange(3, dtype=np.float32).tobytes(), raw=True)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = build_model([node], [("x", T.FLOAT, ("n", 3))], [("y", T.FLOAT, ("n", 3))], initializers=[weight])
    folder = repository / "external"
    (folder / "1" / "model.onnx").mkdir(parents=True)
    onnx.save(
        model, folder / "1" / "model.onnx" / "model.onnx",
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    (folder / "config.pbtxt").write_text(f'backend: "onnxruntime"\n{_DOUBLE}{_ONE}')


@pytest.fixture(scope="module")
def strict(triton_server: Callable[..., TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    """A server without auto-complete that holds every configured model of this module."""
    folder = tmp_path_factory.mktemp("strict")
    for name, (shape, config, _) in _REFUSED.items():
        add_to_repository(folder, name, doubling_model(shape), config + _ONE)
    add_to_repository(folder, "newer", doubling_model(ir_version=99), _DOUBLE + _ONE)
    add_to_repository(folder, "sequence", _sequence_model(), _DOUBLE + _ONE)
    add_to_repository(folder, "double", doubling_model(), _DOUBLE + _ONE + _PATIENT)
    add_to_repository(folder, "tuned", doubling_model(), _DOUBLE + _ONE + _TUNING)
    add_to_repository(folder, "narrowed", doubling_model(("n", "m")), _same("FP32", [3], [-1], batch=2))
    add_to_repository(folder, "text", echo_model(T.STRING, ("n", 2)), _same("STRING", [2]))
    add_to_repository(folder, "scalar", echo_model(T.FLOAT, ()), _same("FP32", [1], batch=0))
    add_to_repository(folder, "free", echo_model(T.FLOAT, ("n", "m")), _same("FP32", [-1, -1], batch=0))
    add_to_repository(folder, "bf16", echo_model(T.BFLOAT16, ("n", 2)), _same("BF16", [2]))
    bias = tensor_config("input", "bias", "FP32", [1]).replace("{", "{ optional: true", 1)
    add_to_repository(folder, "initializer", _initializer_model(), _same("FP32", [3], batch=0) + bias)
    extra = tensor_config("output", "z", "INT64", [1])
    gather = _same("INT64", [1]).replace('"y" data_type: TYPE_INT64', '"y" data_type: TYPE_FP32')
    add_to_repository(folder, "gather", _gathering_model(), gather + extra)
    numbers = tensor_config("input", "x", "INT32", [1]) + tensor_config("output", "y", "INT32", [1])
    add_to_repository(folder, "counting", _counting_model(), "max_batch_size: 2\n" + _ONE + numbers + _SEQUENCE)
    _add_external_data_model(folder)
    return triton_server(folder, auto_complete=False)


@pytest.fixture(scope="module")
def completed(triton_server: Callable[..., TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    """A server that completes configurations."""
    folder = tmp_path_factory.mktemp("completed")
    for name, shape in {"batched": ("n", 3), "vector": ("n",), "fixed": (2, 3), "scalar": ()}.items():
        (folder / name / "1").mkdir(parents=True)
        onnx.save(doubling_model(shape), folder / name / "1" / "model.onnx")
    add_to_repository(folder, "not_batched", doubling_model((2, 3)), "max_batch_size: 4")
    return triton_server(folder, extra_arguments=("--backend-config=onnxruntime,default-max-batch-size=6",))


def _state(server: TritonServer, name: str) -> ModelState:
    return next(state for state in server.model_states() if state.name == name)


def _infer(server: TritonServer, model: str, outputs: list[str] | None = None, **inputs: Any) -> dict[str, np.ndarray]:
    tensors = []
    for name, (data_type, array) in inputs.items():
        tensors.append(triton_http.InferInput(name, array.shape, data_type))
        tensors[-1].set_data_from_numpy(array)
    asked = None if outputs is None else [triton_http.InferRequestedOutput(name) for name in outputs]
    with triton_http.InferenceServerClient(server.http_url.removeprefix("http://")) as client:
        result = client.infer(model, tensors, outputs=asked)
        return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


@pytest.mark.parametrize("name", _REFUSED)
def test_wrong_configuration_is_refused_at_load(strict: TritonServer, name: str) -> None:
    """What the native backend refuses at load is refused here, with the reason in its words."""
    state = _state(strict, name)
    assert state.state == "UNAVAILABLE"
    assert _REFUSED[name][2] in state.reason
    assert "model.py" not in state.reason


def test_newer_ir_is_refused_at_load(strict: TritonServer) -> None:
    """What ONNX Runtime cannot read is refused with its own words."""
    assert "Unsupported model IR version" in _state(strict, "newer").reason


def test_output_that_is_no_tensor_is_refused_even_unlisted(strict: TritonServer) -> None:
    """A sequence output cannot be served, also where the configuration does not list it."""
    state = _state(strict, "sequence")
    assert state.state == "UNAVAILABLE"
    assert "Unsupported ONNX Type 'ONNX_TYPE_SEQUENCE' for I/O 'all', expected 'ONNX_TYPE_TENSOR'." in state.reason


def test_concurrent_requests_become_one_run(strict: TritonServer) -> None:
    """A dynamic batch runs once, and each request gets its own rows."""
    rows = [np.full((1, 3), value, np.float32) for value in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: _infer(strict, "double", x=("FP32", row))["y"], rows))
    for row, answer in zip(rows, answers, strict=True):
        np.testing.assert_array_equal(answer, row * 2)
    with triton_http.InferenceServerClient(strict.http_url.removeprefix("http://")) as client:
        statistics = client.get_inference_statistics("double")["model_stats"][0]
    assert statistics["inference_count"] == 4
    assert statistics["execution_count"] < 4


def test_configuration_may_narrow_a_free_input_dim(strict: TritonServer) -> None:
    """An input's -1 may be fixed by the configuration, and the core then holds requests to it."""
    assert _infer(strict, "narrowed", x=("FP32", np.ones((2, 3), np.float32)))["y"].tolist() == [[2] * 3] * 2
    with pytest.raises(InferenceServerException, match="unexpected shape for input 'x'"):
        _infer(strict, "narrowed", x=("FP32", np.ones((2, 4), np.float32)))


def test_strings_pass_as_bytes_and_end_at_nul(strict: TritonServer) -> None:
    """Strings keep their UTF-8 bytes and are cut at the first NUL."""
    text = np.array([["plain", "é€"], [b"cut\0off", b""]], dtype=object)
    answer = _infer(strict, "text", x=("BYTES", text))["y"]
    assert answer.tolist() == [[b"plain", "é€".encode()], [b"cut", b""]]


def test_string_that_is_not_utf8_is_one_requests_error(strict: TritonServer) -> None:
    """Bytes that Python cannot return are refused by name, and the instance lives on."""
    with pytest.raises(InferenceServerException, match="not UTF-8"):
        _infer(strict, "text", x=("BYTES", np.array([[b"\xff", b""]], dtype=object)))
    equally_long = np.array([[b"ab", b"cd"]], dtype=object)
    assert _infer(strict, "text", x=("BYTES", equally_long))["y"].tolist() == [[b"ab", b"cd"]]


def test_scalar_travels_with_one_dim(strict: TritonServer) -> None:
    """A rank-0 tensor is [1] on the wire, both ways."""
    assert _infer(strict, "scalar", x=("FP32", np.array([7], np.float32)))["y"].tolist() == [7]


def test_tensor_without_elements_keeps_its_shape(strict: TritonServer) -> None:
    """Zero-size tensors are served."""
    assert _infer(strict, "free", x=("FP32", np.ones((0, 3), np.float32)))["y"].shape == (0, 3)


def test_bfloat16_keeps_its_bits(strict: TritonServer) -> None:
    """BF16, which numpy lacks, passes unchanged."""
    values = np.array([[1.5, -2], [3.0e38, 1e-30]], ml_dtypes.bfloat16)
    answer = _infer(strict, "bf16", x=("BF16", values))["y"]
    np.testing.assert_array_equal(answer.astype(np.float32), values.astype(np.float32))


def test_initializer_input_is_optional(strict: TritonServer) -> None:
    """An input with a default may be left out or given."""
    ones = np.ones(3, np.float32)
    assert _infer(strict, "initializer", x=("FP32", ones))["y"].tolist() == [11] * 3
    assert _infer(strict, "initializer", x=("FP32", ones), bias=("FP32", ones[:1]))["y"].tolist() == [2] * 3


def test_only_requested_outputs_are_returned(strict: TritonServer) -> None:
    """A request that asks for one output gets that one."""
    assert list(_infer(strict, "gather", ["z"], x=("INT64", np.array([[1]])))) == ["z"]


def test_run_time_error_is_an_answer(strict: TritonServer) -> None:
    """ONNX Runtime's complaint about the data reaches the client, and the instance lives on."""
    with pytest.raises(InferenceServerException, match=r"onnx runtime error 2: .*out of"):
        _infer(strict, "gather", x=("INT64", np.array([[9]])))
    assert _infer(strict, "gather", x=("INT64", np.array([[2]])))["y"].tolist() == [[20]]


def test_external_data_is_read_from_the_models_folder(strict: TritonServer) -> None:
    """A model of several files loads from a folder called model.onnx."""
    assert _infer(strict, "external", x=("FP32", np.ones((1, 3), np.float32)))["y"].tolist() == [[1, 2, 3]]


def test_sequence_controls_reach_the_model(strict: TritonServer) -> None:
    """Of a sequence's requests the first has START set, which the model adds to its input."""
    rows = np.array([[5]], np.int32)
    tensor = triton_http.InferInput("x", rows.shape, "INT32")
    tensor.set_data_from_numpy(rows)
    with triton_http.InferenceServerClient(strict.http_url.removeprefix("http://")) as client:
        first = client.infer("counting", [tensor], sequence_id=7, sequence_start=True)
        second = client.infer("counting", [tensor], sequence_id=7, sequence_end=True)
    assert (first.as_numpy("y").tolist(), second.as_numpy("y").tolist()) == ([[6]], [[5]])


def test_session_settings_and_warm_up_are_accepted(strict: TritonServer) -> None:
    """Thread counts, graph level, memory settings, a GPU accelerator on a CPU build and a warm-up all load."""
    assert _state(strict, "tuned").state == "READY"
    assert _infer(strict, "tuned", x=("FP32", np.ones((1, 3), np.float32)))["y"].tolist() == [[2] * 3]


def test_configuration_is_completed_as_natively(completed: TritonServer) -> None:
    """Without a configuration a model whose first dims are all free gets batches and 2 instances."""
    with triton_http.InferenceServerClient(completed.http_url.removeprefix("http://")) as client:
        configs = {name: client.get_model_config(name) for name in ("batched", "vector", "fixed", "scalar")}
    assert {name: config["max_batch_size"] for name, config in configs.items()} == {
        "batched": 6, "vector": 6, "fixed": 0, "scalar": 0,
    }  # fmt: skip
    assert "dynamic_batching" in configs["batched"]
    assert configs["batched"]["instance_group"][0]["count"] == 2
    assert configs["batched"]["input"][0]["dims"] == [3]
    assert (configs["vector"]["input"][0]["dims"], configs["vector"]["input"][0]["reshape"]) == ([1], {"shape": []})
    assert configs["fixed"]["output"][0]["dims"] == [2, 3]
    assert configs["scalar"]["input"][0]["dims"] == [1]
    assert _infer(completed, "vector", x=("FP32", np.ones((3, 1), np.float32)))["y"].tolist() == [[2]] * 3


def test_batching_on_a_fixed_model_is_not_completed(completed: TritonServer) -> None:
    """A max_batch_size that the model cannot have is refused."""
    assert "autofill failed for model 'not_batched'" in _state(completed, "not_batched").reason
