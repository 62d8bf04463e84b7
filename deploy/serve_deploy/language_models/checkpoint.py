"""Read a checkpoint's folder: its configuration, and what its weights' files hold, from their headers alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError

CONFIG_FILE = "config.json"
_INDEX = "model.safetensors.index.json"
# Beyond what any header is; a length like this comes from another kind of file.
_LONGEST_HEADER = 2**28
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass(frozen=True)
class Checkpoint:
    """`config` is config.json; `measured_bytes` None where no weights are here, `left_out_bytes` what no engine loads.

    `modelopt`, `generation` and `tokenizer` are hf_quant_config.json, generation_config.json, tokenizer_config.json.
    """

    name: str
    config: dict[str, Any]
    config_bytes: bytes = field(repr=False)
    modelopt: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=dict)
    measured_bytes: int | None = None
    left_out_bytes: int = 0
    weights_origin: str = ""


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read what is in a folder; InvalidModelError where there is no config.json, or a file is broken."""
    content = _read_bytes(folder / CONFIG_FILE)
    config = parse_config_json(content, folder / CONFIG_FILE)
    measured, left_out, origin = _measure(folder, config)
    return Checkpoint(
        name=folder.resolve().name,
        config=config,
        config_bytes=content,
        modelopt=_read_optional(folder / "hf_quant_config.json"),
        generation=_read_optional(folder / "generation_config.json"),
        tokenizer=_read_optional(folder / "tokenizer_config.json"),
        measured_bytes=measured,
        left_out_bytes=left_out,
        weights_origin=origin,
    )


def parse_config_json(content: bytes, path: Path | str) -> dict[str, Any]:
    """Parse a JSON object; InvalidModelError where it is none."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise InvalidModelError(f"{path} is not JSON: {error}", hint="download it again") from error
    if not isinstance(value, dict):
        raise InvalidModelError(f"{path} is not a JSON object", hint="download it again")
    return value


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InvalidModelError(
            f"{path.parent} has no {path.name}", hint="give the folder of a checkpoint, as transformers writes it"
        ) from None
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror}") from error


def _read_optional(path: Path) -> dict[str, Any]:
    return parse_config_json(_read_bytes(path), path) if path.is_file() else {}


def _measure(folder: Path, config: dict[str, Any]) -> tuple[int | None, int, str]:
    """Bytes of the weights that are loaded, of those that are not, and where that is from."""
    files = _weight_files(folder)
    if files:
        sizes = [size for file in files for size in _tensor_sizes(file)]
        layers = int((config.get("text_config") or config).get("num_hidden_layers") or 0)
        left_out = sum(size for name, size in sizes if _is_beyond(name, layers))
        many = f"{len(files)} files" if len(files) > 1 else files[0].name
        return sum(size for _name, size in sizes) - left_out, left_out, f"measured in the headers of {many}"
    index = folder / _INDEX
    if index.is_file():
        total = (parse_config_json(_read_bytes(index), index).get("metadata") or {}).get("total_size")
        if isinstance(total, int | float) and total > 0:
            return int(total), 0, f"total_size in {_INDEX}"
    return None, 0, ""


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that the index names, all of which must be here, or those that there are without one."""
    index = folder / _INDEX
    if not index.is_file():
        return sorted(file for file in folder.glob("*.safetensors") if not file.name.startswith("consolidated"))
    names = sorted(set((parse_config_json(_read_bytes(index), index).get("weight_map") or {}).values()))
    there = [folder / name for name in names if (folder / name).is_file()]
    if there and len(there) < len(names):
        missing = next(name for name in names if not (folder / name).is_file())
        raise InvalidModelError(
            f"{folder} has {len(there)} of {len(names)} weights' files; {missing} is missing",
            hint="finish the download",
        )
    return there


def _tensor_sizes(file: Path) -> Iterator[tuple[str, int]]:
    """Each tensor of a safetensors file with its bytes: 8 bytes of length, then a JSON header with the offsets."""
    broken = InvalidModelError(f"{file} is not a whole safetensors file", hint="download it again")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= _LONGEST_HEADER:
            raise broken
        header = stream.read(length)
    try:
        tensors = json.loads(header)
        sizes = [(name, end - start) for name, (start, end) in _offsets(tensors)]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise broken from None
    if 8 + length + sum(size for _name, size in sizes) > file.stat().st_size:
        raise broken
    yield from sizes


def _offsets(tensors: dict[str, Any]) -> Iterator[tuple[str, tuple[int, int]]]:
    for name, tensor in tensors.items():
        if name != "__metadata__":
            start, end = tensor["data_offsets"]
            yield name, (int(start), int(end))


def _is_beyond(name: str, layers: int) -> bool:
    """Whether a tensor belongs to a layer after the last: those predict further tokens, and are not loaded."""
    found = _LAYER.search(name)
    return bool(layers and found and int(found[1]) >= layers and "vision" not in name and "visual" not in name)
