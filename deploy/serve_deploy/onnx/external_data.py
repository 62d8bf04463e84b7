"""Where a model keeps tensors outside of its file, checked to be beside it and whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.graph import iterate_tensors

if TYPE_CHECKING:
    from onnx import ModelProto


def find_external_files(path: Path, proto: ModelProto) -> tuple[Path, ...]:
    """The files that hold the model's external data; InvalidModelError for missing, short or outside ones."""
    needed_bytes = measure_external_data(path, proto)
    return tuple(_external_file(path, location, size) for location, size in sorted(needed_bytes.items()))


def measure_external_data(path: Path, proto: ModelProto) -> dict[str, int]:
    """How many bytes the model needs of each file of its external data, by the location that it gives."""
    from onnx.external_data_helper import uses_external_data

    needed_bytes: dict[str, int] = {}
    for tensor in filter(uses_external_data, iterate_tensors(proto)):
        info = {entry.key: entry.value for entry in tensor.external_data}
        try:
            end = int(info.get("offset") or 0) + int(info.get("length") or 0)
        except ValueError:
            raise InvalidModelError(f"{path}: the external data of tensor '{tensor.name}' has a bad offset") from None
        location = info.get("location", "")
        needed_bytes[location] = max(end, needed_bytes.get(location, 0))
    return needed_bytes


def _external_file(path: Path, location: str, needed_bytes: int) -> Path:
    folder = path.parent.resolve()
    target = path.parent / location
    # A download cache links both model and data into one folder of blobs; that is as much inside as the folder itself.
    inside = any(target.resolve().is_relative_to(root) for root in (folder, path.resolve().parent))
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or not inside:
        raise InvalidModelError(
            f"{path}: its external data '{location}' lies outside the model's folder, which serve does not follow",
            hint="save the model again with its data beside it",
        )
    if not target.is_file():
        raise InvalidModelError(
            f"{path}: its external data file '{location}' is missing", hint=f"put it beside the model, in {path.parent}"
        )
    if target.stat().st_size < needed_bytes:
        raise InvalidModelError(
            f"{path}: its external data file '{location}' has {target.stat().st_size} bytes, "
            f"but the model reads up to byte {needed_bytes}",
            hint="copy or download the data file again",
        )
    return folder / location
