"""What `check` says of the files of other frameworks, in repositories that serve did not write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from framework_artefacts import MODELS, PLAN

from serve_deploy.chart.plan import choose_release
from serve_deploy.checking.folder_rules import check_folder
from serve_deploy.checking.framework_rules import check_artefacts
from serve_deploy.errors import InvalidModelError
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package_model
from serve_deploy.repository.model_folder import ModelFolder, read_model_folder

CLASSIFIER = {"is_classifier": "true", "threshold": "0.5"}
SCORER = 'platform: "tensorflow_savedmodel" input { name: "features" data_type: TYPE_FP32 dims: [-1, 4] }'


def fil(dims: int, kind: str = "xgboost_json", **parameters: str) -> str:
    given = {**CLASSIFIER, "model_type": kind, **parameters}
    listed = " ".join(f'parameters {{ key: "{name}" value {{ string_value: "{v}" }} }}' for name, v in given.items())
    return (
        'backend: "fil" max_batch_size: 32768 instance_group { kind: KIND_AUTO } '
        'input { name: "input__0" data_type: TYPE_FP32 dims: 5 } '
        f'output {{ name: "output__0" data_type: TYPE_FP32 dims: {dims} }} {listed}'
    )


def write(tmp_path: Path, config: str, source: str, name: str) -> ModelFolder:
    folder = tmp_path / "model"
    target = folder / "1" / name
    target.parent.mkdir(parents=True)
    if (MODELS / source).is_dir():
        shutil.copytree(MODELS / source, target)
    else:
        shutil.copy(MODELS / source, target)
    (folder / "config.pbtxt").write_text(config, encoding="utf-8")
    return read_model_folder(folder)


@pytest.mark.parametrize(
    ("config", "source", "name"),
    [
        (fil(1), "xgboost_binary.json", "xgboost.json"),
        (fil(1, predict_proba="true"), "xgboost_binary.json", "xgboost.json"),
        (fil(2, predict_proba="true"), "xgboost_binary.json", "xgboost.json"),
        (fil(3, predict_proba="true"), "xgboost_multiclass.json", "xgboost.json"),
        (fil(3, is_classifier="false"), "xgboost_multiclass.json", "xgboost.json"),
        (fil(1, "treelite_checkpoint") + ' default_model_filename: "m.txt"', "treelite_binary.tl", "m.txt"),
        ('backend: "openvino" default_model_filename: "model.onnx"', "openvino.bin", "model.onnx"),
        ('backend: "openvino" default_model_filename: "model.saved"', "scorer.savedmodel", "model.saved"),
        (
            'backend: "openvino" input { name: "features" data_type: TYPE_FP16 dims: [-1, 4] }',
            "openvino.xml", "model.xml",
        ),
        ('backend: "pytorch" input { name: "x" data_type: TYPE_INT64 dims: 4 }', "traced.pt", "model.pt"),
        (
            f'{SCORER} output {{ name: "scores" data_type: TYPE_FP32 dims: [-1, 3] }}',
            "scorer.savedmodel", "model.savedmodel",
        ),
        ('backend: "python"', "openvino.bin", "model.py"),
    ],
)  # fmt: skip
def test_what_triton_serves_is_not_complained_of(config: str, source: str, name: str, tmp_path: Path) -> None:
    """In whichever of the ways that its backends allow."""
    folder = write(tmp_path, config, source, name)
    if folder.config.backend == "openvino":
        shutil.copy(MODELS / "openvino.bin", folder.path / "1" / "model.bin")
    assert check_artefacts(folder, "25.02").problems == ()
    assert [p for p in check_folder(folder) if p.field.startswith("1/")] == []


@pytest.mark.parametrize(
    ("config", "source", "name", "said"),
    [
        (fil(1), "lightgbm_binary.txt", "xgboost.json", "1/xgboost.json: `parameters`: model_type is xgboost_json"),
        (fil(3), "xgboost_multiclass.json", "xgboost.json", "output[0].dims: 'output__0' is [-1, 3] here, [-1, 1]"),
        (
            fil(1, "xgboost_ubj"), "xgboost_binary.ubj", "xgboost.ubj",
            "1/xgboost.ubj: Triton 24.05 does not read XGBoost's UBJSON",
        ),
        ('backend: "pytorch"', "state_dict.pt", "model.pt", "1/model.pt: holds weights or a pickled module"),
        ('backend: "tensorrt"', "openvino.bin", "model.plan", "1/model.plan: is not a TensorRT plan"),
        (
            'backend: "openvino"', "traced.pt", "model.xml",
            "backend: model.xml is of TorchScript, which the backend pytorch serves",
        ),
        (
            SCORER.replace("features", "x"), "scorer.savedmodel", "model.savedmodel",
            "input[0].name: the model has no input 'x'",
        ),
        (
            SCORER.replace("FP32", "FP16"), "scorer.savedmodel", "model.savedmodel",
            "input[0].data_type: 'features' is TYPE_FP16 here, TYPE_FP32 in the model",
        ),
    ],
)  # fmt: skip
def test_what_triton_would_refuse_is_named(config: str, source: str, name: str, said: str, tmp_path: Path) -> None:
    """By the file or the field."""
    (problem,) = check_artefacts(write(tmp_path, config, source, name), "24.05").problems
    assert f"{problem.field}: {problem.message}".startswith(said)
    assert problem.fix


def test_plans_for_several_gpus_stand_for_the_one_of_none(tmp_path: Path) -> None:
    """`cc_model_filenames` names a file for each compute capability."""
    folder = tmp_path / "model"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "h100.plan").write_bytes(PLAN)
    config = 'backend: "tensorrt" cc_model_filenames { key: "9.0" value: "h100.plan" }'
    (folder / "config.pbtxt").write_text(config, encoding="utf-8")
    assert check_folder(read_model_folder(folder)) == ()
    (folder / "1" / "h100.plan").unlink()
    assert [problem.message for problem in check_folder(read_model_folder(folder))] == ["the model's file is missing"]


def test_a_plan_of_another_minor_version_is_noted(tmp_path: Path) -> None:
    """It may have been built version-compatible, which the file does not tell."""
    folder = tmp_path / "model"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.plan").write_bytes(PLAN)
    (folder / "config.pbtxt").write_text('backend: "tensorrt"', encoding="utf-8")
    found = check_artefacts(read_model_folder(folder), "26.05")
    assert found.problems == ()
    assert found.notes[0].startswith("1/model.plan: TensorRT 10.13.3.9 built the plan, and Triton 26.05 has 10.16.1")


def test_a_chart_takes_no_release_that_cannot_serve_the_file(tmp_path: Path) -> None:
    """The newest release that any model was packaged for may be too new for a SavedModel."""
    for name, release in (("scorer.savedmodel", "25.02"), ("openvino.xml", "26.07")):
        package_model(MODELS / name, PackageOptions(repository=tmp_path, verify=False, release=release))
    models = [read_model_folder(tmp_path / name) for name in ("scorer", "openvino")]
    assert choose_release(models, "25.02")[0] == "25.02"
    with pytest.raises(InvalidModelError, match=r"model scorer: .* Triton 26.07 has no TensorFlow backend"):
        choose_release(models, None)


def test_a_saved_model_without_a_graph_is_named(tmp_path: Path) -> None:
    """Triton would say so only at its load, and the embedded one has no such backend."""
    (tmp_path / "model" / "1" / "model.savedmodel").mkdir(parents=True)
    (tmp_path / "model" / "config.pbtxt").write_text(SCORER, encoding="utf-8")
    (problem,) = check_artefacts(read_model_folder(tmp_path / "model"), "25.02").problems
    assert (problem.field, problem.message) == ("1/model.savedmodel", "it has no saved_model.pb")


def test_a_model_type_that_the_file_contradicts_is_named_with_the_right_one(tmp_path: Path) -> None:
    """The fix says what to write."""
    folder = write(tmp_path, fil(1, "lightgbm"), "xgboost_binary.json", "model.txt")
    (problem,) = check_artefacts(folder, "25.02").problems
    assert "model_type is lightgbm, but the file says xgboost_json" in problem.message
    assert problem.fix == "write xgboost_json"
