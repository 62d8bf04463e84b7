"""What a graph takes of memory, and in which precision it computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from batching_models import parse_graph
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build_model

from serve_deploy.onnx.graph_memory import find_precision, peak_activation_bytes


def chain(width: int = 8, *, data_type: type = np.float32) -> onnx.ModelProto:
    """x [N, 4] times weights to [N, width], Relu, and their sum."""
    kind = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}[data_type]
    weights = numpy_helper.from_array(np.ones((4, width), data_type), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    return build_model(nodes, [("x", kind, ("N", 4))], [("y", kind, ("N", width))], initializers=[weights])


@pytest.mark.parametrize(("rows", "width"), [(1, 8), (3, 8), (1, 4096)])
def test_the_peak_is_where_most_tensors_are_alive(rows: int, width: int) -> None:
    """At the sum, a, b and y are: three tensors of four bytes an element; weights do not count, large or small."""
    assert peak_activation_bytes(chain(width), {"x": (rows, 4)}) == 3 * rows * width * 4


def test_half_precision_takes_half() -> None:
    """Two bytes an element."""
    assert peak_activation_bytes(chain(data_type=np.float16), {"x": (1, 4)}) == 3 * 8 * 2


def test_a_tensor_is_alive_while_a_branch_reads_it() -> None:
    """The condition's branch reads x, which is not among the inputs of the node."""
    model = parse_graph(
        """(float[N, 4] x, bool c) => (float[N, 4] y) {
            a = Relu (x)
            y = If (c) <
                then_branch = then () => (float[N, 4] t) { t = Add (a, x) },
                else_branch = other () => (float[N, 4] e) { e = Identity (x) }
            >
        }"""
    )
    # x, c, a and y
    assert peak_activation_bytes(model, {"x": (1, 4), "c": ()}) == 16 + 1 + 16 + 16


def test_what_only_a_run_can_tell_is_not_known() -> None:
    """How many values are not zero depends on them."""
    model = parse_graph("(float[N] x) => (int64[1, M] y) { y = NonZero (x) }")
    assert peak_activation_bytes(model, {"x": (5,)}) is None


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (chain(), "FP32"),
        (chain(data_type=np.float16), "FP16"),
        (parse_graph("(float[N] x, float s) => (int8[N] y) { y = QuantizeLinear (x, s) }"), "INT8"),
        (parse_graph("(float[N] x) => (float[N] y) { y = Relu (x) }"), "FP32"),
    ],
    ids=["single", "half", "quantised", "no weights"],
)
def test_the_precision_is_that_of_the_weights(model: onnx.ModelProto, precision: str) -> None:
    """Quantised where it quantises, else what most constants are."""
    assert find_precision(model) == precision
