"""Checkpoints of published language models: config.json files by their public fields, and safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve_deploy.language_models.architecture import read_architecture
from serve_deploy.language_models.memory import ModelMemory
from serve_deploy.language_models.precision import Backend, read_precision

CHECKPOINTS = Path(__file__).parent / "published"
NAMES = sorted(path.name for path in CHECKPOINTS.iterdir())


def config_file(name: str) -> Path:
    return CHECKPOINTS / name / "config.json"


def read_config(name: str, **changes: Any) -> dict[str, Any]:
    """The model's config.json, with fields replaced, or left out where they are None."""
    config = {**json.loads(config_file(name).read_bytes()), **changes}
    return {key: value for key, value in config.items() if value is not None}


def model_memory(name: str, backend: Backend = "vllm", measured: int | None = None, **precision: Any) -> ModelMemory:
    config = read_config(name)
    return ModelMemory(read_architecture(config), read_precision(config, backend, **precision), measured)


def write_safetensors(path: Path, tensors: Mapping[str, int]) -> None:
    """A file of tensors of so many bytes each; its data are a hole in the file, and take no room on the disk."""
    header, offset = {}, 0
    for name, size in tensors.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + offset)
