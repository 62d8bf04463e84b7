"""Quantisation: with stored scales each element by itself, with computed ones over the whole batch."""

from __future__ import annotations

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.rules.elementwise import elementwise
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.values import MixesError, Value, fixed

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


def quantised_pair(call: Call) -> Value:
    """QLinearAdd and QLinearMul: a, its scale and zero point, b, its scale and zero point, those of the result."""
    call.needs_fixed(1, 2, 4, 5, 6, 7)
    pair = Call("Add", call.opset, {}, [call[0], call[3]], 1, call.trace)
    return elementwise(pair)


RULES: dict[str, Rule] = {
    "DequantizeLinear": stored_scale,
    "DynamicQuantizeLinear": computed_scale,
    "QuantizeLinear": stored_scale,
    "com.microsoft.DequantizeLinear": stored_scale,
    "com.microsoft.DynamicQuantizeLSTM": computed_scale_inside,
    "com.microsoft.DynamicQuantizeMatMul": computed_scale_inside,
    "com.microsoft.QLinearAdd": quantised_pair,
    "com.microsoft.QLinearLeakyRelu": stored_scale,
    "com.microsoft.QLinearMul": quantised_pair,
    "com.microsoft.QLinearSigmoid": stored_scale,
    "com.microsoft.QuantizeLinear": stored_scale,
}
