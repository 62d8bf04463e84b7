"""docs/environment.md lists the environment variables that the code reads."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("cli", "deploy", "charts", "scripts", "tests", "benchmarks", "examples")
SUFFIXES = {".py", ".sh", ".tpl", ".yaml", ".yml"}
NAME = r"([A-Z][A-Z0-9_]+)"
READS = (
    r"\b(SERVE_[A-Z0-9_]+)\b",
    rf'environ(?:ment)?(?:\[|\.(?:get|setdefault|pop)\()"{NAME}"',
    rf'"{NAME}" (?:not )?in (?:os\.)?environ(?:ment)?\b',
)


def _read_variables() -> set[str]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    texts = [path.read_text(encoding="utf-8") for path in files if path != Path(__file__)]
    return {name for text in texts for pattern in READS for name in re.findall(pattern, text)}


def _documented_variables() -> set[str]:
    text = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    return set(re.findall(rf"^\| `{NAME}` \|", text, re.MULTILINE))


def test_every_variable_that_is_read_is_documented() -> None:
    """A variable that changes what happens is not to be found in the code only."""
    assert {"SERVE_TOKEN", "COLUMNS", "LOCPATH"} <= _read_variables()
    assert sorted(_read_variables() - _documented_variables()) == []


def test_no_variable_of_serve_is_documented_that_nothing_reads() -> None:
    """What the document says about serve's own variables is not out of date."""
    own = {name for name in _documented_variables() if name.startswith("SERVE_")}
    assert sorted(own - _read_variables()) == []
