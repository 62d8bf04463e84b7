"""Which paths a snapshot may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.stores.names import find_bad_path

PARTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PATHS = st.lists(PARTS, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (["m/../../etc/passwd"], "not a path inside"),
        (["/etc/passwd"], "not a path inside"),
        (["m//1/model.onnx"], "not a path inside"),
        (["m/./model.onnx"], "not a path inside"),
        ([""], "an empty path"),
        (["m\\..\\x/1"], "character"),
        (["m/1/new\nline"], "character"),
        (["m/1/\udcff"], "character"),
        (["README.md"], "not in a model's folder"),
        ([".git/config"], "hidden folder"),
        (["m/1/" + "x" * 900], "longer than"),
        (["m/1/Model.onnx", "m/1/model.onnx"], "differ only in case"),
        (["M/1/a.onnx", "m/1/b.onnx"], "M and m differ only in case"),
        (["m/größe", "m/gro\u0308ße"], "Unicode form"),
        (["m/strasse", "m/straße"], "differ only in case"),
        (["m/1", "m/1/model.onnx"], "both a file and a folder"),
        (["m/1", "m/1"], "listed twice"),
    ],
)
def test_what_no_store_can_keep_is_refused(paths: list[str], why: str) -> None:
    """With the reason."""
    assert why in (find_bad_path(paths) or "")


def test_usual_paths_are_taken() -> None:
    """Blanks, dots, letters of any language, hidden files in a model."""
    usual = ["m/config.pbtxt", "m/1/model.onnx", "m/1/.gitkeep", "m/a b+c.txt", "模型/1/größe.bin", "m.v2/1/x"]
    assert find_bad_path(usual) is None


@given(st.lists(PATHS, max_size=4))
def test_a_path_that_is_taken_stays_inside_its_folder(paths: list[str]) -> None:
    """Whatever the paths are: joined to a folder, none leads out, and no two are one."""
    if find_bad_path(paths) is None:
        assert all(part not in ("", ".", "..") for path in paths for part in path.split("/"))
        assert not any("\\" in path or "\n" in path or path.startswith(".") for path in paths)
        assert len({path.casefold() for path in paths}) == len(paths)
