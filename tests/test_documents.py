"""What the documents show is what happens: sessions are run, options and links exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from document_sessions import BLOCK, ROOT, type_session
from planning_inputs import write_planning_inputs

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
# Their ```console blocks are typed, in order, in an empty folder that holds examples/. Those that measure are typed by
# test_measured_documents.py.
SESSIONS = [
    "docs/packaging.md", "docs/profiles.md", "docs/frameworks.md", "docs/language-models.md", "docs/stateful.md",
    "docs/running.md", "docs/stores.md", "docs/pipelines.md", "docs/functions.md", "docs/repositories.md",
    "docs/planning.md",
]  # fmt: skip
# What their readers bring along.
PREPARED = {"docs/planning.md": write_planning_inputs}


@pytest.mark.parametrize("name", SESSIONS)
def test_session_in_the_document_is_what_happens(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Each command of the document is run and says, numbers apart, what the document shows."""
    PREPARED.get(name, lambda _folder: None)(tmp_path)
    type_session(ROOT / name, tmp_path, updating=request.config.getoption("--update-golden"))


def _typed_commands(text: str) -> list[str]:
    bodies = [re.sub(r"\\\n\s*", "", body) for language, body in BLOCK.findall(text) if language in ("console", "sh")]
    return [line for body in bodies for line in re.findall(r"^(?:\$ )?(serve \w.*)$", body, re.MULTILINE)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_options_in_the_document_exist(document: Path) -> None:
    """Every command and every --option that a document tells people to type is one that serve has."""
    from typer.main import get_command

    from serve_cli.app import app

    commands = getattr(get_command(app), "commands", {})
    unknown = []
    for line in _typed_commands(document.read_text(encoding="utf-8")):
        verb = line.split()[1]
        known = {option for parameter in getattr(commands.get(verb), "params", []) for option in parameter.opts}
        typed = re.findall(r"(?<=\s)--[a-z][\w-]*", line.split(" -- ")[0])
        unknown += (
            [line] if verb not in commands else [f"{verb} {name}" for name in typed if name not in known | {"--help"}]
        )
    assert unknown == []


def test_readme_lists_every_command() -> None:
    """No command is left out of the table, and none is in it that serve does not have."""
    from typer.main import get_command

    from serve_cli.app import app

    rows = "\n".join(re.findall(r"^\| (`serve .*?) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`serve (\w+)`", rows)) == set(getattr(get_command(app), "commands", {}))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_in_the_document_lead_somewhere(document: Path) -> None:
    """Relative links name files that exist, and `make` commands name targets that exist."""
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)(?=[`\s])", "\n".join(re.findall(r"`+[^`]*`+", text)))) <= targets


def test_ci_runs_what_the_readme_tells_people_to_run() -> None:
    """Every target that .ci/run makes is one that the README names, and the workflow calls .ci/run."""
    steps = re.findall(r"^step make (.*)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    targets = [word for step in steps for word in step.split() if re.fullmatch(r"[a-z][a-z-]*", word)]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"demo", "lint", "test"} <= set(targets)
    assert [target for target in targets if f"make {target}" not in readme] == []
    assert "run: bash .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
