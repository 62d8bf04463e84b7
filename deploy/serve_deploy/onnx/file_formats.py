"""Name a file that is not ONNX by its first bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileFormat:
    """What the file is, and how it becomes ONNX."""

    description: str
    hint: str


_TORCH = FileFormat("it is a PyTorch file", "export it to ONNX: torch.onnx.export(model, example, 'model.onnx')")
_KERAS = FileFormat("it is a Keras/HDF5 file", "convert it with tf2onnx")
_TENSORRT = FileFormat(
    "it is a TensorRT engine, which runs only on the GPU type and version it was built for",
    "package the ONNX model that it was built from, with `optimization=tensorrt`",
)
# (offset, magic, format); the first that fits counts.
_MAGICS = (
    (0, b"PK\x03\x04", FileFormat(
        "it is a zip archive, as PyTorch (.pt, .pth) and Keras (.keras) files are",
        "export it to ONNX: torch.onnx.export(model, example, 'model.onnx'), or tf2onnx for Keras",
    )),
    (0, b"\x89HDF\r\n", _KERAS),
    (0, b"ftrt", _TENSORRT),
    (0, b"ptrt", _TENSORRT),
    (4, b"TFL3", FileFormat("it is a TensorFlow Lite file", "convert it with tf2onnx --tflite")),
    (4, b"ORTM", FileFormat("it is in ONNX Runtime's own .ort format", "package the .onnx file it was made from")),
    (0, b"GGUF", FileFormat("it is a GGUF file", "Triton's ONNX backend needs an ONNX export of the model")),
    (0, b"version https://git-lfs", FileFormat(
        "it is a Git LFS pointer, not the file itself", "fetch the file with: git lfs pull"
    )),
    (0, b"\x1f\x8b", FileFormat("it is a gzip archive", "unpack it first")),
    (0, b"<?xml", FileFormat("it is XML, as OpenVINO models are", "package the ONNX model instead")),
    (0, b"<!DOCTYPE", FileFormat("it is a web page, not a model", "download the file itself")),
    (0, b"<html", FileFormat("it is a web page, not a model", "download the file itself")),
)  # fmt: skip
_SUFFIXES = {
    ".pt": _TORCH, ".pth": _TORCH, ".h5": _KERAS, ".keras": _KERAS, ".engine": _TENSORRT, ".plan": _TENSORRT,
    ".safetensors": FileFormat("it is a safetensors file of weights alone", "export the model to ONNX"),
}  # fmt: skip


def name_format(content: bytes, suffix: str) -> FileFormat | None:
    """What a file is by its first bytes, or else by its suffix; None where it may well be ONNX."""
    for offset, magic, file_format in _MAGICS:
        if content[offset : offset + len(magic)] == magic:
            return file_format
    if content[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return FileFormat("it is a Python pickle, as old PyTorch and scikit-learn files are", "export it to ONNX")
    return _SUFFIXES.get(suffix.lower())
