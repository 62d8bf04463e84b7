"""What a model file reads beside itself."""

from __future__ import annotations

from pathlib import Path


def list_companions(file: Path) -> tuple[str, ...]:
    """Paths from the file's folder: an ONNX model's external data, the weights of OpenVINO's IR.

    InvalidModelError where a file called .onnx is none.
    """
    if file.suffix.lower() == ".xml":
        return (file.with_suffix(".bin").name,)
    if file.suffix.lower() != ".onnx":
        return ()
    from serve_deploy.onnx.external_data import measure_external_data
    from serve_deploy.onnx.model import parse_proto

    return tuple(sorted(measure_external_data(file, parse_proto(file))))
