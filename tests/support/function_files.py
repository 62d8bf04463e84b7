"""Function files for tests."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.model_config import format_config
from serve_deploy.python_models.config import build_python_config
from serve_deploy.python_models.model import PythonModel

HEAD = """
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = Annotated[NDArray[np.float32], "batch", 3]
"""

BEST = """
NAMES = (Path(__file__).parent / "names.txt").read_text().split()


class Found(NamedTuple):
    name: Annotated[NDArray[np.str_], "batch"]
    total: Annotated[NDArray[np.float32], "batch", 2]


def best(scores: Floats, prefix: Annotated[NDArray[np.str_], "batch"] | None = None) -> Found:
    print("this is no result")
    if (scores < 0).any():
        raise ValueError("scores must not be below 0")
    if (scores > 1000).any():
        raise RuntimeError("too much")
    names = np.array([NAMES[index] for index in scores.argmax(axis=1)])
    if prefix is not None:
        names = np.array([before + name for before, name in zip(prefix, names)])
    return Found(names, scores[:, :2] * np.float32(2))
"""


def write_function(folder: Path, code: str, name: str = "post.py", **beside: str) -> Path:
    """A function file with the usual imports, and text files beside it (`names_txt="…"` is names.txt)."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in beside.items():
        (folder / file.replace("_", ".")).write_text(content)
    path = folder / name
    path.write_text(HEAD + code)
    return path


def write_python_model(repository: Path, name: str, model: PythonModel) -> Path:
    """The model as Triton loads it, without manifest and proofs."""
    config = build_python_config(name, model)
    for path, content in {**model.files, "config.pbtxt": format_config(config, {}).encode()}.items():
        (repository / name / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / name / path).write_bytes(content)
    return repository / name
