"""Convolution, pooling, resizing and what else knows samples, channels and space."""

from __future__ import annotations

from typing import Any

from serve_deploy.batch_axis.calls import Call, with_size
from serve_deploy.batch_axis.rules.along_axes import forbid
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import UNKNOWN, Size, UndecidedError, divide, product
from serve_deploy.batch_axis.values import MixesError, NotUnderstoodError, Shape, Value, fixed, normal_axis

_TRAINING = "export the model in evaluation mode"


def window_sizes(call: Call, space: Shape, kernel: Any) -> Shape:
    """The sizes of the spatial axes after a window has moved over them."""
    count = len(space)
    strides = call.attribute("strides") or [1] * count
    dilations = call.attribute("dilations") or [1] * count
    pads = call.attribute("pads") or [0] * (2 * count)
    same = call.attribute("auto_pad", "NOTSET").startswith("SAME")
    up = 1 if same or call.attribute("ceil_mode", 0) else 0
    sizes = []
    for axis, size in enumerate(space):
        if kernel is None:
            sizes.append(UNKNOWN)
            continue
        padded = size if same else size + pads[axis] + pads[axis + count] - dilations[axis] * (kernel[axis] - 1) - 1
        # Rounding up is rounding down of one stride less one more.
        sizes.append(_floor(padded + (strides[axis] - 1) * up, strides[axis]) + (0 if same else 1))
    return tuple(sizes)


def _floor(size: Any, stride: int) -> Any:
    if isinstance(size, Size):
        return size if stride == 1 or size.constant != size.constant else divide(size, stride)
    return size // stride


