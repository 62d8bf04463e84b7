"""The committed example is what its README says it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

DIGITS = Path(__file__).parents[1] / "examples" / "digits"


def test_example_model_answers_as_expected() -> None:
    """ONNX Runtime gives the committed probabilities, and they name the digits shown."""
    session = onnxruntime.InferenceSession(DIGITS / "digits.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], dict(np.load(DIGITS / "samples.npz")))
    np.testing.assert_allclose(probabilities, np.load(DIGITS / "expected.npz")["probabilities"], atol=1e-5)
    assert probabilities.argmax(axis=1).tolist() == np.load(DIGITS / "digits.npy").tolist()


def test_example_model_is_small_and_old_enough_for_every_release() -> None:
    """IR 8 and opset 17 are read by the ONNX Runtime of all supported releases, and the file stays small."""
    model = onnx.load(DIGITS / "digits.onnx")
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert (DIGITS / "digits.onnx").stat().st_size < 100_000
