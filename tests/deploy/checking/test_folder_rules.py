"""A model's folder, as `serve check` judges it."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.checking.folder_rules import check_folder
from serve_deploy.repository.model_folder import read_model_folder


def test_a_configuration_that_does_not_parse_is_named_once(tmp_path: Path) -> None:
    """The problem's place is the file, and its message begins with the line and column."""
    (tmp_path / "config.pbtxt").write_text("max_batch_size 4\n")
    problems = [problem for problem in check_folder(read_model_folder(tmp_path)) if problem.field == "config.pbtxt"]
    assert [problem.message.split()[0] for problem in problems] == ["1:16"]
