"""`serve check` on a repository full of what people get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from batching_models import parse_graph
from broken_configs import GOOD
from framework_artefacts import PLAN
from onnx_models import add_to_repository, doubling_model

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import CheckedModel, check_repository
from serve_deploy.errors import UsageError
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package_model

FIXED = doubling_model((1, 3))
ENSEMBLE = """
platform: "ensemble" max_batch_size: {batch}
input {{ name: "in" data_type: {type} dims: 3 }} output {{ name: "out" data_type: TYPE_FP32 dims: {dims} }}
ensemble_scheduling {{ step {{ model_name: "{model}" model_version: -1
  input_map {{ key: "x" value: "in" }} output_map {{ key: "{output}" value: "out" }} }} }}
"""


def add_ensemble(repository: Path, name: str, **changes: object) -> None:
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    values = {"batch": 4, "type": "TYPE_FP32", "dims": 3, "model": "well", "output": "y"} | changes
    (folder / "config.pbtxt").write_text(ENSEMBLE.format(**values))


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CheckedModel]:
    repository = tmp_path_factory.mktemp("models")
    add_to_repository(repository, "well", doubling_model(), GOOD)
    add_to_repository(repository, "fixed_batch", FIXED, GOOD)
    add_to_repository(repository, "batch_in_dims", doubling_model(), GOOD.replace("dims: 3", "dims: [-1, 3]"))
    add_to_repository(repository, "wrong_name", doubling_model(), GOOD.replace('"x"', '"input"'))
    add_to_repository(repository, "other_name", doubling_model(), f'name: "another" {GOOD}')
    add_to_repository(repository, "syntax", doubling_model(), "input {")
    add_to_repository(repository, "guessed", doubling_model())
    (repository / "guessed" / "config.pbtxt").unlink()
    add_to_repository(repository, "new_opset", doubling_model(), GOOD)
    newer = doubling_model()
    newer.opset_import[0].version = 22
    onnx.save(newer, repository / "new_opset" / "1" / "model.onnx")
    add_to_repository(repository, "file_name", doubling_model(), GOOD)
    (repository / "file_name" / "1" / "model.onnx").rename(repository / "file_name" / "1" / "net.onnx")
    add_to_repository(repository, "no_version", doubling_model(), GOOD)
    (repository / "no_version" / "1" / "model.onnx").rename(repository / "no_version" / "net.onnx")
    (repository / "no_version" / "1").rmdir()
    add_to_repository(repository, "zero_version", doubling_model(), GOOD)
    (repository / "zero_version" / "1").rename(repository / "zero_version" / "01")
    add_to_repository(repository, "truncated", doubling_model(), GOOD)
    model = repository / "truncated" / "1" / "model.onnx"
    model.write_bytes(model.read_bytes()[:40])
    add_to_repository(
        repository, "missing_version", doubling_model(), GOOD + " version_policy { specific { versions: [1, 3] } }"
    )
    folder = add_to_repository(repository, "plan", doubling_model(), GOOD)
    (folder / "config.pbtxt").write_text(f'platform: "tensorrt_plan" {GOOD}')
    (folder / "1" / "model.onnx").unlink()
    (folder / "1" / "model.plan").write_bytes(PLAN[:24] + bytes((10, 5, 0, 18)) + PLAN[28:])
    add_to_repository(repository, "on_gpu", doubling_model(), GOOD + " instance_group { kind: KIND_GPU }")
    add_to_repository(repository, "on_gpus_of_any_kind", doubling_model(), GOOD + " instance_group { gpus: 3 }")
    strings = 'input { name: "x" data_type: TYPE_STRING dims: -1 } output { name: "y" data_type: TYPE_STRING dims: -1 }'
    normalizing = parse_graph("(string[N] x) => (string[N] y) { y = StringNormalizer(x) }")
    add_to_repository(repository, "locale", normalizing, strings)
    add_to_repository(repository, "labels", doubling_model(), GOOD.replace('"y"', '"y" label_filename: "lables.txt"'))
    (repository / "labels" / "labels.txt").write_text("a\nb\nc\n")
    folder = add_to_repository(repository, "backend", doubling_model(), GOOD)
    (folder / "config.pbtxt").write_text(f'backend: "onnx" {GOOD}')
    (repository / ".git" / "objects").mkdir(parents=True)
    (repository / "lost+found").mkdir()
    add_ensemble(repository, "ensemble")
    add_ensemble(repository, "ensemble_type", type="TYPE_FP64")
    add_ensemble(repository, "ensemble_shape", dims=4)
    add_ensemble(repository, "ensemble_batch", batch=8)
    add_ensemble(repository, "ensemble_missing", model="nothing")
    add_ensemble(repository, "ensemble_output", output="z")
    add_ensemble(repository, "ensemble_of_plan", model="plan")
    add_ensemble(repository, "ensemble_of_guessed", model="guessed")
    source = tmp_path_factory.mktemp("source") / "edited.onnx"
    onnx.save(doubling_model(), source)
    package_model(source, PackageOptions(repository=repository, verify=False))
    config = repository / "edited" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_queue_delay_microseconds: 0", "max_queue_delay_microseconds: 7"))
    return {
        model.name: model for model in check_repository(CheckOptions(repository=repository, release="24.10")).models
    }


@pytest.mark.parametrize("name", ["well", "guessed", "ensemble", "ensemble_of_guessed"])
def test_what_serves_is_well(checked: dict[str, CheckedModel], name: str) -> None:
    """It loads, and no rule is broken."""
    assert (checked[name].verdict, checked[name].problems) == ("well", ())
    assert {state.state for state in checked[name].states} == {"READY"}


def test_a_guessed_configuration_is_worth_a_note(checked: dict[str, CheckedModel]) -> None:
    """Triton would batch by shapes alone."""
    assert "by shapes alone" in checked["guessed"].notes[0]


@pytest.mark.parametrize(
    ("name", "message", "fix"),
    [
        ("fixed_batch", "its first dimension is not a free batch", "dynamic_axes"),
        ("batch_in_dims", "'x' is [-1, 3] here, [3] without the batch in the model", "write dims: [3]"),
        ("wrong_name", "the model has no input 'input'", "the model has: 'x'"),
        ("other_name", "'another', but the folder is 'other_name'", "write the folder's name"),
        ("syntax", "Expected", "correct the line"),
        ("new_opset", "its ai.onnx opset 22 is above 21", "`release=25.03`"),
        ("file_name", "the model's file is missing", "rename net.onnx"),
        ("no_version", "there is no version folder", "make a folder 1/ and move net.onnx there as model.onnx"),
        ("zero_version", "leading zero", "rename it to 1"),
        ("truncated", "not an ONNX model, or a truncated one", "export or download"),
        ("missing_version", "version 3 does not exist", "package it"),
        ("edited", "it was changed after packaging", "package the model again"),
        ("labels", "the label file lables.txt is missing", "did you mean 'labels.txt'?"),
        ("backend", "Triton has no backend 'onnx'", "did you mean 'onnxruntime'?"),
        (".git", "Triton loads every folder as a model", "move it out"),
        ("lost+found", "Triton loads every folder as a model", "move it out"),
        ("ensemble_type", "'in' is TYPE_FP64 in the ensemble and TYPE_FP32 in 'well'", "same type"),
        ("ensemble_shape", "'out' is [-1, 4] in the ensemble and [-1, 3] in 'well'", "same shape"),
        ("ensemble_batch", "8 is above the 4 of the model 'well'", "max_batch_size: 4"),
        ("ensemble_missing", "'nothing' is not in the repository", "the repository has: "),
        ("ensemble_output", "the model 'well' has no output 'z'", "it has: 'y'"),
    ],
)
def test_each_mistake_is_explained_with_its_fix(
    checked: dict[str, CheckedModel], name: str, message: str, fix: str
) -> None:
    """In words that say what to do, not only Triton's."""
    assert checked[name].verdict == "broken"
    found = [(problem.message, problem.fix) for problem in checked[name].problems]
    assert any(message in said and fix in advice for said, advice in found), found


