"""The files of a Python model in its folder: the adapter, the function and what goes with it, its requirements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

REQUIREMENTS_NAME = "requirements.txt"
_ADAPTER = Path(__file__).parent / "adapter"
_VERSION = "1"


@dataclass(frozen=True)
class Call:
    """Which function of which file is called, which inputs as `str`, and whether requests may share a call."""

    file: str
    function: str
    text: tuple[str, ...] = ()
    merges: bool = True


def lay_out(function_files: Mapping[str, bytes], call: Call, requirements: Sequence[str]) -> dict[str, bytes]:
    """Every file by its path in the model's folder, as version 1: each version says itself what is called."""
    adapter = {name: (_ADAPTER / name).read_bytes() for name in ("model.py", "serve_calling.py")}
    own = {f"function/{path}": content for path, content in function_files.items()}
    listed = {REQUIREMENTS_NAME: "".join(f"{line}\n" for line in requirements).encode()} if requirements else {}
    version = {**adapter, "function.json": json.dumps(asdict(call), indent=1).encode(), **own, **listed}
    return {f"{_VERSION}/{path}": content for path, content in version.items()}