def _rows_after_window(call: Call, value: Value, kernel: Any) -> None:
    """Raise where the window moves over the rows; one of a single place moves over nothing."""
    if value.rows is None or value.rows.axis == 0:
        return
    axis = value.rows.axis - 2
    if axis < 0:
        raise MixesError("works over the batch axis: the rows stand where the channels should be")
    one = kernel is not None and kernel[axis] == 1
    strides, pads = call.attribute("strides"), call.attribute("pads")
    if not one or (strides and strides[axis] != 1) or (pads and (pads[axis] or pads[axis + len(pads) // 2])):
        raise MixesError("moves its window over the batch axis")


def convolve(call: Call) -> Value:
    """Conv: every sample by itself, summed over channels and a window."""
    return _convolve(call, call[0], call[1], (2,))


def _convolve(call: Call, value: Value, weights: Value, fixed_inputs: tuple[int, ...]) -> Value:
    call.needs_fixed(*fixed_inputs)
    if weights.rows is not None:
        raise NotUnderstoodError("takes its weights from the rows")
    if value.shape is None and value.rows is None:
        return fixed()
    kernel = call.attribute("kernel_shape") or (weights.known_shape[2:] if weights.shape is not None else None)
    _rows_after_window(call, value, kernel)
    channels = weights.known_shape[0] if weights.shape is not None else UNKNOWN
    shape = (value.known_shape[0], channels, *_sizes(call, value.known_shape[2:], kernel))
    return Value(shape, value.rows)


def _sizes(call: Call, space: Shape, kernel: Any) -> Shape:
    try:
        return window_sizes(call, space, kernel)
    except UndecidedError:
        return (UNKNOWN,) * len(space)


def quantised_convolve(call: Call) -> Value:
    """QLinearConv: x, its scale and zero point, w, its scale and zero point, those of y, and a bias."""
    return _convolve(call, call[0], call[3], (1, 2, 4, 5, 6, 7, 8))


def integer_convolve(call: Call) -> Value:
    """ConvInteger: zero points of x and w."""
    return _convolve(call, call[0], call[1], (2, 3))


def convolve_transposed(call: Call) -> Value:
    """ConvTranspose."""
    call.needs_fixed(1, 2)
    value, weights = call[0], call[1].known_shape
    if value.rows is not None and value.rows.axis != 0:
        raise MixesError("works over the batch axis")
    space = value.known_shape[2:]
    count = len(space)
    strides = call.attribute("strides") or [1] * count
    dilations = call.attribute("dilations") or [1] * count
    pads = call.attribute("pads") or [0] * (2 * count)
    extra = call.attribute("output_padding") or [0] * count
    kernel = weights[2:]
    sizes: list[Any] = call.attribute("output_shape") or [
        size * strides[axis]
        if call.attribute("auto_pad", "NOTSET").startswith("SAME")
        else (size - 1) * strides[axis]
        + extra[axis]
        + dilations[axis] * (kernel[axis] - 1)
        + 1
        - pads[axis]
        - pads[axis + count]
        for axis, size in enumerate(space)
    ]
    return Value((value.known_shape[0], weights[1] * call.attribute("group", 1), *sizes), value.rows)


def pool(call: Call) -> list[Value]:
    """MaxPool, AveragePool and LpPool: every sample and channel by itself."""
    value, kernel = call[0], call.attribute("kernel_shape")
    if value.rows is not None and value.rows.axis > 1:
        _rows_after_window(call, value, kernel)
    shape = (*value.known_shape[:2], *_sizes(call, value.known_shape[2:], kernel))
    result = Value(shape, value.rows)
    if call.output_count > 1 and value.rows is not None:
        # The indices of MaxPool count from the beginning of the whole batch.
        raise NotUnderstoodError("gives the places of its results, which count through the whole batch")
    return [result, result]


def pool_all(call: Call) -> Value:
    """GlobalAveragePool and its kin."""
    value = call[0]
    forbid(value, range(2, value.rank), "pools over")
    return Value((*value.known_shape[:2], *([1] * (value.rank - 2))), value.rows)


def batch_norm(call: Call) -> list[Value]:
    """BatchNormalization: with stored statistics at inference, over the batch in training mode."""
    value = call[0]
    training = call.attribute("training_mode", 0) or (call.opset < 7 and not call.attribute("is_test", 0))
    if training or (call.opset < 14 and call.output_count > 1):
        if value.rows is not None:
            raise MixesError("normalises over the batch: it is in training mode", _TRAINING)
        return [Value(value.shape)] + [fixed()] * 4
    call.needs_fixed(1, 2, 3, 4)
    forbid(value, [1], "has a scale for each entry of")
    return [Value(value.shape, value.rows)]


def resize(call: Call) -> Value:
    """Resize and Upsample: other sizes in space."""
    value = call[0]
    axes = call.attribute("axes") or list(range(value.rank))
    if call.operator == "Upsample" or call.opset < 11:
        scales, sizes = call.integers(1, "scales"), None
    else:
        scales, sizes = _optional(call, 2), _optional(call, 3)
    if call.get(1) is not None and call.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise NotUnderstoodError("crops to a region that is an input")
    call.read.add(1)
    shape = list(value.known_shape)
    for position, axis in enumerate(axes):
        old = shape[axis]
        new = sizes[position] if sizes else _scaled(old, scales[position]) if scales else UNKNOWN
        if value.rows is not None and value.rows.axis == axis and new != old:
            if new is UNKNOWN and not scales:
                raise NotUnderstoodError("resizes to sizes that are not understood")
            raise MixesError("resizes the batch axis")
        shape[axis] = new
    return Value(tuple(shape), value.rows)


def _optional(call: Call, index: int) -> list[Any] | None:
    value = call.get(index)
    if value is None or (value.shape is not None and value.shape[:1] == (0,)):
        return None
    if value.rows is not None:
        raise MixesError("takes one size for the whole batch from the rows")
    if value.content is None:
        return None
    numbers = call.numbers(index)
    return None if numbers is None else list(numbers.flat)


def _scaled(size: Any, scale: Any) -> Any:
    if scale == 1:
        return size
    if isinstance(scale, Size):
        return UNKNOWN
    if isinstance(size, Size):
        return UNKNOWN if size.per_row else Size(int(size.constant * scale), 0, True)
    return int(size * scale)


def depth_to_space(call: Call) -> Value:
    """DepthToSpace and SpaceToDepth: blocks of space against channels."""
    value, block = call[0], call.attribute("blocksize")
    forbid(value, range(1, value.rank), "moves values between channels and space across")
    size, channels, height, width = value.known_shape
    try:
        if call.operator == "DepthToSpace":
            shape = (size, divide(channels, block * block), height * block, width * block)
        else:
            shape = (size, channels * block * block, divide(height, block), divide(width, block))
    except UndecidedError:
        shape = (size, UNKNOWN, UNKNOWN, UNKNOWN)
    return Value(shape, value.rows)


def grid_sample(call: Call) -> Value:
    """GridSample: each sample by its own grid."""
    value, grid = call[0], call[1]
    if value.rows is not None and grid.rows is not None and value.rows.axis != grid.rows.axis:
        raise MixesError("samples each row by the grid of every row")
    if value.rows is None or grid.rows is None or value.rows != grid.rows or value.rows.axis:
        raise NotUnderstoodError("samples by a grid that does not belong to the rows")
    return Value((*value.known_shape[:2], *grid.known_shape[1:-1]), value.rows)


def affine_grid(call: Call) -> Value:
    """AffineGrid: a grid for each sample's matrix; the size names as many samples."""
    theta, size = call[0], call.needed(1)
    if theta.rows is not None and (theta.rows.axis or size[0] != theta.known_shape[0]):
        raise NotUnderstoodError("makes grids for another number of samples")
    return Value((size[0], *size[2:], len(size) - 2), theta.rows)


def columns_to_image(call: Call) -> Value:
    """Col2Im: the blocks of each sample to its image."""
    value, image, block = call[0], call.needed(1), call.needed(2)
    forbid(value, [1, 2], "puts blocks together over")
    channels = divide(value.known_shape[1], product(block))
    return Value((value.known_shape[0], channels, *image), value.rows)


def center_crop_pad(call: Call) -> Value:
    """CenterCropPad: other sizes on some axes."""
    value, sizes = call[0], call.needed(1)
    axes = [normal_axis(axis, value.rank) for axis in call.attribute("axes") or range(value.rank)]
    shape = value.known_shape
    for axis, size in zip(axes, sizes, strict=True):
        if value.rows is not None and value.rows.axis == axis and size != shape[axis]:
            raise MixesError("adds rows to the batch, or takes some away")
        shape = with_size(shape, axis, size)
    return Value(shape, value.rows)


RULES: dict[str, Rule] = {
    "AffineGrid": affine_grid,
    "AveragePool": pool,
    "BatchNormalization": batch_norm,
    "CenterCropPad": center_crop_pad,
    "Col2Im": columns_to_image,
    "Conv": convolve,
    "ConvInteger": integer_convolve,
    "ConvTranspose": convolve_transposed,
    "DepthToSpace": depth_to_space,
    "GlobalAveragePool": pool_all,
    "GlobalLpPool": pool_all,
    "GlobalMaxPool": pool_all,
    "GridSample": grid_sample,
    "LpPool": pool,
    "MaxPool": pool,
    "QLinearConv": quantised_convolve,
    "Resize": resize,
    "SpaceToDepth": depth_to_space,
    "Upsample": resize,
    "com.microsoft.FusedConv": convolve,
}
