"""Attention and its companions, of ONNX and as ONNX Runtime's optimiser makes them: the samples are on axis 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.rules.elementwise import align, baked_in
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import UNKNOWN, counts_rows
from serve_deploy.batch_axis.values import (
    MixesError,
    NotUnderstoodError,
    Rows,
    Shape,
    Value,
    broadcast_shape,
    fixed,
)


def samples(call: Call, indices: Sequence[int], *, shared: Sequence[int] = ()) -> Rows | None:
    """Where the rows of these inputs lie: on axis 0 of each, but for those that all samples share.

    Every other input must be a constant.
    """
    call.needs_fixed(*(index for index in range(len(call.inputs)) if index not in (*indices, *shared)))
    found = None
    for index in (*indices, *shared):
        value = call.get(index)
        if value is None or value.rows is None:
            continue
        if value.rows.axis != 0:
            raise MixesError(f"takes the rows of input {index + 1} for something else than samples")
        if found not in (None, value.rows):
            raise NotUnderstoodError("combines rows that lie in a different order")
        found = value.rows
    for index in indices:
        value = call.get(index)
        if found is not None and value is not None and value.rows is None and not counts_rows(value.known_shape[0]):
            raise baked_in(value.known_shape[0])
    return found


def per_sample(*indices: int, ranks: Sequence[int | None] = (None,)) -> Rule:
    """A rule for an operator whose samples are on axis 0 of these inputs; `ranks` are those of the outputs.

    None is the rank, and the shape, of the first input.
    """

    def rule(call: Call) -> list[Value]:
        rows = samples(call, indices)
        if rows is None:
            return [fixed()] * call.output_count
        value = call[indices[0]]
        size = next(each.known_shape[0] for each in call.present if each.rows is not None)
        return [Value(value.known_shape if rank is None else (size,) + (UNKNOWN,) * (rank - 1), rows) for rank in ranks]

    return rule


def attend(call: Call) -> list[Value]:
    """Attention (opset 23): queries, keys and values [sample, …], a mask that is broadcast, caches and lengths."""
    _check_mask(call, 3)
    rows = samples(call, (0, 1, 2, 4, 5, 6), shared=(3,))
    if rows is None:
        return [fixed()] * call.output_count
    query, value = call[0].known_shape, call[2].known_shape
    if len(query) == 4:
        width = value[3]
        result: Shape = (*query[:3], width)
    else:
        heads, kv_heads = call.attribute("q_num_heads"), call.attribute("kv_num_heads")
        result = (*query[:2], value[2] if heads == kv_heads else UNKNOWN)
    cache = Value((query[0], UNKNOWN, UNKNOWN, UNKNOWN), rows)
    return [Value(result, rows), cache, cache, cache]


def _check_mask(call: Call, index: int) -> None:
    """A mask is broadcast to [sample, head, query, key]: its rows are samples only where it has all four axes."""
    mask = call.get(index)
    if mask is None:
        return
    if mask.rows is not None and (mask.rank != 4 or mask.rows.axis != 0):
        raise MixesError("takes the rows of the mask for heads or queries")
    if mask.rows is None and call[0].rows is not None and mask.rank == 4 and mask.known_shape[0] != 1:
        raise baked_in(mask.known_shape[0])


def attend_fused(call: Call) -> list[Value]:
    """ONNX Runtime's Attention: the input, weights and bias, a mask [sample, …], a cache, a bias of the scores."""
    return _attend_fused(call, (0, 3), mask=3, cache=4, bias=5)


def attend_quantised(call: Call) -> list[Value]:
    """ONNX Runtime's QAttention, with stored scales."""
    return _attend_fused(call, (0, 5), mask=5, cache=8, bias=None)


def _attend_fused(call: Call, data: tuple[int, ...], *, mask: int, cache: int, bias: int | None) -> list[Value]:
    if call.get(cache) is not None:
        raise NotUnderstoodError("carries a cache in a form that is not understood")
    lengths = call.get(mask)
    if lengths is not None and lengths.rows is not None and lengths.rank == 1 and lengths.known_shape[0] != _rows(call):
        raise NotUnderstoodError("takes lengths in a form that is not understood")
    if bias is not None:
        _check_mask(call, bias)
    rows = samples(call, data, shared=() if bias is None else (bias,))
    if rows is None:
        return [fixed()] * call.output_count
    sizes = call.attribute("qkv_hidden_sizes")
    weights = call[1].known_shape[1]
    width = sizes[2] if sizes else UNKNOWN if counts_rows(weights) else weights // 3
    return [Value((*call[0].known_shape[:2], width), rows)]


