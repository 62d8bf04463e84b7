"""IR version and opsets are read without the rest of the file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import doubling_model

from serve_deploy.onnx.header import read_versions


def test_versions_are_those_of_the_file(tmp_path: Path) -> None:
    """Several domains, around a graph too long to be read."""
    model = doubling_model(ir_version=9)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model.graph.doc_string = "long " * 10_000
    onnx.save(model, tmp_path / "model.onnx")
    assert read_versions(tmp_path / "model.onnx") == (9, {"ai.onnx": 17, "ai.onnx.ml": 3})


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"no model at all", b"\x08"])
def test_what_is_no_model_has_no_versions(tmp_path: Path, content: bytes) -> None:
    """Anything else is told by IR version 0, never by an exception."""
    (tmp_path / "file").write_bytes(content)
    assert read_versions(tmp_path / "file")[1] == {}
    assert read_versions(tmp_path / "missing") == (0, {})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_no_content_raises(tmp_path: Path, content: bytes) -> None:
    """Whatever the bytes are, reading them ends with a result."""
    (tmp_path / "file").write_bytes(content)
    assert isinstance(read_versions(tmp_path / "file")[0], int)
