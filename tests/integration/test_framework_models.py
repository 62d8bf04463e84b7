"""Python models, loaded and asked by a real Triton when they are packaged; and what check says of other frameworks."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from framework_artefacts import MODELS

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import check_repository
from serve_deploy.errors import InvalidModelError, UsageError, VerificationError
from serve_deploy.packaging.options import FrameworkOptions, PackageOptions
from serve_deploy.packaging.package import package_model

CODE = """
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [3]})
        config.add_output({"name": "y", "data_type": "TYPE_FP32", "dims": [3]})
        config.set_max_batch_size(4)
        config.set_dynamic_batching()
        return config

    def execute(self, requests):
        arrays = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb.InferenceResponse([pb.Tensor("y", (array * 2 + EXTRA).astype(np.float32))]) for array in arrays]
"""


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.arange(12, dtype=np.float32).reshape(4, 3))
    return path


def write(folder: Path, extra: str = "0") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(CODE.replace("EXTRA", extra), encoding="utf-8")
    return folder


def test_a_python_model_tells_its_tensors_and_is_asked_in_batches(tmp_path: Path, samples: Path) -> None:
    """Its own auto_complete_config says them, once, in a real Triton; then it is loaded strictly as configured."""
    options = PackageOptions(repository=tmp_path / "models", samples=samples, runtime="embedded")
    manifest = package_model(write(tmp_path / "doubler"), options).manifest
    assert [str(tensor) for tensor in (*manifest.inputs, *manifest.outputs)] == ["x FP32 [-1, 3]", "y FP32 [-1, 3]"]
    assert manifest.framework is not None
    assert manifest.framework.tensors_from == "auto_complete_config, which was run"
    assert manifest.verification is not None
    assert (manifest.verification.reference, manifest.verification.tensors) == (None, ())
    assert manifest.verification.largest_batch_executed > 1
    (checked,) = check_repository(CheckOptions(repository=tmp_path / "models", runtime="embedded")).models
    assert (checked.verdict, checked.problems, checked.notes) == ("well", (), ())


@pytest.mark.parametrize(
    ("signature", "extra", "said"),
    [
        ("x FP32 [-1, 3] -> y FP32 [-1, 4]", "0", "returns 'y' as [1, 3], and its signature says [-1, 4]"),
        ("x FP32 [-1, 3] -> y FP32 [-1, 3]", "len(requests)", "when requests run together"),
    ],
    ids=["another shape", "rows that know of each other"],
)
def test_a_python_model_that_answers_otherwise_is_refused(
    signature: str, extra: str, said: str, tmp_path: Path, samples: Path
) -> None:
    """And nothing is written."""
    framework = FrameworkOptions(signature=signature)
    options = PackageOptions(
        repository=tmp_path / "models", samples=samples, runtime="embedded", framework=framework, max_batch_size=4
    )
    with pytest.raises(VerificationError) as refused:
        package_model(write(tmp_path / "model", extra), options)
    assert said in refused.value.message
    assert not (tmp_path / "models" / "model").exists()


def test_a_python_model_that_does_not_load_is_refused(tmp_path: Path) -> None:
    """With Triton's own words."""
    source = write(tmp_path / "model")
    (source / "model.py").write_text("import nowhere_to_be_found\n" + CODE, encoding="utf-8")
    framework = FrameworkOptions(signature="x FP32 [3] -> y FP32 [3]")
    options = PackageOptions(repository=tmp_path / "models", runtime="embedded", framework=framework)
    with pytest.raises(InvalidModelError, match="nowhere_to_be_found"):
        package_model(source, options)


def test_an_installed_triton_without_the_backend_verifies_nothing(native: Path, tmp_path: Path, samples: Path) -> None:
    """It is started and asked to load the model, and says what it lacks; a Python model it does load."""
    options = PackageOptions(repository=tmp_path / "models")
    manifest = package_model(MODELS / "xgboost_binary.json", options).manifest
    assert manifest.framework is not None
    assert (manifest.verification, manifest.framework.not_verified) == (
        None, "this machine's Triton does not have the backend",
    )  # fmt: skip
    with pytest.raises(UsageError, match="this machine's Triton does not have the backend"):
        package_model(MODELS / "openvino.xml", replace(options, runtime="installed"))
    signature = FrameworkOptions(signature="x FP32 [-1, 3] -> y FP32 [-1, 3]")
    asked = replace(options, runtime="installed", samples=samples, framework=signature)
    verification = package_model(write(tmp_path / "doubler"), asked).manifest.verification
    assert verification is not None
    assert (verification.runtime, verification.requests) == ("installed", 1)


def test_check_reads_what_this_machines_triton_cannot_load(tmp_path: Path) -> None:
    """Packaged models are not tried and not blamed; a damaged file and a wrong configuration are."""
    repository = tmp_path / "models"
    options = PackageOptions(repository=repository, verify=False)
    for name in ("openvino.xml", "xgboost_binary.json", "lightgbm_binary.txt", "treelite_binary.tl"):
        package_model(MODELS / name, options)
    graph = repository / "openvino" / "1" / "model.xml"
    graph.write_bytes(graph.read_bytes()[:400])
    config = repository / "lightgbm_binary" / "config.pbtxt"
    config.write_text(config.read_text(encoding="utf-8").replace("dims: [5]", "dims: [6]"), encoding="utf-8")
    shutil.rmtree(repository / "treelite_binary" / "1")
    checked = {
        model.name: (model.verdict, [f"{problem.field}: {problem.message}" for problem in model.problems])
        for model in check_repository(CheckOptions(repository=repository, runtime="embedded")).models
    }
    assert checked["xgboost_binary"] == ("not_tried", [])
    assert "1/model.xml: is an OpenVINO model, but a corrupt one or cut short" in checked["openvino"][1]
    assert "input[0].dims: 'input__0' is [-1, 6] here, [-1, 5] in the model" in checked["lightgbm_binary"][1]
    assert checked["treelite_binary"][0] == "broken"
