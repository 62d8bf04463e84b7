"""The files of a Python model in its folder: the adapter, the function and what goes with it, its requirements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

REQUIREMENTS_NAME = "requirements.txt"
_ADAPTER = Path(__file__).parent / "adapter"
_VERSION = "1"


def lay_out(function_files: Mapping[str, bytes], requirements: Sequence[str]) -> dict[str, bytes]:
    """Every file by its path in the model's folder, as version 1."""
    adapter = {f"{_VERSION}/{name}": (_ADAPTER / name).read_bytes() for name in ("model.py", "serve_calling.py")}
    own = {f"{_VERSION}/function/{path}": content for path, content in function_files.items()}
    listed = {REQUIREMENTS_NAME: "".join(f"{line}\n" for line in requirements).encode()} if requirements else {}
    return {**adapter, **own, **listed}


def parameters_of(file: str, function: str, text: Sequence[str], *, merges: bool = True) -> dict[str, str]:
    """What config.pbtxt tells the adapter."""
    told = {"function": f"{file}:{function}"}
    if text:
        told["text"] = ",".join(text)
    if not merges:
        told["merge_requests"] = "false"
    return told
