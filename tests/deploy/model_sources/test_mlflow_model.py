"""What is read of an MLflow model's folder: the file that Triton serves, its tensors and its input example."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from framework_artefacts import MODELS
from mlflow_models import COLUMNS, EXAMPLE, write_model, write_onnx_model, write_sklearn_model

from serve_deploy.errors import InvalidModelError
from serve_deploy.model_sources.mlflow_example import read_example, write_signature
from serve_deploy.model_sources.mlflow_model import find_artefact, read_description
from serve_deploy.origin import Origin

ORIGIN = Origin(asked="models:/m@champion", pinned="models:/m/3", version="3")


def find(folder: Path) -> str:
    """The path in the folder of what Triton serves."""
    return str(find_artefact(read_description(folder), folder, ORIGIN).relative_to(folder))


def read_samples_of(folder: Path) -> tuple[dict[str, np.ndarray[Any, Any]], tuple[str, ...]]:
    """The arrays of the input example by input, and the notes."""
    described = read_description(folder)
    path = find_artefact(described, folder, ORIGIN)
    samples, notes = read_example(described, folder, path, write_signature(described, path))
    if samples is None:
        return {}, notes
    with np.load(samples) as arrays:
        return dict(arrays), notes


@pytest.mark.parametrize(
    ("flavors", "place", "artefact"),
    [
        ({"pytorch": {"model_data": "data"}}, "data/model.pth", "traced.pt"),
        ({"pytorch": {"model_data": "data"}}, "data/model.pt2", "compiled.pt2"),
        ({"xgboost": {"data": "model.xgb"}}, "model.xgb", "xgboost_binary.ubj"),
        ({"lightgbm": {"data": "model.lgb"}}, "model.lgb", "lightgbm_binary.txt"),
        ({"tensorflow": {"saved_model_dir": "tf2model"}}, "tf2model", "scorer.savedmodel"),
        ({"tensorflow": {"data": "data", "model_type": "keras"}}, "data/model", "scorer.savedmodel"),
    ],
    ids=["torchscript", "pt2", "xgboost", "lightgbm", "tensorflow", "keras"],
)
def test_a_flavours_file_is_found(tmp_path: Path, flavors: dict[str, Any], place: str, artefact: str) -> None:
    """Under the names that MLflow gives it, told by its content."""
    write_model(tmp_path, flavors)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    copy = shutil.copytree if (MODELS / artefact).is_dir() else shutil.copy
    copy(MODELS / artefact, tmp_path / place)
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data/pickle_module_info.txt").write_text("mlflow.pytorch.pickle_module")
    assert find(tmp_path) == place


def test_of_several_flavours_onnx_is_taken(tmp_path: Path) -> None:
    """It is the one that is proven most."""
    write_onnx_model(tmp_path)
    shutil.copy(MODELS / "lightgbm_binary.txt", tmp_path / "model.lgb")
    described = read_description(tmp_path)
    both = described.model_copy(update={"flavors": {"lightgbm": {"data": "model.lgb"}, **described.flavors}})
    assert find_artefact(both, tmp_path, ORIGIN).name == "model.onnx"


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    """The error says how the user can, of the version that was found."""
    write_sklearn_model(tmp_path)
    with pytest.raises(InvalidModelError, match="has no file that Triton serves: it is a model of sklearn") as caught:
        find(tmp_path)
    assert "mlflow.sklearn.load_model('models:/m/3')" in str(caught.value.hint)
    assert "runs the code that is pickled" in str(caught.value.hint)


def test_a_pickled_module_is_not_taken_for_torchscript(tmp_path: Path) -> None:
    """Both are called model.pth."""
    write_model(tmp_path, {"pytorch": {"model_data": "data"}})
    (tmp_path / "data").mkdir()
    shutil.copy(MODELS / "state_dict.pt", tmp_path / "data/model.pth")
    with pytest.raises(InvalidModelError, match=r"data/model\.pth holds weights or a pickled module") as caught:
        find(tmp_path)
    assert "mlflow.pytorch.load_model('models:/m/3')" in str(caught.value.hint)


@pytest.mark.parametrize("value", ["../outside.onnx", "/etc/passwd", "link.onnx"])
def test_a_file_outside_the_model_is_refused(tmp_path: Path, value: str) -> None:
    """Also by a link."""
    (tmp_path / "outside.onnx").write_bytes(b"")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/link.onnx").symlink_to(tmp_path / "outside.onnx")
    write_model(tmp_path / "model", {"onnx": {"data": value}})
    with pytest.raises(InvalidModelError, match="which lies outside the model"):
        find(tmp_path / "model")


@pytest.mark.parametrize("content", ["", "flavors: [", "flavors: 3", "- a", "{" * 2000])
def test_a_damaged_description_is_refused(tmp_path: Path, content: str) -> None:
    """In one line."""
    (tmp_path / "MLmodel").write_text(content)
    with pytest.raises(InvalidModelError, match="MLmodel is not as MLflow writes it"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        (EXAMPLE, "ndarray"),
        ({"x": EXAMPLE}, "ndarray"),
        ({"given_another_name": EXAMPLE}, "ndarray"),
        ({"columns": list("abcd"), "data": EXAMPLE}, "dataframe"),
    ],
    ids=["array", "named", "other name", "dataframe"],
)
def test_the_input_example_becomes_samples(tmp_path: Path, example: Any, kind: str) -> None:
    """Of a model with one input, whatever MLflow calls it."""
    samples, notes = read_samples_of(write_onnx_model(tmp_path, example=example, kind=kind))
    assert notes == ()
    assert {name: array.tolist() for name, array in samples.items()} == {"x": EXAMPLE}


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ([[1.0, 2.0]], "input 'x' has shape [1, 2], the model takes [-1, 4]"),
        ({"x": EXAMPLE, "z": EXAMPLE}, "the model has no input 'z'"),
        ([["a", "b", "c", "d"]], "input 'x' has type"),
        ([[1.0], [2.0, 3.0]], "it is of another form"),
        ("text", "input 'x' has type"),
    ],
    ids=["shape", "names", "type", "ragged", "text"],
)
def test_an_input_example_that_does_not_fit_is_left_out(tmp_path: Path, example: Any, words: str) -> None:
    """With a note that says why: it was made for pyfunc, which may change it."""
    samples, notes = read_samples_of(write_onnx_model(tmp_path, example=example))
    assert samples == {}
    assert "the model's input example is left out" in notes[0]
    assert words in notes[0]


def test_a_dataframe_is_the_row_of_a_model_of_trees(tmp_path: Path) -> None:
    """Columns in their order are the features."""
    rows = [[*row, 1.0] for row in EXAMPLE]
    write_model(tmp_path, {"lightgbm": {"data": "model.lgb"}}, example={"columns": list("abcde"), "data": rows},
                kind="dataframe", signature={"inputs": COLUMNS, "outputs": [{"type": "double"}]})  # fmt: skip
    shutil.copy(MODELS / "lightgbm_binary.txt", tmp_path / "model.lgb")
    samples, notes = read_samples_of(tmp_path)
    assert ({name: array.tolist() for name, array in samples.items()}, notes) == ({"input__0": rows}, ())


def tensor(name: str | None, dtype: str, shape: list[int]) -> dict[str, Any]:
    """A tensor as MLflow's signature has it."""
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}, **({"name": name} if name else {})}


