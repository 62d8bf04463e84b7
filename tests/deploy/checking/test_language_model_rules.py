"""What `check` says of models that vLLM or TensorRT-LLM serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkpoints import config_file

from serve_deploy.checking.folder_rules import check_folder, note_folder
from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import check_repository
from serve_deploy.packaging.options import LanguageModelOptions, PackageOptions
from serve_deploy.packaging.package import package
from serve_deploy.repository.model_folder import REPORT_CUSTOM_METRICS, read_model_folder

VLLM = f'backend: "vllm" model_transaction_policy {{ decoupled: true }} {REPORT_CUSTOM_METRICS} '
GROUP = "instance_group { count: 1 kind: KIND_MODEL }"


def packaged(repository: Path, backend: Any, llmapi: Path | None = None) -> Path:
    language = LanguageModelOptions(checkpoint_config=config_file("llama-3.1-8b"), gpu_profile="l4", llmapi=llmapi)
    options = PackageOptions(repository=repository, backend=backend, name="llm", language_model=language)
    assert package([Path("maker/llm")], options).failed == ()
    return repository / "llm"


def write_vllm(repository: Path, arguments: Any, config: str = VLLM + GROUP) -> Path:
    folder = repository / "llm"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config)
    (folder / "1" / "model.json").write_text(arguments if isinstance(arguments, str) else json.dumps(arguments))
    return folder


def write_llmapi(repository: Path, arguments: Any, config: str = "instance_group { count: 1 kind: KIND_CPU }") -> Path:
    folder = repository / "llm"
    (folder / "1").mkdir(parents=True)
    decoupled = "model_transaction_policy { decoupled: true }"
    (folder / "config.pbtxt").write_text(f'backend: "python" {decoupled} {config}')
    (folder / "1" / "model.yaml").write_text(yaml.safe_dump(arguments))
    for name in ("model.py", "helpers.py"):
        (folder / "1" / name).write_text("")
    return folder


def problems(folder: Path) -> list[str]:
    return [f"{problem.field}: {problem.message}" for problem in check_folder(read_model_folder(folder))]


def notes(folder: Path) -> list[str]:
    return list(note_folder(read_model_folder(folder)))


def test_a_packaged_vllm_model_has_no_problems(tmp_path: Path) -> None:
    """And the notes say that it was never loaded."""
    folder = packaged(tmp_path, "vllm")
    assert problems(folder) == []
    assert [note.split(":")[0] for note in notes(folder)] == ["never loaded when it was packaged"]


def test_a_packaged_llmapi_model_lacks_only_nvidias_files(tmp_path: Path) -> None:
    """Until they are there."""
    folder = packaged(tmp_path, "tensorrtllm")
    missing = "the file is missing: it is TensorRT-LLM's own"
    assert problems(folder) == [f"1/model.py: {missing}", f"1/helpers.py: {missing}"]
    for name in ("model.py", "helpers.py"):
        (folder / "1" / name).write_text("")
    assert problems(folder) == []


@pytest.mark.parametrize(
    ("arguments", "config", "problem"),
    [
        ("{", VLLM + GROUP, "1/model.json: it cannot be read"),
        ([1], VLLM + GROUP, "1/model.json: it is not a mapping of arguments"),
        ({}, VLLM + GROUP, "1/model.json: no model is named"),
        ({"model": "m", "tensor_parallel_size": 2, "pipeline_parallel_size": 2},
         VLLM + "instance_group { kind: KIND_GPU }", "instance_group: KIND_GPU is one GPU, and the model takes 4"),
        ({"model": "m"}, VLLM + "instance_group { count: 2 kind: KIND_MODEL }", "instance_group: several instances"),
        ({"model": "m"}, VLLM + GROUP + " max_batch_size: 8", "max_batch_size: 8: the engine batches by itself"),
        ({"model": "m", "enable_lora": True}, VLLM + GROUP, "1/model.json: enable_lora is true, but multi_lora.json"),
    ],
)  # fmt: skip
def test_what_vllm_would_refuse_is_found(tmp_path: Path, arguments: Any, config: str, problem: str) -> None:
    """Without a GPU and without vLLM."""
    found = problems(write_vllm(tmp_path, arguments, config))
    assert [each.startswith(problem) for each in found] == [True], found


def test_one_gpu_may_be_of_any_kind(tmp_path: Path) -> None:
    """vLLM takes the one that Triton names."""
    config = VLLM + "instance_group { kind: KIND_GPU gpus: [0] }"
    assert problems(write_vllm(tmp_path, {"model": "m"}, config)) == []


def test_a_missing_model_json_is_found(tmp_path: Path) -> None:
    """It is the model's file."""
    folder = write_vllm(tmp_path, {})
    (folder / "1" / "model.json").unlink()
    assert problems(folder) == ["1/model.json: the model's file is missing"]


@pytest.mark.parametrize(
    ("arguments", "config", "problem"),
    [
        ({"triton_config": {"max_batch_size": 0, "decoupled": True}}, "", "1/model.yaml: no model is named"),
        ({"model": "m"}, "", "1/model.yaml: triton_config has no decoupled and max_batch_size"),
        ({"model": "m", "triton_config": {"max_batch_size": 0, "decoupled": False}}, "",
         "1/model.yaml: decoupled is false, but true in config.pbtxt"),
        ({"model": "m", "triton_config": {"max_batch_size": 0, "decoupled": True}},
         "instance_group { count: 2 kind: KIND_CPU }", "instance_group: several instances need their GPUs"),
    ],
)  # fmt: skip
def test_what_model_py_would_refuse_is_found(tmp_path: Path, arguments: Any, config: str, problem: str) -> None:
    """Without a GPU and without TensorRT-LLM."""
    found = problems(write_llmapi(tmp_path, arguments, config))
    assert [each.startswith(problem) for each in found] == [True], found


def test_unknown_arguments_are_noted(tmp_path: Path) -> None:
    """A newer engine may have them, so they are no problem."""
    folder = write_vllm(tmp_path, {"model": "m", "gpu_memory_utilisation": 0.9})
    assert problems(folder) == []
    (note,) = notes(folder)
    assert note.startswith("1/model.json: vLLM is not known to have the argument gpu_memory_utilisation")
    assert note.endswith("did you mean 'gpu_memory_utilization'?")


def test_this_machines_triton_does_not_try_them(tmp_path: Path) -> None:
    """It has neither engine; that is not the models' fault."""
    packaged(tmp_path / "models", "vllm")
    write_llmapi(tmp_path / "other", {"model": "m", "triton_config": {"max_batch_size": 0, "decoupled": True}})
    (tmp_path / "other" / "llm").rename(tmp_path / "models" / "trt")
    checked = check_repository(CheckOptions(repository=tmp_path / "models"))
    assert {model.name: model.verdict for model in checked.models} == {"llm": "not_tried", "trt": "not_tried"}
    reasons = [note for model in checked.models for note in model.notes if note.startswith("not tried")]
    assert reasons == [
        "not tried here: this machine's Triton does not have the backend",
        "not tried here: it needs TensorRT-LLM and a GPU",
    ]
