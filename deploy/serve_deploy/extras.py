"""How to install what an extra of this package brings, into the environment that runs it."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

_DISTRIBUTION = "triton-serve"


def install_command(extra: str) -> str:
    """A command that works without the package being on PyPI: it names what the extra requires."""
    wanted, python = shlex.join(_requirements(extra)), shlex.quote(sys.executable)
    if (Path(sys.prefix) / "pipx_metadata.json").exists():
        return f"pipx inject {_DISTRIBUTION} {wanted}"
    if (Path(sys.prefix) / "uv-receipt.toml").exists():
        return f"uv pip install --python {python} {wanted}"
    return f"{python} -m pip install {wanted}"


def _requirements(extra: str) -> list[str]:
    try:
        declared = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:  # run from a source tree that was never installed
        declared = []
    mark = f"extra == '{extra}'"
    found = [text.partition(";")[0].strip() for text in declared if mark in text.replace('"', "'")]
    return found or [f".[{extra}]"]
