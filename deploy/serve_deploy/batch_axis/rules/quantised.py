"""Quantisation: with stored scales each element by itself, with computed ones over the whole batch."""

from __future__ import annotations

from collections.abc import Sequence

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.rules.along_axes import softmax
from serve_deploy.batch_axis.rules.cutting import concat
from serve_deploy.batch_axis.rules.elementwise import elementwise
from serve_deploy.batch_axis.rules.products import gemm
from serve_deploy.batch_axis.rules.spatial import pool, pool_all
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.values import MixesError, NotUnderstoodError, Value, fixed

_STATIC = "quantise the model with stored (static) scales for activations, or not at all"


def stored_scale(call: Call) -> Value:
    """QuantizeLinear and DequantizeLinear, whose scale and zero point are constants."""
    call.needs_fixed(1, 2)
    return Value(call[0].shape, call[0].rows, counted=call[0].counted)


def computed_scale(call: Call) -> list[Value]:
    """DynamicQuantizeLinear: the scale comes from the least and the largest element of the whole tensor."""
    if call[0].rows is not None:
        raise MixesError("computes one int8 scale for the whole batch", _STATIC)
    return [fixed(call[0].shape), fixed(()), fixed(())]


def computed_scale_inside(call: Call) -> Value:
    """ONNX Runtime's products and LSTMs that quantise their input as they go."""
    if any(value.rows is not None for value in call.present):
        raise MixesError("computes one int8 scale for the whole batch", _STATIC)
    return fixed()


def like(rule: Rule, operator: str, *data: int) -> Rule:
    """The rule of an operator for its quantised form, whose `data` are these inputs and whose others are constants."""

    def quantised(call: Call) -> Value | Sequence[Value]:
        call.needs_fixed(*(index for index in range(len(call.inputs)) if index not in data))
        inputs = [call.get(index) for index in data]
        opset = call.attribute("opset", 13)
        return rule(Call(operator, opset, call.attributes, inputs, call.output_count, call.trace))

    return quantised


def concat_quantised(call: Call) -> Value | Sequence[Value]:
    """QLinearConcat: the scale and zero point of the result, then each input with its own."""
    return like(concat, "Concat", *range(2, len(call.inputs), 3))(call)


def pool_quantised(rule: Rule) -> Rule:
    """Pooling with channels first or last."""

    def quantised(call: Call) -> Value | Sequence[Value]:
        if call.attribute("channels_last", 0):
            raise NotUnderstoodError("has its channels last")
        return like(rule, "AveragePool", 0)(call)

    return quantised


RULES: dict[str, Rule] = {
    "DequantizeLinear": stored_scale,
    "DynamicQuantizeLinear": computed_scale,
    "QuantizeLinear": stored_scale,
    "com.microsoft.DequantizeLinear": stored_scale,
    "com.microsoft.DynamicQuantizeLSTM": computed_scale_inside,
    "com.microsoft.DynamicQuantizeMatMul": computed_scale_inside,
    "com.microsoft.QLinearAdd": like(elementwise, "Add", 0, 3),
    "com.microsoft.QGemm": like(gemm, "Gemm", 0, 3, 6),
    "com.microsoft.QLinearAveragePool": pool_quantised(pool),
    "com.microsoft.QLinearConcat": concat_quantised,
    "com.microsoft.QLinearGlobalAveragePool": pool_quantised(pool_all),
    "com.microsoft.QLinearSoftmax": like(softmax, "Softmax", 0),
    "com.microsoft.QLinearWhere": like(elementwise, "Where", 0, 1, 4),
    "com.microsoft.QLinearLeakyRelu": stored_scale,
    "com.microsoft.QLinearMul": like(elementwise, "Mul", 0, 3),
    "com.microsoft.QLinearSigmoid": stored_scale,
    "com.microsoft.QuantizeLinear": stored_scale,
}
