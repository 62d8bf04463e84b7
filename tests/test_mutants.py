"""What `make mutants` plants faults in, and what was judged of them, is there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUTANTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutants"]
JUDGED = tomllib.loads((ROOT / "scripts" / "mutants" / "judged.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("pattern", MUTANTS["modules"])
def test_a_module_under_trial_and_its_tests_are_there(pattern: str) -> None:
    """A file that moved takes its trial with it."""
    assert list(ROOT.glob(pattern))
    assert (ROOT / MUTANTS["modules"][pattern][0]).exists()


@pytest.mark.parametrize("module", JUDGED)
def test_what_was_judged_is_still_a_line_of_its_module(module: str) -> None:
    """A fault that can no longer be planted needs no judgement; each one has a reason."""
    lines = {"".join(line.split()) for line in (ROOT / module).read_text(encoding="utf-8").splitlines()}
    for name, reason in JUDGED[module].items():
        line = name.partition(": ")[2]
        before, after = line.partition("{")[0], line.rpartition("}")[2]
        assert any(_holds(each, before, after) for each in lines), name
        assert reason


def _holds(line: str, before: str, after: str) -> bool:
    return line.startswith("".join(before.split())) and line.endswith("".join(after.split()))
