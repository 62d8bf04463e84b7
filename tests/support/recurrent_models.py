"""Small recurrent models as exporters write them, one trap each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build_model

HIDDEN, FEATURES = 6, 4
_HEADER = '<ir_version: 8, opset_import: ["" : 17]>\ngraph '


def parse(graph: str) -> onnx.ModelProto:
    """A model from ONNX's textual form."""
    return onnx.parser.parse_model(_HEADER + graph)


def recurrent_model(
    operator: str = "LSTM",
    states: Sequence[tuple[str, str]] = (("h", "hn"), ("c", "cn")),
    time: int | str = "time",
    batch: int | str = "batch",
) -> onnx.ModelProto:
    """x [B,T,4] → y [B,T,6], its states [1,B,6] as torch.nn.LSTM and GRU export them: the batch on axis 1."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    numbers = np.random.default_rng(7)
    weights = [
        numpy_helper.from_array(numbers.normal(size=(1, gates * HIDDEN, width)).astype(np.float32), name)
        for name, width in (("w", FEATURES), ("r", HIDDEN))
    ]
    inputs, outputs = [entering for entering, _ in states], [leaving for _, leaving in states]
    nodes = [
        helper.make_node("Transpose", ["x"], ["time_first"], perm=[1, 0, 2]),
        helper.make_node(operator, ["time_first", "w", "r", "", "", *inputs], ["all", *outputs], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["all", "directions"], ["sequence"]),
        helper.make_node("Transpose", ["sequence"], ["y"], perm=[1, 0, 2]),
    ]
    axes = numpy_helper.from_array(np.array([1]), "directions")
    state = (TensorProto.FLOAT, [1, batch, HIDDEN])
    return build_model(
        nodes,
        [("x", TensorProto.FLOAT, [batch, time, FEATURES]), *((name, *state) for name in inputs)],
        [("y", TensorProto.FLOAT, [batch, time, HIDDEN]), *((name, *state) for name in outputs)],
        initializers=[*weights, axes],
    )


# Two leaky sums, batch first; sorted by name, their inputs and outputs stand in different orders.
SORTED_OTHERWISE = """(float[B,3] x, float[B,3] state, float[B,3] state_len)
=> (float[B,3] y, float[B,3] state_next, float[B,3] state_len_next) {
    fast = Constant<value_float=0.5>()
    slow = Constant<value_float=0.9>()
    a = Mul(state, fast)
    state_next = Add(a, x)
    b = Mul(state_len, slow)
    state_len_next = Add(b, x)
    y = Sub(state_len_next, state_next)
}"""
# One leaky sum whose state is laid out batch first.
BATCH_FIRST = """(float[B,3] x, float[B,3] state) => (float[B,3] y, float[B,3] state_out) {
    half = Constant<value_float=0.5>()
    a = Mul(state, half)
    state_out = Add(a, x)
    y = Tanh(state_out)
}"""
# The same, whose rows share the largest of all of them.
MIXES_ROWS = """(float[B,3] x, float[B,3] state) => (float[B,3] y, float[B,3] state_out) {
    half = Constant<value_float=0.5>()
    a = Mul(state, half)
    state_out = Add(a, x)
    top = ReduceMax<axes=[0], keepdims=1>(state_out)
    share = Mul(top, half)
    y = Sub(state_out, share)
}"""
# One step of an LSTM as torch.nn.LSTMCell is exported: of plain operators.
CELL = """(float[B,2] x, float[B,3] h, float[B,3] c) => (float[B,2] y, float[B,3] h_out, float[B,3] c_out)
<float[2,3] u = {0.3,0.8,-0.4,-0.7,0.2,0.6}, float[3,3] w = {0.5,-0.2,0.1,0.3,0.4,-0.6,0.2,0.1,0.7},
float[3,2] v = {1.0,-1.0,0.5,0.25,-0.5,2.0}> {
    from_x = MatMul(x, u)
    from_h = MatMul(h, w)
    sum = Add(from_x, from_h)
    gate = Sigmoid(sum)
    new = Tanh(sum)
    kept = Mul(gate, c)
    taken = Mul(gate, new)
    c_out = Add(kept, taken)
    shown = Tanh(c_out)
    h_out = Mul(gate, shown)
    y = MatMul(h_out, v)
}"""
# Triton tells it where a sequence starts.
CONTROLLED = """(float[B,3] x, float[B,1] START, float[B,3] state) => (float[B,3] y, float[B,3] state_out) {
    one = Constant<value_float=1.0>()
    going_on = Sub(one, START)
    kept = Mul(state, going_on)
    state_out = Add(kept, x)
    y = Neg(state_out)
}"""
# A scalar beside the state, the same for a whole batch; x is too short to be anything but one step.
WITH_SCALAR = """(float[B,3] x, float rate, float[B,3] state) => (float[B,3] y, float[B,3] state_out) {
    a = Mul(state, rate)
    state_out = Add(a, x)
    y = Tanh(state_out)
}"""
# As torch.nn's recurrent layers are without batch_first: a batch on axis 1 of everything.
TIME_FIRST = """(float[T,B,3] x, float[1,B,3] state) => (float[T,B,3] y, float[1,B,3] state_out) {
    first = Constant<value_ints=[0]>()
    sum = ReduceSum<keepdims=1>(x, first)
    state_out = Add(state, sum)
    y = Add(x, state)
}"""
# Names that say nothing, and states that could be either.
NAMELESS = """(float[B,3] x, float[B,5] a, float[B,5] b) => (float[B,3] y, float[B,5] d, float[B,5] e) {
    half = Constant<value_float=0.5>()
    d = Mul(a, half)
    e = Add(b, a)
    axes = Constant<value_ints=[1]>()
    s = ReduceSum<keepdims=1>(e, axes)
    y = Add(x, s)
}"""
# One head of attention over all steps so far, as decoders with a cache: [B, heads, past, size].
CACHE = """(float[B,step,4] x, float[B,1,past,4] past_key_values_0_key, float[B,1,past,4] past_key_values_0_value)
=> (float[B,step,4] y, float[B,1,all,4] present_0_key, float[B,1,all,4] present_0_value) {
    head = Constant<value_ints=[1]>()
    fast = Constant<value_float=1.5>()
    q = Unsqueeze(x, head)
    v = Mul(q, fast)
    present_0_key = Concat<axis=2>(past_key_values_0_key, q)
    present_0_value = Concat<axis=2>(past_key_values_0_value, v)
    turned = Transpose<perm=[0,1,3,2]>(present_0_key)
    scores = MatMul(q, turned)
    shares = Softmax<axis=3>(scores)
    read = MatMul(shares, present_0_value)
    y = Squeeze(read, head)
}"""
# Running sums over all steps so far, of those that a mask keeps; run in one go it gives the same.
CAUSAL_CACHE = """(float[B,step,4] x, float[B,all] attention_mask, float[B,past,4] past_values)
=> (float[B,step,4] y, float[B,all,4] present_values) {
    present_values = Concat<axis=1>(past_values, x)
    last = Constant<value_ints=[2]>()
    mask = Unsqueeze(attention_mask, last)
    kept = Mul(present_values, mask)
    one = Constant<value_int=1>()
    sums = CumSum(kept, one)
    count = Shape<start=1, end=2>(x)
    start = Neg(count)
    stop = Constant<value_ints=[1000000]>()
    axis = Constant<value_ints=[1]>()
    y = Slice(sums, start, stop, axis)
}"""