def test_the_signature_completes_a_file_that_does_not_tell_its_tensors(tmp_path: Path) -> None:
    """TorchScript: names by position where MLflow has none."""
    signature = {"inputs": [tensor(None, "float32", [-1, 4])], "outputs": [tensor(None, "float32", [-1, 3])]}
    write_model(tmp_path, {"pytorch": {"model_data": "data"}}, signature=signature)
    (tmp_path / "data").mkdir()
    shutil.copy(MODELS / "traced.pt", tmp_path / "data/model.pth")
    described = read_description(tmp_path)
    expected = "INPUT__0 FP32 [-1,4] -> OUTPUT__0 FP32 [-1,3]"
    assert write_signature(described, tmp_path / "data/model.pth") == expected


def test_a_signature_of_columns_is_no_signature_of_tensors(tmp_path: Path) -> None:
    """What the file then lacks, the user gives."""
    write_model(
        tmp_path, {"pytorch": {"model_data": "data"}}, signature={"inputs": COLUMNS, "outputs": [{"type": "double"}]}
    )
    (tmp_path / "data").mkdir()
    shutil.copy(MODELS / "traced.pt", tmp_path / "data/model.pth")
    assert write_signature(read_description(tmp_path), tmp_path / "data/model.pth") is None


def test_a_file_that_tells_its_tensors_needs_no_signature(tmp_path: Path) -> None:
    """MLflow's may name them otherwise."""
    folder = write_onnx_model(tmp_path)
    assert write_signature(read_description(folder), folder / "model.onnx") is None
