"""TensorFlow SavedModels: the signature that TensorFlow's backend serves, read by the few fields that tell it.

Source: tensorflow, core/protobuf/{saved_model,meta_graph}.proto and core/framework/{types,tensor_shape}.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.frameworks.artefact import Artefact, Tensor, reading
from serve_deploy.manifest import ReasonedValue
from serve_deploy.tensors.types import DataType

GRAPH_NAME = "saved_model.pb"
_TAG, _SIGNATURE = "serve", "serving_default"
# Message: (field, number, type or message, repeated).
_FIELDS: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "SavedModel": (("meta_graphs", 2, "MetaGraph", True),),
    "MetaGraph": (("info", 1, "Info", False), ("signatures", 5, "NamedSignature", True)),
    "Info": (("tags", 4, "string", True), ("tensorflow_version", 5, "string", False)),
    "NamedSignature": (("key", 1, "string", False), ("value", 2, "Signature", False)),
    "Signature": (("inputs", 1, "NamedTensor", True), ("outputs", 2, "NamedTensor", True)),
    "NamedTensor": (("key", 1, "string", False), ("value", 2, "TensorInfo", False)),
    "TensorInfo": (("name", 1, "string", False), ("dtype", 2, "int32", False), ("shape", 3, "Shape", False)),
    "Shape": (("dim", 2, "Dim", True), ("unknown_rank", 3, "bool", False)),
    "Dim": (("size", 1, "int64", False),),
}
_TYPES = {
    1: DataType.FP32, 2: DataType.FP64, 3: DataType.INT32, 4: DataType.UINT8, 5: DataType.INT16, 6: DataType.INT8,
    7: DataType.BYTES, 9: DataType.INT64, 10: DataType.BOOL, 17: DataType.UINT16, 19: DataType.FP16,
    22: DataType.UINT32, 23: DataType.UINT64,
}  # fmt: skip


def read_savedmodel(folder: Path, parameters: Mapping[str, str]) -> Artefact:
    """Read a SavedModel's folder; UsageError where `TF_SIGNATURE_DEF` of the parameters names none of its."""
    from google.protobuf.message import DecodeError

    path = folder / GRAPH_NAME
    with reading(path, "a SavedModel"):
        document = _message()()
        try:
            document.ParseFromString(path.read_bytes())
        except DecodeError as error:
            raise ValueError(str(error)) from error
    graph = _choose_graph(folder, document, parameters.get("TF_GRAPH_TAG", _TAG))
    name, signature = _choose_signature(folder, graph, parameters)
    _require_variables(folder)
    given = {"TF_SIGNATURE_DEF": name} if name != _SIGNATURE else {}
    return Artefact(
        framework="TensorFlow",
        backend="tensorflow",
        platform="tensorflow_savedmodel",
        source=path,
        files={f"model.savedmodel/{file.relative_to(folder).as_posix()}": file for file in _files(folder)},
        inputs=_tensors(folder, signature.inputs),
        outputs=_tensors(folder, signature.outputs),
        version=graph.info.tensorflow_version or None,
        facts=(
            ReasonedValue(name="signature", value=name, reason="what clients call"),
            ReasonedValue(name="tags", value=", ".join(graph.info.tags), reason="read from the file"),
        ),
        parameters={**given, **parameters},
        reasons={
            "backend": "TensorFlow runs the SavedModel",
            "platform": "a SavedModel",
            "parameters": "read by the TensorFlow backend",
            "parameters[TF_SIGNATURE_DEF]": "the signature that is served",
        },
        notes=("converted to ONNX, as tf2onnx does, every release of Triton serves it",),
    )


def _choose_graph(folder: Path, document: Any, tag: str) -> Any:
    tagged = [graph for graph in document.meta_graphs if tag in graph.info.tags]
    if tagged:
        return tagged[0]
    if not document.meta_graphs:
        raise InvalidModelError(
            f"{folder / GRAPH_NAME} is no SavedModel: it holds no graph", hint="save it with tf.saved_model.save"
        )
    tags = ", ".join(sorted({tag for graph in document.meta_graphs for tag in graph.info.tags})) or "none"
    raise InvalidModelError(
        f"{folder} has no graph with the tag '{tag}', which Triton serves; its tags: {tags}",
        hint="save it with tf.saved_model.save, or name the tag: `parameters=TF_GRAPH_TAG=TAG`",
    )


def _choose_signature(folder: Path, graph: Any, parameters: Mapping[str, str]) -> tuple[str, Any]:
    signatures = {entry.key: entry.value for entry in graph.signatures if not entry.key.startswith("__")}
    asked = parameters.get("TF_SIGNATURE_DEF")
    names = ", ".join(sorted(signatures))
    if not signatures:
        raise InvalidModelError(
            f"{folder} has no signature, so nothing says what goes in and out",
            hint="save it with tf.saved_model.save(model, FOLDER, signatures=FUNCTION)",
        )
    if asked is not None and asked not in signatures:
        raise UsageError(
            f"`parameters=TF_SIGNATURE_DEF={asked}`: {folder} has no such signature", hint=f"it has {names}"
        )
    chosen = asked or (_SIGNATURE if _SIGNATURE in signatures else names if len(signatures) == 1 else None)
    if chosen is None:
        raise InvalidModelError(
            f"{folder} has the signatures {names}, and none is called {_SIGNATURE}",
            hint="say which one is served: `parameters=TF_SIGNATURE_DEF=NAME`",
        )
    return chosen, signatures[chosen]


def _tensors(folder: Path, entries: Any) -> tuple[Tensor, ...]:
    return tuple(_tensor(folder, entry.key, entry.value) for entry in sorted(entries, key=lambda entry: entry.key))


def _tensor(folder: Path, name: str, info: Any) -> Tensor:
    if not info.name:
        raise InvalidModelError(
            f"{folder}: tensor '{name}' is sparse or ragged, which Triton cannot serve",
            hint="save a signature of dense tensors",
        )
    if info.dtype not in _TYPES:
        raise InvalidModelError(
            f"{folder}: tensor '{name}' has TensorFlow's type {info.dtype}, which Triton cannot serve",
            hint="cast it in the signature's function, and save it again",
        )
    unknown = info.shape.unknown_rank
    return Tensor(name, _TYPES[info.dtype], None if unknown else tuple(int(dim.size) for dim in info.shape.dim))


def _require_variables(folder: Path) -> None:
    names = [path.name for path in (folder / "variables").glob("variables.data-*")]
    if "variables.index" in {path.name for path in (folder / "variables").glob("*")} and not names:
        raise InvalidModelError(
            f"{folder}/variables has an index without its data", hint="copy the whole folder of the SavedModel"
        )
    for name in names:
        count = int(name.rsplit("-", 1)[-1])
        if len(names) != count:
            raise InvalidModelError(
                f"{folder}/variables has {len(names)} of {count} data files", hint="copy the whole folder"
            )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@cache
def _message() -> Any:
    """The class of SavedModel messages: only the fields above; protobuf keeps the rest unread."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    scalars = {
        "string": FieldDescriptorProto.TYPE_STRING, "int32": FieldDescriptorProto.TYPE_INT32,
        "int64": FieldDescriptorProto.TYPE_INT64, "bool": FieldDescriptorProto.TYPE_BOOL,
    }  # fmt: skip
    file = FileDescriptorProto(name="saved_model.proto", package="saved", syntax="proto3")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
            added = described.field.add(name=name, number=number, label=label)
            if kind in scalars:
                added.type = scalars[kind]
            else:
                added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".saved.{kind}"
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("saved.SavedModel"))