@pytest.mark.parametrize("name", ["fixed_batch", "batch_in_dims", "wrong_name", "file_name", "ensemble_type"])
def test_tritons_own_words_are_kept(checked: dict[str, CheckedModel], name: str) -> None:
    """Beside the explanation stands what Triton said."""
    assert all(state.reason for state in checked[name].states)
    assert checked[name].states[0].state == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plan", "does not have the backend"),
        ("on_gpu", "has no GPU"),
        ("on_gpus_of_any_kind", "GPUs"),
        ("ensemble_of_plan", "it runs plan"),
    ],
)
def test_what_this_machine_lacks_is_no_fault_of_the_model(
    checked: dict[str, CheckedModel], name: str, reason: str
) -> None:
    """Not tried is not broken."""
    assert checked[name].verdict == "not_tried"
    assert reason in checked[name].notes[-1]


def test_what_a_model_needs_of_the_image_is_said(checked: dict[str, CheckedModel]) -> None:
    """It loads here, and would not in NVIDIA's container."""
    assert checked["locale"].verdict == "well"
    assert any("en_US.UTF-8" in note for note in checked["locale"].notes)


def test_a_models_folder_is_not_a_repository(tmp_path: Path) -> None:
    """The commonest slip on the command line, with the folder that was meant."""
    add_to_repository(tmp_path / "models", "m", doubling_model(), GOOD)
    with pytest.raises(UsageError) as refused:
        check_repository(CheckOptions(repository=tmp_path / "models" / "m", release="24.10"))
    assert str(tmp_path / "models") in str(refused.value.hint)


def test_the_command_exits_0_only_when_all_is_well(serve, tmp_path: Path) -> None:
    """What CI relies on: 0, or 3 with the names."""
    add_to_repository(tmp_path / "models", "well", doubling_model(), GOOD)
    done = serve("check", tmp_path / "models", "--json")
    assert done.returncode == 0, done.stderr
    assert [model["verdict"] for model in json.loads(done.stdout)["models"]] == ["well"]
    add_to_repository(tmp_path / "models", "fixed_batch", FIXED, GOOD)
    done = serve("check", tmp_path / "models", "--no-load")
    assert done.returncode == 3
    assert "1 of 2 models failed the check: fixed_batch" in done.stderr
    assert "fix: " in done.stdout
