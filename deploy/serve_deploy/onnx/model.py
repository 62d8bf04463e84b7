"""Read an ONNX model file: signature, opsets, external data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.external_data import find_external_files
from serve_deploy.onnx.graph import all_nodes, needs_locale
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto, TypeProto, ValueInfoProto


_OTHER_FORMATS = {
    "saved_model.pb": "it is a TensorFlow SavedModel: convert it with tf2onnx",
    "config.json": "if it is a language model's checkpoint, say which engine serves it: `backend=vllm`",
}
_ORT_DOMAINS = {
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "ai.onnx.preview", "com.microsoft",
    "com.microsoft.experimental", "com.microsoft.nchwc", "com.microsoft.dml", "com.ms.internal.nhwc",
    "org.pytorch.aten",
}  # fmt: skip
# The element types that Triton serves, by the names that ONNX Runtime and, in capitals, ONNX give them.
DATA_TYPES = {
    "float": DataType.FP32, "double": DataType.FP64, "float16": DataType.FP16, "bfloat16": DataType.BF16,
    "string": DataType.BYTES, "bool": DataType.BOOL, "int8": DataType.INT8, "int16": DataType.INT16,
    "int32": DataType.INT32, "int64": DataType.INT64, "uint8": DataType.UINT8, "uint16": DataType.UINT16,
    "uint32": DataType.UINT32, "uint64": DataType.UINT64,
}  # fmt: skip


@dataclass(frozen=True)
class UnsupportedTensor:
    """An input or output that Triton cannot serve, such as a sequence of maps."""

    name: str
    direction: Literal["input", "output"]
    kind: str  # sequence, map, optional, sparse tensor, opaque or tensor
    type_name: str

    @property
    def described(self) -> str:
        """Its type with an article: `an optional float tensor`."""
        return f"{'an' if self.type_name[:1] in 'aeio' else 'a'} {self.type_name}"


@dataclass(frozen=True)
class OnnxModel:
    """What a model file says of itself; `signature` leaves out what Triton cannot serve (`unsupported`).

    `signature` lists initializers that are also inputs last, as optional ones. `symbols` names the free dims of each
    input, None where a dim is fixed or has no name. `needs_locale` is whether it loads only where there is the locale
    en_US.UTF-8.
    """

    path: Path
    signature: ModelSignature
    ir_version: int
    opsets: dict[str, int]
    sha256: str
    external_files: tuple[Path, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    unsupported: tuple[UnsupportedTensor, ...] = ()
    custom_domains: tuple[str, ...] = ()
    needs_locale: bool = False
    symbols: dict[str, tuple[str | None, ...]] = field(default_factory=dict)


def read_model(path: Path, content: bytes | None = None) -> OnnxModel:
    """Read a model file without its external data; InvalidModelError says in one line what is wrong with it.

    `content` stands for the file's own.
    """
    content = _read_file(path) if content is None else content
    proto = parse_proto(path, content)
    graph = proto.graph
    initializers = {i.name for i in graph.initializer} | {i.values.name for i in graph.sparse_initializer}
    required = [i for i in graph.input if i.name not in initializers]
    overridable = [i for i in graph.input if i.name in initializers]
    inputs = _specs(required) + _specs(overridable, optional=True)
    return OnnxModel(
        path=path,
        signature=ModelSignature(inputs=inputs, outputs=_specs(graph.output)),
        ir_version=proto.ir_version,
        opsets={entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
        sha256=hashlib.sha256(content).hexdigest(),
        external_files=find_external_files(path, proto),
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        unsupported=(*_unsupported(graph.input, "input"), *_unsupported(graph.output, "output")),
        custom_domains=_custom_domains(proto),
        needs_locale=any(map(needs_locale, all_nodes(proto))),
        symbols={i.name: tuple(d.dim_param or None for d in i.type.tensor_type.shape.dim) for i in graph.input},
    )


def _read_file(path: Path) -> bytes:
    if path.is_dir():
        known = (name for name in _OTHER_FORMATS if (path / name).exists())
        hint = _OTHER_FORMATS.get(
            next(known, ""), "name the model file in it; of folders, a SavedModel and a Python model are read"
        )
        raise InvalidModelError(f"{path} is a folder, not a model file", hint=hint)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InvalidModelError(f"{path} does not exist", hint="check the path of the model file") from None
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if not content:
        raise InvalidModelError(f"{path} is empty", hint="export or download the model again")
    return content


def parse_proto(path: Path, content: bytes | None = None) -> ModelProto:
    """Parse a model file, leaving its external data where it is; raises InvalidModelError like `read_model`."""
    import onnx
    from google.protobuf.message import DecodeError

    from serve_deploy.onnx.file_formats import name_format

    content = _read_file(path) if content is None else content
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
        raise InvalidModelError(f"{path} has no ONNX graph", hint="export or download the model again")
    if not proto.graph.output:
        raise InvalidModelError(f"{path} has no outputs, so there is nothing to serve")
    return proto


def _dims(value: ValueInfoProto) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else -1 for d in dims)


def _data_type(value: ValueInfoProto) -> DataType | None:
    return DATA_TYPES.get(_element_name(value.type.tensor_type.elem_type))


def _specs(values: Iterable[ValueInfoProto], *, optional: bool = False) -> tuple[TensorSpec, ...]:
    typed = [(value, _data_type(value)) for value in values]
    return tuple(TensorSpec(v.name, known, _dims(v), optional=optional) for v, known in typed if known)


def _unsupported(
    values: Iterable[ValueInfoProto], direction: Literal["input", "output"]
) -> Iterator[UnsupportedTensor]:
    for value in values:
        kind = value.type.WhichOneof("value")
        if kind and _data_type(value) is None:
            kind = kind.removesuffix("_type").replace("_", " ")
            yield UnsupportedTensor(value.name, direction, kind, _name_type(value.type))


def _name_type(type_proto: TypeProto) -> str:
    """Name an ONNX type for people, such as `sequence of map of string to float tensors`."""
    match type_proto.WhichOneof("value"):
        case "sequence_type":
            return f"sequence of {_name_type(type_proto.sequence_type.elem_type)}"
        case "optional_type":
            return f"optional {_name_type(type_proto.optional_type.elem_type)}"
        case "map_type":
            key = _element_name(type_proto.map_type.key_type)
            return f"map of {key} to {_name_type(type_proto.map_type.value_type)}"
        case "sparse_tensor_type":
            return f"sparse {_element_name(type_proto.sparse_tensor_type.elem_type)} tensor"
        case _:
            return f"{_element_name(type_proto.tensor_type.elem_type)} tensor"


def _element_name(number: int) -> str:
    import onnx

    try:
        return str(onnx.TensorProto.DataType.Name(number)).lower()
    except ValueError:  # a type that this version of onnx does not know
        return str(number)


def _custom_domains(proto: ModelProto) -> tuple[str, ...]:
    known = _ORT_DOMAINS | {function.domain for function in proto.functions}
    return tuple(sorted({node.domain for node in proto.graph.node} - known))


def list_needs(model: OnnxModel) -> tuple[str, ...]:
    """What the model needs of the image that serves it, as notes for the user."""
    if not model.needs_locale:
        return ()
    return (
        "StringNormalizer needs the locale en_US.UTF-8: install it in Triton's image, or serve package --fix changes "
        "it to C.UTF-8, which every image has",
    )