def _rows(call: Call) -> object:
    return call[0].known_shape[0]


def attend_with_heads(call: Call) -> list[Value]:
    """ONNX Runtime's MultiHeadAttention without a cache."""
    if any(call.get(index) is not None for index in (6, 7, 8, 9)):
        raise NotUnderstoodError("carries a cache in a form that is not understood")
    _check_mask(call, 5)
    padding = call.get(4)
    if padding is not None and padding.rows is not None and padding.known_shape[0] != _rows(call):
        raise NotUnderstoodError("takes lengths in a form that is not understood")
    rows = samples(call, (0, 1, 2, 4), shared=(5,))
    if rows is None:
        return [fixed()] * call.output_count
    query, value = call[0].known_shape, call.get(2)
    width = value.known_shape[2] if value is not None and value.rank == 3 else UNKNOWN
    return [Value((*query[:2], width), rows)]


def rotate(call: Call) -> Value:
    """RotaryEmbedding of ONNX: caches [sample, …] or tables that positions pick from."""
    has_positions = call.get(3) is not None
    rows = samples(call, (0, 3)) if has_positions else samples(call, (0, 1, 2))
    return Value(call[0].shape, rows)


def rotate_fused(call: Call) -> Value:
    """ONNX Runtime's RotaryEmbedding: positions [sample, time], or one offset for all."""
    positions = call.get(1)
    if positions is not None and positions.rows is not None and positions.rank != 2:
        raise MixesError("takes one offset for the whole batch from the rows")
    return Value(call[0].shape, samples(call, (0,), shared=(1,)))


def normalise_sum(call: Call) -> list[Value]:
    """SkipLayerNormalization: the sum of two inputs, normalised over its last axis."""
    call.needs_fixed(2, 3, 4)
    shape = broadcast_shape([call[0].known_shape, call[1].known_shape])
    pair = [call[0], call[1]]
    if all(value.rows is None for value in pair):
        return [fixed(shape)] * call.output_count
    rows = align(pair, shape)
    if rows.axis == len(shape) - 1:
        raise MixesError("normalises over the batch axis")
    statistics = Value((*shape[:-1], 1), rows)
    return [Value(shape, rows), statistics, statistics, Value(shape, rows)]


def embed(call: Call) -> list[Value]:
    """ONNX Runtime's EmbedLayerNormalization: ids, segments, tables, a mask and positions."""
    rows = samples(call, (0, 1, 7), shared=(8,))
    if rows is None:
        return [fixed()] * call.output_count
    shape = (*call[0].known_shape, call[2].known_shape[1])
    return [Value(shape, rows), Value(shape[:1], rows), Value(shape, rows)]


def embed_quantised(call: Call) -> list[Value]:
    """QEmbedLayerNormalization: as EmbedLayerNormalization, with tables of int8."""
    rows = samples(call, (0, 1, 7))
    shape = (*call[0].known_shape, call[2].known_shape[1])
    return [Value(shape, rows), Value(shape[:1], rows)]


def write_cache(call: Call) -> Value:
    """TensorScatter: each sample's update goes to its own place in the cache."""
    rows = samples(call, (0, 1, 2))
    if rows is not None and call.axis(-2) == 0:
        raise MixesError("writes along the batch axis")
    return replace(call[0], rows=rows)


RULES: dict[str, Rule] = {
    "Attention": attend,
    "CausalConvWithState": per_sample(0, 3, ranks=(None, 3)),
    "LinearAttention": per_sample(0, 1, 2, 3, 4, 5, ranks=(3, 4)),
    "RotaryEmbedding": rotate,
    "TensorScatter": write_cache,
    "com.microsoft.Attention": attend_fused,
    "com.microsoft.EmbedLayerNormalization": embed,
    "com.microsoft.MultiHeadAttention": attend_with_heads,
    "com.microsoft.QAttention": attend_quantised,
    "com.microsoft.QEmbedLayerNormalization": embed_quantised,
    "com.microsoft.RotaryEmbedding": rotate_fused,
    "com.microsoft.SkipLayerNormalization": normalise_sum,
    "com.microsoft.SkipSimplifiedLayerNormalization": normalise_sum,
}
