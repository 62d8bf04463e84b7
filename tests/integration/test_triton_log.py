"""The log of a real Triton, in the format that the chart asks for, tells each model's state and reason."""

from __future__ import annotations

from pathlib import Path

from repositories import add_ensemble, add_model

from serve_deploy.triton import ServerOptions, start_server
from serve_deploy.triton.log import read_error, read_models


def test_states_and_reasons(tmp_path: Path) -> None:
    """One model and its ensemble are ready, another's file is broken, and Triton says where."""
    add_model(tmp_path, "good", packaged=False)
    add_ensemble(tmp_path, "pipeline", "good")
    broken = add_model(tmp_path, "broken", packaged=False)
    (broken / "1" / "model.onnx").write_bytes(b"not a model")
    options = ServerOptions(repository=tmp_path, extra_arguments=("--log-format=ISO8601",))
    with start_server(options) as server:
        log = server.log_text()
    models = read_models(log)
    assert {name: model.state for name, model in models.items()} == {
        "good": "ready", "pipeline": "ready", "broken": "failed",
    }  # fmt: skip
    assert "model.onnx" in models["broken"].reason
    assert (read_error(log) or "").startswith("model broken: ")
