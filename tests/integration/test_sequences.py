"""Sequences sent to a real Triton, compared with the model run with its state in hand.

The embedded server keeps no implicit state, so that a Python model stands in for it: it keeps the state itself.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from recurrent_models import BATCH_FIRST, parse

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import check_repository
from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.onnx.session import open_model
from serve_deploy.packaging.fixes.servable import Servable
from serve_deploy.packaging.options import PackageOptions, StatefulOptions
from serve_deploy.packaging.package import package_model
from serve_deploy.packaging.stateful.analysis import StatefulAnalysis, analyse_stateful
from serve_deploy.packaging.stateful.model import make_stateful
from serve_deploy.packaging.stateful.verification import verify_sequences
from serve_deploy.progress import silent

STATEFUL = StatefulOptions(stateful=True)
MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.states = {}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x, start, number = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("x", "START", "CORRID")
        )
        kept = self.states.get(int(number.flat[0]), 0) if FORGETS_START or not start.any() else 0
        self.states[int(number.flat[0])] = state = kept * np.float32(0.5) + x
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", np.tanh(state))])
"""
CONFIG = """
backend: "python" max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [3] }
output { name: "y" data_type: TYPE_FP32 dims: [3] }
sequence_batching {
  max_sequence_idle_microseconds: 600000000
  oldest { max_candidate_sequences: 16 }
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START bool_false_true: [false, true] } }
  control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
}
"""


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> StatefulAnalysis:
    """What is known of a leaky sum in ONNX."""
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    onnx.save(parse(BATCH_FIRST), path)
    options = PackageOptions(sequences=STATEFUL)
    _, stateful = make_stateful(Servable(open_model(path), (), (), None), options, silent)
    return analyse_stateful(stateful, options, silent)


def keep_state(repository: Path, *, forgets_start: bool) -> Path:
    """A Python model that keeps the leaky sum of each sequence."""
    folder = repository / "m"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "1" / "model.py").write_text(MODEL.replace("FORGETS_START", str(forgets_start)))
    return folder


def test_sequences_of_a_triton_that_keeps_state_are_the_models_own(analysis: StatefulAnalysis, tmp_path: Path) -> None:
    """Each alone and all of them at once, eight requests and more."""
    folder = keep_state(tmp_path, forgets_start=False)
    verification = verify_sequences(folder, analysis, "embedded", silent)
    assert (verification.sequences, verification.requests) == (9, 100)
    assert [tensor.name for tensor in verification.tensors] == ["y"]


def test_a_sequence_that_does_not_start_anew_is_seen(analysis: StatefulAnalysis, tmp_path: Path) -> None:
    """Its number was used before, by a sequence that ended."""
    folder = keep_state(tmp_path, forgets_start=True)
    with pytest.raises(VerificationError, match="request 1 of sequence 1 does not match"):
        verify_sequences(folder, analysis, "embedded", silent)


def test_the_embedded_server_says_that_it_keeps_no_state(tmp_path: Path) -> None:
    """When it is asked to verify, when nothing else is there, and when it is asked to load the model."""
    onnx.save(parse(BATCH_FIRST), tmp_path / "m.onnx")
    options = PackageOptions(repository=tmp_path / "models", sequences=STATEFUL)
    with pytest.raises(UsageError, match="cannot keep a model's state"):
        package_model(
            tmp_path / "m.onnx",
            PackageOptions(repository=tmp_path / "models", sequences=STATEFUL, runtime="embedded"),
        )
    packaged = package_model(tmp_path / "m.onnx", options)
    assert packaged.manifest.verification is None
    assert "the embedded server cannot keep a model's state" in packaged.not_verified
    (model,) = check_repository(CheckOptions(repository=tmp_path / "models", runtime="embedded")).models
    assert model.verdict == "not_tried"
    assert "not tried here: it needs the native ONNX Runtime backend of the container" in model.notes
