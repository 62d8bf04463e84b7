"""The onnx package's backend test cases: a model, requests, and the answers that the standard expects."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

# "real" cases are downloads of large models; they add no operator and no type.
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")

_WIDER = {
    "bfloat16": np.float32,
    "float8": np.float32,
    "float4": np.float32,
    "int4": np.int8,
    "int2": np.int8,
    "uint4": np.uint8,
    "uint2": np.uint8,
}

Value = Any  # an array, a list for a sequence, None for an optional input left out


@dataclass(frozen=True)
class Request:
    """Inputs by name, and the expected outputs in the model's order."""

    inputs: dict[str, Value]
    expected: Sequence[Value]


@dataclass(frozen=True)
class Case:
    """One backend test case; `atol` and `rtol` are its own."""

    name: str
    model: onnx.ModelProto
    requests: tuple[Request, ...]
    rtol: float
    atol: float

    @property
    def output_names(self) -> list[str]:
        return [output.name for output in self.model.graph.output]


def load_cases() -> list[Case]:
    """Every case, by name."""
    with warnings.catch_warnings():
        # The reference data divides by zero and overflows on purpose.
        warnings.simplefilter("ignore")
        return sorted(_load(), key=lambda case: case.name)


def _load() -> Iterator[Case]:
    from onnx.backend.test.loader import load_model_tests

    seen = set()
    for kind in KINDS:
        for found in load_model_tests(kind=kind):
            if found.name in seen:
                continue
            seen.add(found.name)
            if found.model is not None:
                model = found.model
                requests = [_request(model, inputs, outputs) for inputs, outputs in found.data_sets]
            else:
                folder = Path(found.model_dir)
                model = onnx.load(folder / "model.onnx")
                requests = [_read_request(model, data) for data in sorted(folder.glob("test_data_set_*"))]
            yield Case(found.name, model, tuple(requests), found.rtol, found.atol)


def _request(model: onnx.ModelProto, inputs: Sequence[Value], outputs: Sequence[Value]) -> Request:
    return Request(dict(zip(_input_names(model), map(_plain, inputs), strict=False)), tuple(map(_plain, outputs)))


def _input_names(model: onnx.ModelProto) -> list[str]:
    return [tensor.name for tensor in model.graph.input]


def _read_request(model: onnx.ModelProto, folder: Path) -> Request:
    def read(role: str, descriptions: Sequence[onnx.ValueInfoProto]) -> list[Value]:
        return [
            _read_value(folder / f"{role}_{index}.pb", description)
            for index, description in enumerate(descriptions)
            if (folder / f"{role}_{index}.pb").exists()
        ]

    return _request(model, read("input", model.graph.input), read("output", model.graph.output))


def _read_value(path: Path, description: onnx.ValueInfoProto) -> Value:
    content = path.read_bytes()
    if description.type.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if description.type.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))


def _plain(value: Value) -> Value:
    """Types that numpy lacks in the next one that it has, as `--fix` serves them; strings as `str`."""
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value)
        wider = next((wide for kind, wide in _WIDER.items() if value.dtype.name.startswith(kind)), None)
        if wider is not None:
            return value.astype(wider)
        if value.dtype.kind in "OSU":
            return np.array(
                [item.decode() if isinstance(item, bytes) else str(item) for item in value.flat], dtype=object
            ).reshape(value.shape)
    return value
