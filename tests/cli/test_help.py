"""Help costs nothing: it imports none of the libraries that the work itself needs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest

# What makes start-up slow, measured with -X importtime; `serve --help` needs typer alone.
HEAVY = [
    "aiohttp", "google.protobuf", "grpc", "jinja2", "kubernetes", "numpy", "onnx", "onnxruntime", "prometheus_client",
    "pydantic", "rich", "tritonclient", "urllib3", "uvloop", "yaml",
]  # fmt: skip
PROBE = """
import json, sys
from serve_cli.app import main
sys.argv = ["serve", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]), file=sys.stderr)
"""


def _commands() -> list[str]:
    from typer.main import get_command

    from serve_cli.app import app

    return sorted(getattr(get_command(app), "commands", {}))


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in _commands())], ids=" ".join)
def test_help_imports_no_heavy_library(arguments: list[str]) -> None:
    """Every --help prints to stdout, exits 0 and leaves the heavy libraries alone."""
    probe = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True)
    code, modules = json.loads(probe.stderr)
    assert (code, "Usage: serve" in probe.stdout) == (0, True)
    # Typer itself reads the options before a command's name with pydantic.
    assert set(HEAVY) & set(modules) <= ({"pydantic"} if len(arguments) > 1 else set())


@pytest.fixture(scope="module")
def read_help() -> Callable[[str, int], str]:
    """A command's help on a terminal of so many columns; each is printed once."""

    @cache
    def read(command: str, columns: int) -> str:
        return subprocess.run(
            [sys.executable, "-m", "serve_cli", command, "--help"], env=os.environ | {"COLUMNS": str(columns)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    return read


@pytest.mark.parametrize("command", _commands())
def test_command_help_shows_an_example(read_help: Callable[[str, int], str], command: str) -> None:
    """Every command's help contains a line that can be typed."""
    assert f"serve {command} " in read_help(command, 80).split("Usage:", 1)[1].split("\n", 1)[1]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", _commands())
def test_help_fits_its_terminal(read_help: Callable[[str, int], str], command: str, columns: int) -> None:
    """No line is wider than the terminal or 100 columns, and limits stand there in words."""
    text = read_help(command, columns)
    assert max(map(len, text.splitlines())) <= min(columns, 100)
    assert not re.search(r"[<>]=x|x[<>]=|<list|<path>|<str>", text)


@pytest.mark.parametrize("command", _commands())
def test_an_example_in_lines_is_the_same_command(read_help: Callable[[str, int], str], command: str) -> None:
    """A shell reads the examples of a narrow help as it reads those of a wide one."""
    narrow, wide = (read_help(command, columns).split("Examples:\n")[1].split("\n\n")[0] for columns in (60, 120))
    assert shlex.split(narrow.replace("\\\n", " ")) == shlex.split(wide)
