"""Read an ONNX model file: signature, opsets, external data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.external_data import find_external_files
from serve_deploy.onnx.graph import iterate_nodes, needs_locale
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto, TypeProto, ValueInfoProto


_ORT_DOMAINS = {
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "ai.onnx.preview", "com.microsoft",
    "com.microsoft.experimental", "com.microsoft.nchwc", "com.microsoft.dml", "com.ms.internal.nhwc",
    "org.pytorch.aten",
}  # fmt: skip
# Element types of TensorProto that Triton serves, by their number in onnx.proto.
_DATA_TYPES = {
    1: DataType.FP32, 2: DataType.UINT8, 3: DataType.INT8, 4: DataType.UINT16, 5: DataType.INT16, 6: DataType.INT32,
    7: DataType.INT64, 8: DataType.BYTES, 9: DataType.BOOL, 10: DataType.FP16, 11: DataType.FP64,
    12: DataType.UINT32, 13: DataType.UINT64, 16: DataType.BF16,
}  # fmt: skip


@dataclass(frozen=True)
class UnsupportedTensor:
    """An input or output that Triton cannot serve, such as a sequence of maps."""

    name: str
    direction: Literal["input", "output"]
    kind: Literal["sequence", "map", "optional", "sparse tensor", "tensor"]
    type_name: str


@dataclass(frozen=True)
class OnnxModel:
    """What a model file says of itself; `signature` leaves out what Triton cannot serve (`unsupported`).

    `signature` lists initializers that are also inputs last, as optional ones. `symbols` names the free dims of each
    input, None where a dim is fixed or has no name. `unknown_rank` names tensors declared without a shape.
    `needs_locale` is whether it loads only where there is the locale en_US.UTF-8.
    """

    path: Path
    signature: ModelSignature
    ir_version: int
    opsets: dict[str, int]
    sha256: str
    size_bytes: int
    external_files: tuple[Path, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    initializer_inputs: tuple[str, ...] = ()
    unsupported: tuple[UnsupportedTensor, ...] = ()
    unknown_rank: tuple[str, ...] = ()
    custom_domains: tuple[str, ...] = ()
    needs_locale: bool = False
    symbols: dict[str, tuple[str | None, ...]] = field(default_factory=dict)


def read_model(path: Path) -> OnnxModel:
    """Read a model file without its external data; InvalidModelError says in one line what is wrong with it."""
    content = _read_file(path)
    proto = _parse(path, content)
    graph = proto.graph
    initializers = {i.name for i in graph.initializer} | {i.values.name for i in graph.sparse_initializer}
    required = [i for i in graph.input if i.name not in initializers]
    overridable = [i for i in graph.input if i.name in initializers]
    inputs = _specs(required) + _specs(overridable, optional=True)
    return OnnxModel(
        path=path,
        signature=ModelSignature(inputs=inputs, outputs=_specs(graph.output)),
        ir_version=proto.ir_version,
        opsets=_opsets(proto),
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        external_files=find_external_files(path, proto),
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        initializer_inputs=tuple(i.name for i in overridable),
        unsupported=(*_unsupported(graph.input, "input"), *_unsupported(graph.output, "output")),
        unknown_rank=tuple(v.name for v in (*graph.input, *graph.output) if _has_no_shape(v)),
        custom_domains=_custom_domains(proto),
        needs_locale=any(map(needs_locale, iterate_nodes(graph))),
        symbols={i.name: _symbols(i) for i in graph.input},
    )


def load_proto(path: Path) -> ModelProto:
    """Parse a model file, leaving its external data where it is; raises InvalidModelError like `read_model`."""
    return _parse(path, _read_file(path))


def _read_file(path: Path) -> bytes:
    if path.is_dir():
        saved_model = (path / "saved_model.pb").exists()
        raise InvalidModelError(
            f"{path} is a folder, not an ONNX file",
            hint="it is a TensorFlow SavedModel: convert it with tf2onnx" if saved_model else "name the .onnx file",
        )
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InvalidModelError(f"{path} does not exist", hint="check the path of the model file") from None
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if not content:
        raise InvalidModelError(f"{path} is empty", hint="export or download the model again")
    return content


def _parse(path: Path, content: bytes) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    from serve_deploy.onnx.file_formats import name_format

    other = name_format(content, path.suffix)
    if other is not None:
        raise InvalidModelError(f"{path} is not ONNX: {other.description}", hint=other.hint)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise InvalidModelError(
            f"{path} is not an ONNX model, or a truncated one: it does not parse as one",
            hint="export or download the model again",
        ) from error
    if not proto.HasField("graph") or proto.ir_version <= 0 or not (proto.graph.node or proto.graph.output):
        raise InvalidModelError(f"{path} holds no ONNX graph", hint="export or download the model again")
    if not proto.graph.output:
        raise InvalidModelError(f"{path} has no outputs, so there is nothing to serve")
    return proto


def _opsets(proto: ModelProto) -> dict[str, int]:
    return {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}


def _dims(value: ValueInfoProto) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else -1 for d in dims)


def _symbols(value: ValueInfoProto) -> tuple[str | None, ...]:
    return tuple(d.dim_param or None for d in value.type.tensor_type.shape.dim)


def _has_no_shape(value: ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")


def _specs(values: Iterable[ValueInfoProto], *, optional: bool = False) -> tuple[TensorSpec, ...]:
    served = [v for v in values if v.type.tensor_type.elem_type in _DATA_TYPES]
    return tuple(
        TensorSpec(v.name, _DATA_TYPES[v.type.tensor_type.elem_type], _dims(v), optional=optional) for v in served
    )


def _unsupported(
    values: Iterable[ValueInfoProto], direction: Literal["input", "output"]
) -> Iterator[UnsupportedTensor]:
    kinds: dict[str | None, Any] = {
        "sequence_type": "sequence", "map_type": "map", "optional_type": "optional",
        "sparse_tensor_type": "sparse tensor", "tensor_type": "tensor",
    }  # fmt: skip
    for value in values:
        if value.type.tensor_type.elem_type not in _DATA_TYPES and value.type.WhichOneof("value"):
            kind = kinds.get(value.type.WhichOneof("value"), "tensor")
            yield UnsupportedTensor(value.name, direction, kind, name_type(value.type))


def name_type(type_proto: TypeProto) -> str:
    """Name an ONNX type for people, such as `sequence of map of string to float tensors`."""
    import onnx

    def element(number: int) -> str:
        name: str = onnx.TensorProto.DataType.Name(number) if number in _element_types() else str(number)
        return name.lower()

    match type_proto.WhichOneof("value"):
        case "sequence_type":
            return f"sequence of {name_type(type_proto.sequence_type.elem_type)}"
        case "optional_type":
            return f"optional {name_type(type_proto.optional_type.elem_type)}"
        case "map_type":
            key = element(type_proto.map_type.key_type)
            return f"map of {key} to {name_type(type_proto.map_type.value_type)}"
        case "sparse_tensor_type":
            return f"sparse {element(type_proto.sparse_tensor_type.elem_type)} tensor"
        case _:
            return f"{element(type_proto.tensor_type.elem_type)} tensor"


def _element_types() -> set[int]:
    import onnx

    return set(onnx.TensorProto.DataType.values())


def _custom_domains(proto: ModelProto) -> tuple[str, ...]:
    known = _ORT_DOMAINS | {function.domain for function in proto.functions}
    return tuple(sorted({node.domain for node in proto.graph.node} - known))
