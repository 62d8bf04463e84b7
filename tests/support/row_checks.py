"""Does a model treat each row of a batch as it treats the row alone? Asked of ONNX Runtime, with varied rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]
_ORDERS = ((0, 1), (1, 0, 2), (2, 2, 1, 0, 3), (3,))
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}
_WORDS = ("the", "fox", "a b", "over the lazy dog", "x-1", "")


def load(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session that optimises nothing away and logs nothing."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def draw_rows(
    session: onnxruntime.InferenceSession, numbers: np.random.Generator, *, count: int = 4, below: int = 3
) -> list[Feeds]:
    """Random samples with 1 on axis 0; whole numbers from 0 to below, floats of very different scale."""
    rows = []
    for _ in range(count):
        row = {}
        for tensor in session.get_inputs():
            shape = [1, *(size if isinstance(size, int) else 5 for size in tensor.shape[1:])]
            if tensor.type == "tensor(string)":
                row[tensor.name] = numbers.choice(np.array(_WORDS, dtype=object), size=shape)
                continue
            kind = np.dtype(_TYPES[tensor.type])
            drawn = numbers.normal(size=shape) * 10.0 ** numbers.integers(-1, 2)
            row[tensor.name] = (
                drawn.astype(kind) if kind.kind == "f" else numbers.integers(0, below, shape).astype(kind)
            )
        rows.append(row)
    return rows


def find_mixing(session: onnxruntime.InferenceSession, rows: Sequence[Feeds]) -> str | None:
    """How a stack of rows differs from the rows alone; None where none does."""
    try:
        alone = [session.run(None, dict(row)) for row in rows]
    except Exception as error:  # noqa: BLE001 - whatever ONNX Runtime raises is its answer
        return f"does not run on one row: {str(error)[:200]}"
    for order in _ORDERS:
        stack = {name: np.concatenate([rows[index][name] for index in order]) for name in rows[0]}
        try:
            together = session.run(None, stack)
        except Exception as error:  # noqa: BLE001
            return f"does not run on {len(order)} rows: {str(error)[:200]}"
        for place, output in enumerate(together):
            if difference := _compare(output, [alone[index][place] for index in order]):
                return f"output {place} in {order}: {difference}"
    return None


def _compare(output: Any, alone: Sequence[Any]) -> str | None:
    if isinstance(output, list):
        return None if [item for each in alone for item in each] == output else "other maps"
    if any(each.ndim == 0 or len(each) != 1 for each in alone) or output.ndim == 0 or len(output) != len(alone):
        return f"{output.shape} for {len(alone)} rows"
    for row, each in enumerate(alone):
        if each.shape[1:] != output.shape[1:] or not _is_same(output[row : row + 1], each):
            return f"row {row} is {output[row].ravel()[:4]}, alone {each.ravel()[:4]}"
    return None


def _is_same(one: Array, other: Array) -> bool:
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    return bool(np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True))
