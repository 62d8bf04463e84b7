"""Tiny models, one trap each: what is, is not, or cannot be seen to be a batch on axis 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build_model

_HEADER = '<ir_version: 8, opset_import: ["" : {opset}, "ai.onnx.ml" : 3]>\ngraph '


@dataclass(frozen=True)
class Trap:
    """A model as text, the verdict on it, and words that the evidence must contain."""

    name: str
    graph: str
    verdict: str
    evidence: str = ""


def parse_graph(graph: str) -> onnx.ModelProto:
    """Make a model from ONNX's textual form, of opset 17 but for operators that came later."""
    return onnx.parser.parse_model(
        _HEADER.replace("{opset}", "20" if "StringSplit" in graph or "StringConcat" in graph else "17") + graph
    )


BATCHABLE = (
    Trap("elementwise", "(float[N,4] x) => (float[N,4] y) { y = Mul(x, x) }", "batchable"),
    Trap("softmax_over_features", "(float[N,4] x) => (float[N,4] y) { y = Softmax<axis=1>(x) }", "batchable"),
    Trap("label_by_argmax", "(float[N,4] x) => (int64[N] y) { y = ArgMax<axis=1, keepdims=0>(x) }", "batchable"),
    Trap(
        "threshold",
        "(float[N,4] x) => (bool[N,4] y) { t = Constant<value_float=0.5>() y = Greater(x, t) }",
        "batchable",
    ),
    Trap(
        "token_ids",
        """(int64[N,seq] ids, int64[N,seq] attention_mask) => (float[N,3] y)
        <float[5,3] table = {0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0,1.1,1.2,1.3,1.4,1.5}> {
            one = Constant<value_ints=[2]>()
            e = Gather(table, ids)
            f = Cast<to=1>(attention_mask)
            m = Unsqueeze(f, one)
            masked = Mul(e, m)
            y = ReduceMean<axes=[1], keepdims=0>(masked)
        }""",
        "batchable",
    ),
    Trap("half_precision", "(float16[N,4] x) => (float16[N,4] y) { y = Softmax<axis=1>(x) }", "batchable"),
    Trap("double_precision", "(double[N,4] x) => (double[N,4] y) { y = Softmax<axis=1>(x) }", "batchable"),
    Trap("bytes_of_images", "(uint8[N,3,h,w] x) => (float[N,3,h,w] y) { y = Cast<to=1>(x) }", "batchable"),
    Trap("not_a_number", "(float[N,4] x) => (float[N,4] y) { n = Neg(x) z = Sub(n, x) y = Sqrt(z) }", "batchable"),
    Trap(
        "one_output_never_varies",
        "(float[N,4] x) => (float[N,4] y, float[N,4] zero) { y = Mul(x, x) zero = Sub(x, x) }",
        "batchable",
        "'zero' did not vary",
    ),
)
NOT_BATCHABLE = (
    Trap("softmax_over_the_batch", "(float[N,4] x) => (float[N,4] y) { y = Softmax<axis=0>(x) }", "not_batchable"),
    Trap(
        "centred_over_the_batch",
        "(float[N,4] x) => (float[N,4] y) { m = ReduceMean<axes=[0]>(x) y = Sub(x, m) }",
        "not_batchable",
        "changes with the other rows",
    ),
    Trap(
        "weakly_centred",
        """(float[N,4] x) => (float[N,4] y) {
            w = Constant<value_float=0.001>() m = ReduceMean<axes=[0]>(x) s = Mul(m, w) y = Add(x, s)
        }""",
        "not_batchable",
        "changes with the other rows",
    ),
    Trap(
        "shared_int8_scale",
        """(float[N,4] x) => (float[N,4] y) {
            q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)
        }""",
        "not_batchable",
        "changes with the other rows",
    ),
    Trap(
        "influence_past_a_threshold",
        """(float[N,4] x) => (float[N,4] y) {
            t = Constant<value_float=500.0>() a = Abs(x) m = ReduceMax(a) o = Sub(m, t) r = Relu(o) y = Add(x, r)
        }""",
        "not_batchable",
        "changes with the other rows",
    ),
    Trap(
        "influence_past_a_threshold_behind_a_layer",
        """(float[N,2] x) => (float[N,2] y) <float[2,2] w = {1.0,0.5,-0.5,1.0}, float[2] b = {0.1,-0.2}> {
            t = Constant<value_float=500.0>() l = Gemm(x, w, b) a = Abs(l) m = ReduceMax(a) o = Sub(m, t) r = Relu(o)
            y = Add(l, r)
        }""",
        "not_batchable",
        "changes with the other rows",
    ),
    Trap(
        "batch_normalisation_in_training",
        """(float[N,4] x) => (float[N,4] y)
        <float[4] scale = {1,1,1,1}, float[4] bias = {1,2,3,4}, float[4] mean = {0,0,0,0}, float[4] var = {1,1,1,1}> {
            y, m, v = BatchNormalization<training_mode=1>(x, scale, bias, mean, var)
        }""",
        "not_batchable",
    ),
    Trap(
        "running_sum",
        "(float[N,4] x) => (float[N,4] y) { axis = Constant<value_int=0>() y = CumSum(x, axis) }",
        "not_batchable",
    ),
    Trap(
        "order_reversed",
        """(float[N,4] x) => (float[N,4] y) {
            from = Constant<value_ints=[-1]>() to = Constant<value_ints=[-9999]>() axis = Constant<value_ints=[0]>()
            y = Slice(x, from, to, axis, from)
        }""",
        "not_batchable",
    ),
    Trap(
        "similarity_of_all_pairs",
        "(float[N,4] x) => (float[N,M] y) { t = Transpose<perm=[1,0]>(x) y = MatMul(x, t) }",
        "not_batchable",
        "has shape [2, 2] at batch 2",
    ),
    Trap(
        "twice_as_many_rows",
        "(float[N,4] x) => (float[M,4] y) { y = Concat<axis=0>(x, x) }",
        "not_batchable",
        "returns 2 rows for a batch of 1",
    ),
    Trap(
        "one_row_dropped",
        """(float[N,4] x) => (float[M,4] y) {
            from = Constant<value_ints=[0]>() to = Constant<value_ints=[2]>() axis = Constant<value_ints=[0]>()
            y = Slice(x, from, to, axis)
        }""",
        "not_batchable",
        "has shape [2, 4] at batch 3",
    ),
    Trap(
        "batch_1_baked_in",
        """(float[N,4] x) => (float[N,2,2] y) {
            shape = Constant<value_ints=[1,2,2]>() y = Reshape(x, shape)
        }""",
        "not_batchable",
    ),
    Trap(
        "batch_2_baked_in",
        """(float[N,4] x) => (float[M,4] y) {
            shape = Constant<value_ints=[2,2]>() r = Reshape(x, shape) y = Concat<axis=1>(r, r)
        }""",
        "not_batchable",
    ),
    Trap(
        "needs_two_rows",
        """(float[N,4] x) => (float[N,4] y) {
            second = Constant<value_int=1>() row = Gather(x, second) y = Add(x, row)
        }""",
        "not_batchable",
        "on axis 0 but not at 1",
    ),
    Trap(
        "all_that_is_positive",
        """(float[N,4] x) => (float[K,M] y) {
            f = Transpose<perm=[1,0]>(x) i = NonZero(f) t = Transpose<perm=[1,0]>(i) y = Cast<to=1>(t)
        }""",
        "not_batchable",
    ),
    Trap(
        "cropped_to_the_longest",
        """(float[N,seq] x, int64[N] lengths) => (float[N,out] y) {
            from = Constant<value_ints=[0]>() axis = Constant<value_ints=[1]>()
            longest = ReduceMax<axes=[0]>(lengths) y = Slice(x, from, longest, axis)
        }""",
        "not_batchable",
        "depends on the values",
    ),
    Trap(
        "as_many_parts_as_words",
        """(string[N] x) => (int64[N,parts] y) {
            words, counts = StringSplit<delimiter=" ">(x)
            y = ai.onnx.ml.LabelEncoder<keys_strings=["the","fox"], values_int64s=[1,2], default_int64=0>(words)
        }""",
        "not_batchable",
        "depends on the values",
    ),
    Trap("a_scalar_out", "(float[N,4] x) => (float y) { y = ReduceSum<keepdims=0>(x) }", "not_batchable", "scalar"),
    Trap(
        "a_scalar_in",
        "(float[N,4] x, float factor) => (float[N,4] y) { y = Mul(x, factor) }",
        "not_batchable",
        "input 'factor' is a scalar",
    ),
    Trap(
        "fixed_batch",
        "(float[1,4] x) => (float[1,4] y) { y = Mul(x, x) }",
        "not_batchable",
        "first dimension of input 'x' is fixed to 1",
    ),
    Trap(
        "state_with_its_batch_on_axis_1",
        """(float[N,4] x, float[2,N,4] h) => (float[N,4] y, float[2,N,4] hn) {
            axis = Constant<value_ints=[0]>() u = Unsqueeze(x, axis) hn = Add(h, u) y = ReduceSum<keepdims=0>(hn, axis)
        }""",
        "not_batchable",
        "input 'h' is fixed to 2",
    ),
    Trap(
        "graph_nodes",
        "(float[nodes,4] x, float[nodes,nodes] edges) => (float[nodes,4] y) { y = MatMul(edges, x) }",
        "not_batchable",
    ),
    Trap(
        "label_declared_wrongly",
        "(float[N,4] x) => (int64[1] label, float[N,4] y) { label = ArgMax<axis=1, keepdims=0>(x) y = Mul(x, x) }",
        "not_batchable",
        "",
    ),
    Trap("no_input", "() => (float[N] y) { y = Constant<value_floats=[1.0,2.0]>() }", "not_batchable", "no inputs"),
)
UNDECIDED = (
    Trap("random", "(float[N,4] x) => (float[N,4] y) { y = RandomNormalLike(x) }", "undecided", "random"),
    Trap("constant", "(float[N,4] x) => (float[N,4] y) { y = Sub(x, x) }", "undecided", "every sample gave the same"),
)
TRAPS = (*BATCHABLE, *NOT_BATCHABLE, *UNDECIDED)


def recurrent_model(*, time_first: bool) -> onnx.ModelProto:
    """An RNN over [first, second, 3] whose axis 0 is time, or a batch that it transposes to axis 1."""
    numbers = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(numbers.normal(size=(1, 2, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(numbers.normal(size=(1, 2, 2)).astype(np.float32), "r"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    source, made = ("x", "y") if time_first else ("by_time", "made")
    nodes = [
        helper.make_node("RNN", [source, "w", "r"], ["all", ""], hidden_size=2),
        helper.make_node("Squeeze", ["all", "one"], [made]),
    ]
    if not time_first:
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["by_time"], perm=[1, 0, 2]))
        nodes.append(helper.make_node("Transpose", ["made"], ["y"], perm=[1, 0, 2]))
    shape = ("T", 1, 3) if time_first else ("N", "T", 3)
    return build_model(
        nodes,
        [("x", TensorProto.FLOAT, shape)],
        [("y", TensorProto.FLOAT, (*shape[:2], 2))],
        initializers=weights,
    )


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write a model into a folder."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path
