"""Folders of MLflow models, as mlflow 3.17.2 writes them: MLmodel, the model's file, and its input example."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

EXAMPLE = [[0.5, -1.25, 2.0, 3.5], [1.0, 2.0, 3.0, 4.0], [-1.0, 0.0, 0.25, 8.0]]
COLUMNS = [{"type": "float", "name": name, "required": True} for name in "abcd"]


def write_model(
    folder: Path,
    flavors: Mapping[str, Mapping[str, Any]],
    *,
    example: Any = None,
    kind: str = "ndarray",
    signature: Mapping[str, Any] | None = None,
) -> Path:
    """A model's folder without the model's own file."""
    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {
        "flavors": {**flavors, "python_function": {"loader_module": "mlflow.onnx", "python_version": "3.11.7"}},
        "mlflow_version": "3.17.2",
        "model_uuid": "m-47a17e58aa3644e695dfb83920c39710",
        "run_id": "b3153221c63342bbad1af12919617f25",
        "utc_time_created": "2026-11-26 22:30:24.929466",
    }
    if example is not None:
        described["saved_input_example_info"] = {"artifact_path": "input_example.json", "type": kind}
        (folder / "input_example.json").write_text(json.dumps(example))
    if signature is not None:
        described["signature"] = {side: json.dumps(tensors) for side, tensors in signature.items()} | {"params": None}
    (folder / "MLmodel").write_text(yaml.safe_dump(described))
    return folder


def write_onnx_model(folder: Path, *, example: Any = EXAMPLE, kind: str = "ndarray", data: str = "model.onnx") -> Path:
    """A model of the ONNX flavour: four numbers in, four out."""
    write_model(folder, {"onnx": {"data": data, "onnx_version": "1.23.2"}}, example=example, kind=kind)
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder


def write_sklearn_model(folder: Path) -> Path:
    """A model of the scikit-learn flavour: a pickle, and nothing else."""
    write_model(folder, {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}})
    (folder / "model.pkl").write_bytes(b"\x80\x04N.")
    return folder
