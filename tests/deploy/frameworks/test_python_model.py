"""Python models: found, read and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Tensor
from serve_deploy.frameworks.kinds import read_artefact
from serve_deploy.frameworks.python_model import completes_config
from serve_deploy.tensors.types import DataType

CODE = """
raise SystemExit("it was run")
class TritonPythonModel:
    def execute(self, requests): ...
"""
CONFIG = """
backend: "python" max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: 3 } output { name: "y" data_type: TYPE_STRING dims: 1 }
parameters { key: "EXECUTION_ENV_PATH" value { string_value: "$$TRITON_MODEL_DIRECTORY/env.tar.gz" } }
instance_group { count: 2 }
"""


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def test_the_code_is_not_run(tmp_path: Path) -> None:
    """Reading it is enough."""
    artefact = read_artefact(write(tmp_path, model_py=CODE) / "model.py", {})
    assert (artefact.backend, list(artefact.files)) == ("python", ["model.py"])
    assert not completes_config(artefact)


def test_a_folder_gives_all_its_files(tmp_path: Path) -> None:
    """But not what Python cached, nor what is hidden."""
    folder = write(tmp_path / "m", model_py=CODE, helpers__more_py="", __pycache__="", vocabulary_txt="a")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    assert sorted(read_artefact(folder, {}).files) == ["helpers/more.py", "model.py", "vocabulary.txt"]


def test_a_models_folder_gives_its_newest_version_and_its_configuration(tmp_path: Path) -> None:
    """Its tensors are read from there, and what is not kept is said."""
    folder = write(tmp_path / "m", **{"1__model_py": "", "2__model_py": CODE, "labels_txt": "a"})
    (folder / "config.pbtxt").write_text(CONFIG, encoding="utf-8")
    artefact = read_artefact(folder, {})
    assert artefact.inputs == (Tensor("x", DataType.FP32, (-1, 3)),)
    assert artefact.outputs == (Tensor("y", DataType.BYTES, (-1, 1)),)
    assert (list(artefact.files), list(artefact.shared_files)) == (["model.py"], ["labels.txt"])
    assert (artefact.max_batch_size, list(artefact.parameters)) == (4, ["EXECUTION_ENV_PATH"])
    assert artefact.notes == (
        "of its config.pbtxt, instance_group is not kept: the options of serve package set them",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(): pass", "has no class TritonPythonModel"),
        ("class TritonPythonModel:\n    pass", ": TritonPythonModel has no execute"),
        ("class TritonPythonModel", "is not valid Python"),
        ("x = '\0'", "is not valid Python: source code string cannot contain null bytes"),
        ("-" * 100_000 + "1", ""),
        ("(" * 5_000, ""),
    ],
    ids=["no class", "no execute", "syntax", "zero byte", "deep", "deeper"],
)
def test_code_that_is_no_model_is_refused(code: str, said: str, tmp_path: Path) -> None:
    """In one line, whatever is in it."""
    path = write(tmp_path, model_py=code) / "model.py"
    with pytest.raises(InvalidModelError) as refused:
        read_artefact(path, {})
    assert said in refused.value.message
    assert "\n" not in refused.value.message


def test_warnings_of_the_code_are_not_ours(tmp_path: Path) -> None:
    """A wrong escape in its strings is the model's business."""
    read_artefact(write(tmp_path, model_py=CODE + 'PATTERN = "\\d"\n') / "model.py", {})
