"""What a packaged model itself answers to its samples: the outputs to expect of the server."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.endpoint.model import Model, with_served_ranks
from serve_deploy.endpoint.payload import Sample
from serve_deploy.errors import UsageError
from serve_deploy.onnx.session_run import run_session


def with_own_outputs(samples: tuple[Sample, ...], repository: Path, model: Model) -> tuple[Sample, ...]:
    """The samples with ONNX Runtime's outputs, in the shapes that a client sees; UsageError without an ONNX file."""
    import onnxruntime

    path = repository / model.name / model.version / "model.onnx"
    file = path / "model.onnx" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            f"--validate: {repository} holds no {model.name}/{model.version}/model.onnx to ask for the outputs",
            hint="give the outputs with --expected",
        )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return tuple(
        Sample(sample.inputs, with_served_ranks(model.outputs, run_session(session, sample.inputs)))
        for sample in samples
    )
