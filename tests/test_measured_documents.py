"""What the documents show of load tests is what happens; it wants the machine to itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_sessions import ROOT, type_session


@pytest.mark.parametrize("name", ["README.md", "docs/loadtest.md"])
def test_measured_session_in_the_document_is_what_happens(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each command of the document is run and says, numbers apart, what the document shows."""
    type_session(ROOT / name, tmp_path, updating=request.config.getoption("--update-golden"))
