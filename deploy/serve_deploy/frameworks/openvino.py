"""OpenVINO IR: an XML file of layers and edges, and beside it a file of weights.

Sources: openvino, docs of the IR format; openvino_backend, src/openvino.cc.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact, Tensor, reading
from serve_deploy.manifest import ReasonedValue
from serve_deploy.tensors.types import DataType

_TYPES = {
    "f16": DataType.FP16, "f32": DataType.FP32, "f64": DataType.FP64, "bf16": DataType.BF16, "i8": DataType.INT8,
    "i16": DataType.INT16, "i32": DataType.INT32, "i64": DataType.INT64, "u8": DataType.UINT8, "u16": DataType.UINT16,
    "u32": DataType.UINT32, "u64": DataType.UINT64, "boolean": DataType.BOOL, "string": DataType.BYTES,
    # What the ports of a layer call them.
    "fp16": DataType.FP16, "fp32": DataType.FP32, "fp64": DataType.FP64, "bool": DataType.BOOL,
}  # fmt: skip


@dataclass
class _Document:
    """What is kept of the XML while it is read, layer by layer."""

    ir_version: str = ""
    runtime: str | None = None
    inputs: list[Tensor] = field(default_factory=list)
    results: list[tuple[str, str, DataType | None, tuple[int, ...]]] = field(default_factory=list)
    port_names: dict[tuple[str, str], str] = field(default_factory=dict)
    port_types: dict[tuple[str, str], str] = field(default_factory=dict)
    feeds: dict[str, tuple[str, str]] = field(default_factory=dict)
    weight_bytes: int = 0


def read_openvino(path: Path) -> Artefact:
    """Read an IR; InvalidModelError where the XML or its weights are not whole."""
    with reading(path, "an OpenVINO model"):
        document = _read(path)
        if not document.ir_version:
            raise InvalidModelError(
                f"{path} is XML, but no OpenVINO model: it has no net", hint="save it with ov.save_model"
            )
        weights = path.with_suffix(".bin")
        _require_weights(path, weights, document.weight_bytes)
        outputs = tuple(_outputs(path, document))
    if not document.inputs or not outputs:
        raise InvalidModelError(f"{path} has no inputs or no outputs", hint="save the whole model with ov.save_model")
    return Artefact(
        framework="OpenVINO",
        backend="openvino",
        source=path,
        files={"model.xml": path, **({"model.bin": weights} if weights.is_file() else {})},
        inputs=tuple(document.inputs),
        outputs=outputs,
        version=document.runtime,
        facts=(ReasonedValue(name="ir_version", value=document.ir_version, reason="read from the file"),),
        device="cpu",
        reasons={
            "backend": "OpenVINO runs the model",
            "instance_group.kind": "the backend runs on the CPU in NVIDIA's container",
            "parameters": "read by the OpenVINO backend",
            "parameters[ENABLE_BATCH_PADDING]": "else each batch below max_batch_size is an error",
        },
    )


def _read(path: Path) -> _Document:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    document = _Document()
    try:
        # Entities are what XML bombs are made of, and no IR has any.
        for _event, element in iterparse(path, events=("end",), forbid_dtd=True):
            _take(path, element, document)
    except DefusedXmlException as error:
        raise InvalidModelError(
            f"{path} declares XML entities, which no OpenVINO model does", hint="save it again with ov.save_model"
        ) from error
    except ParseError as error:
        raise ValueError(str(error)) from error
    return document


def _take(path: Path, element: Any, document: _Document) -> None:
    if element.tag == "layer":
        _take_layer(path, element, document)
        element.clear()
    elif element.tag == "edge":
        document.feeds[element.attrib["to-layer"]] = (element.attrib["from-layer"], element.attrib["from-port"])
        element.clear()
    elif element.tag == "net":
        document.ir_version = element.attrib["version"]
    elif element.tag in ("info", "Runtime_version") and "OpenVINO" in element.attrib.get("name", "OpenVINO"):
        document.runtime = element.attrib.get("value", "").partition("-")[0] or document.runtime


def _take_layer(path: Path, element: Any, document: _Document) -> None:
    layer, kind = element.attrib["id"], element.attrib["type"]
    data = element.find("data")
    attributes = data.attrib if data is not None else {}
    for port in element.iterfind("output/port"):
        key = (layer, port.attrib["id"])
        document.port_names[key] = port.attrib.get("names", "")
        document.port_types[key] = port.attrib.get("precision", "")
    if kind == "Parameter":
        names = next((port.attrib.get("names", "") for port in element.iterfind("output/port")), "")
        document.inputs.append(_input(path, element.attrib["name"], names, attributes))
    elif kind == "Const" and "offset" in attributes:
        document.weight_bytes = max(document.weight_bytes, int(attributes["offset"]) + int(attributes["size"]))
    elif kind == "Result":
        port = next(element.iterfind("input/port"))
        shape = tuple(int(dim.text) for dim in port.iterfind("dim"))
        data_type = _TYPES.get(port.attrib.get("precision", "").lower())
        document.results.append((layer, element.attrib.get("output_names", ""), data_type, shape))


def _input(path: Path, layer: str, names: str, attributes: Any) -> Tensor:
    name = _first(names)
    if not name:
        raise InvalidModelError(
            f"{path}: input '{layer}' has no tensor name, and Triton's OpenVINO backend finds tensors by name",
            hint=f"name it before saving: model.input(…).set_names({{'{layer}'}})",
        )
    data_type = _TYPES.get(attributes["element_type"])
    if data_type is None:
        raise InvalidModelError(
            f"{path}: input '{name}' is {attributes['element_type']}, which Triton cannot serve",
            hint="convert it to another type before saving",
        )
    shape = tuple(_dim(path, name, text.strip()) for text in attributes["shape"].split(",") if text.strip())
    if not shape:
        raise InvalidModelError(
            f"{path}: input '{name}' is a scalar, which Triton's OpenVINO backend does not serve",
            hint="give it a dimension before saving",
        )
    return Tensor(name, data_type, shape)


def _dim(path: Path, name: str, text: str) -> int:
    if ".." in text:
        raise InvalidModelError(
            f"{path}: input '{name}' has a range of sizes ({text}), which Triton's OpenVINO backend does not support",
            hint="save the model with that dimension free (-1) or fixed",
        )
    return -1 if text == "?" else int(text)


def _outputs(path: Path, document: _Document) -> Iterator[Tensor]:
    for layer, names, data_type, shape in document.results:
        source = document.feeds[layer]
        name = _first(names) or _first(document.port_names.get(source, ""))
        if not name:
            raise InvalidModelError(
                f"{path}: an output has no tensor name, and Triton's OpenVINO backend finds tensors by name",
                hint="name it before saving: model.output(0).set_names({'output'})",
            )
        own = data_type or _TYPES.get(document.port_types.get(source, "").lower())
        yield Tensor(name, own, shape)


def _first(names: str) -> str:
    """The first of a tensor's names; a comma within one is escaped."""
    return names.replace("\\,", "\0").split(",")[0].replace("\0", ",")


def _require_weights(path: Path, weights: Path, needed: int) -> None:
    if not needed:
        return
    if not weights.is_file():
        raise InvalidModelError(f"{weights} is missing: it holds the weights of {path.name}", hint="put it beside it")
    size = weights.stat().st_size
    if size < needed:
        raise InvalidModelError(
            f"{weights} has {size:,} bytes, and {path.name} needs {needed:,}", hint="export or copy it again"
        )
