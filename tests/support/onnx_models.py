"""Small real ONNX models, and repositories of them, that the suites share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

Tensor = tuple[str, int, Sequence[int | str] | None]


def build_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    ir_version: int = 8,
    **graph: Any,
) -> onnx.ModelProto:
    """Make a model from its nodes; tensors are (name, onnx.TensorProto type, shape)."""
    return helper.make_model(
        helper.make_graph(
            list(nodes),
            "graph",
            [helper.make_tensor_value_info(*tensor) for tensor in inputs],
            [helper.make_tensor_value_info(*tensor) for tensor in outputs],
            initializer=list(initializers),
            **graph,
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version,
    )


def doubling_model(
    shape: Sequence[int | str] = ("batch", 3), data_type: int = onnx.TensorProto.FLOAT, ir_version: int = 8
) -> onnx.ModelProto:
    """y = x + x."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    return build_model([node], [("x", data_type, shape)], [("y", data_type, shape)], ir_version=ir_version)


def echo_model(data_type: int, shape: Sequence[int | str]) -> onnx.ModelProto:
    """y = x, of any type."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return build_model([node], [("x", data_type, shape)], [("y", data_type, shape)])


def tensor_config(role: str, name: str, data_type: str, dims: Sequence[int]) -> str:
    """An input or output of config.pbtxt."""
    return f'{role} {{ name: "{name}" data_type: TYPE_{data_type} dims: {list(dims)} }}\n'


def add_to_repository(
    repository: Path, name: str, model: onnx.ModelProto, config: str = "", *, version: int = 1
) -> Path:
    """Write a model and, unless it is empty, its config.pbtxt; return the model's folder."""
    folder = repository / name
    (folder / str(version)).mkdir(parents=True)
    onnx.save(model, folder / str(version) / "model.onnx")
    (folder / "config.pbtxt").write_text(f'backend: "onnxruntime"\n{config}')
    return folder
