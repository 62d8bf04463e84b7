"""A model's folder, as `serve check` judges it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_deploy.checking.folder_rules import check_folder, note_folder
from serve_deploy.repository.model_folder import REPORT_CUSTOM_METRICS, read_model_folder


def test_a_configuration_that_does_not_parse_is_named_once(tmp_path: Path) -> None:
    """The problem's place is the file, and its message begins with the line and column."""
    (tmp_path / "config.pbtxt").write_text("max_batch_size 4\n")
    problems = [problem for problem in check_folder(read_model_folder(tmp_path)) if problem.field == "config.pbtxt"]
    assert [problem.message.split()[0] for problem in problems] == ["1:16"]


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("max_batchsize: 4", "did you mean 'max_batch_size'?"),
        ('input { name: "x" data_type: TYPE_FLOAT32 }', "did you mean 'TYPE_FP32'?"),
        ("instance_group { kind: GPU }", "did you mean 'KIND_GPU'?"),
        ("something_else: 4", "model_config.proto"),
    ],
)
def test_a_name_that_protobuf_does_not_know_is_suggested(tmp_path: Path, line: str, fix: str) -> None:
    """Where one is close; else where the names stand."""
    (tmp_path / "config.pbtxt").write_text(line)
    fixes = [problem.fix for problem in check_folder(read_model_folder(tmp_path)) if problem.field == "config.pbtxt"]
    assert len(fixes) == 1
    assert fix in fixes[0]


def test_vllm_whose_load_nothing_shows_is_noted(tmp_path: Path) -> None:
    """With what to add; added, the note is gone."""
    config = tmp_path / "config.pbtxt"
    config.write_text('backend: "vllm"')
    (note,) = (note for note in note_folder(read_model_folder(tmp_path)) if "vLLM" in note)
    assert note.endswith(REPORT_CUSTOM_METRICS)
    config.write_text(f'backend: "vllm" {REPORT_CUSTOM_METRICS}')
    assert "vLLM" not in " ".join(note_folder(read_model_folder(tmp_path)))


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ('parameters { key: "intra_op_threads_count" value { string_value: "2" } }', "'intra_op_thread_count'"),
        ("instance_group { count: -1 }", "takes its default"),
    ],
)
def test_what_triton_ignores_is_noted(tmp_path: Path, line: str, note: str) -> None:
    """The model loads, and is not served as its configuration says."""
    (tmp_path / "config.pbtxt").write_text(f'backend: "onnxruntime" {line}')
    folder = read_model_folder(tmp_path)
    assert note in " ".join(note_folder(folder))
    assert not [problem for problem in check_folder(folder) if problem.field != ""]


def test_a_backend_of_ones_own_is_no_slip(tmp_path: Path) -> None:
    """Its library stands in the model's folder."""
    (tmp_path / "config.pbtxt").write_text('backend: "onnxruntimes"')
    assert "backend" in [problem.field for problem in check_folder(read_model_folder(tmp_path))]
    (tmp_path / "libtriton_onnxruntimes.so").touch()
    assert "backend" not in [problem.field for problem in check_folder(read_model_folder(tmp_path))]


ENGINES = """optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt"
    parameters { key: "trt_engine_cache_enable" value: "true" }
    parameters { key: "trt_engine_cache_path" value: "/engines/m" } } } } version_policy { all {} }"""


def test_engines_that_versions_share_are_noted(tmp_path: Path) -> None:
    """ONNX Runtime would give one version an engine with the weights of another; the file is named."""
    for folder in ("1", "configs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "config.pbtxt").write_text('backend: "onnxruntime"')
    (tmp_path / "configs" / "l4.pbtxt").write_text(f'backend: "onnxruntime" {ENGINES}')
    assert "/engines/m" not in " ".join(note_folder(read_model_folder(tmp_path)))
    (tmp_path / "2").mkdir()
    (note,) = (note for note in note_folder(read_model_folder(tmp_path)) if "/engines/m" in note)
    assert note.startswith("configs/l4.pbtxt: ")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("max_batch: 4", "configs/l4.pbtxt"),
        ('backend: "onnx"', "configs/l4.pbtxt: backend"),
        ("max_batch_size: -1", "configs/l4.pbtxt: max_batch_size"),
        ('output { name: "y" data_type: TYPE_FP32 dims: [1] label_filename: "no.txt" }',
         "configs/l4.pbtxt: output[0].label_filename"),
        ("version_policy { specific { versions: 3 } }", "configs/l4.pbtxt: version_policy"),
        ('name: "other"', "configs/l4.pbtxt: name"),
    ],
)  # fmt: skip
def test_every_configuration_is_judged_by_all_rules(tmp_path: Path, text: str, field: str) -> None:
    """And the problem names the file that it is in."""
    folder = tmp_path / "m"
    for name in ("1", "configs"):
        (folder / name).mkdir(parents=True)
    (folder / "1" / "model.onnx").touch()
    (folder / "config.pbtxt").write_text('backend: "onnxruntime"')
    (folder / "configs" / "l4.pbtxt").write_text(text)
    assert field in [problem.field for problem in check_folder(read_model_folder(folder))]


def test_a_link_to_nothing_is_called_one(tmp_path: Path) -> None:
    """Renaming it to itself would not help."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").symlink_to("gone.onnx")
    (problem,) = (problem for problem in check_folder(read_model_folder(tmp_path)) if problem.field == "1/model.onnx")
    assert problem.message == "it is a link to a file that is not there"
