"""`package` for vLLM and TensorRT-LLM: what is written, what is kept, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkpoints import config_file, write_safetensors

from serve_deploy.errors import ServeError
from serve_deploy.manifest import LanguageModel, read_manifest
from serve_deploy.model_config import ConfigOptions, VersionPolicy, check_config, parse_config
from serve_deploy.packaging.options import LanguageModelOptions, LoraAdapter, PackageOptions
from serve_deploy.packaging.options.language_models import read_lora
from serve_deploy.packaging.package import package
from serve_deploy.packaging.packaged import FailedModel, PackagedModel


class Packager:
    """Packages a published model's config.json into one repository."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository

    def run(self, name: str, backend: str = "vllm", **options: Any) -> PackagedModel:
        summary = package([Path("maker") / name], self.options(name, backend, **options))
        assert summary.failed == ()
        return summary.packaged[0]

    def run_folder(self, folder: Path, **options: Any) -> PackagedModel:
        summary = package([folder], self.options("", "vllm", checkpoint_config=None, **options))
        assert summary.failed == ()
        return summary.packaged[0]

    def refuse(self, name: str, backend: str = "vllm", **options: Any) -> FailedModel:
        summary = package([Path("maker") / name], self.options(name, backend, **options))
        assert summary.packaged == ()
        return summary.failed[0]

    def options(self, name: str, backend: Any, **options: Any) -> PackageOptions:
        language = {key: options.pop(key) for key in list(options) if key in LanguageModelOptions.__dataclass_fields__}
        file = language.pop("checkpoint_config", config_file(name))
        return PackageOptions(
            repository=self.repository,
            backend=backend,
            language_model=LanguageModelOptions(checkpoint_config=file, **language),
            **options,
        )


@pytest.fixture
def packager(tmp_path: Path) -> Packager:
    return Packager(tmp_path / "models")


def language_model(packaged: PackagedModel) -> LanguageModel:
    assert packaged.manifest.language_model is not None
    return packaged.manifest.language_model


def read_arguments(packaged: PackagedModel) -> dict[str, Any]:
    arguments = json.loads((packaged.folder / str(packaged.version) / "model.json").read_text())
    assert isinstance(arguments, dict)
    return arguments


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_vllm_gets_its_arguments(packager: Packager) -> None:
    """Each of them derived, with its reason in the manifest."""
    packaged = packager.run("llama-3.1-8b", gpu_profile="l4")
    assert read_arguments(packaged) == {
        "model": "maker/llama-3.1-8b", "dtype": "bfloat16", "tensor_parallel_size": 2, "max_model_len": 131072,
        "gpu_memory_utilization": 0.9, "max_num_seqs": 256, "max_num_batched_tokens": 8192,
    }  # fmt: skip
    manifest = read_manifest(packaged.folder)
    assert manifest == packaged.manifest
    assert [argument.name for argument in language_model(packaged).arguments] == list(read_arguments(packaged))
    assert all(argument.reason for argument in language_model(packaged).arguments)


@pytest.mark.parametrize(("backend", "kind"), [("vllm", "KIND_MODEL"), ("tensorrtllm", "KIND_CPU")])
def test_the_configuration_streams_and_leaves_gpus_to_the_engine(packager: Packager, backend: str, kind: str) -> None:
    """And breaks no rule of Triton's."""
    packaged = packager.run("llama-3.1-8b", backend)
    config = parse_config((packaged.folder / "config.pbtxt").read_text())
    assert (config.max_batch_size, config.model_transaction_policy.decoupled) == (0, True)
    assert config.instance_group[0].Kind.Name(config.instance_group[0].kind) == kind
    assert check_config(config, packaged.name) == ()


def test_tensorrt_llm_gets_the_llmapi_layout(packager: Packager) -> None:
    """model.yaml with the reasons as comments, and the settings of Triton that model.py reads."""
    packaged = packager.run("llama-3.1-8b", "tensorrtllm", gpu_profile="h100", kv_cache_dtype="fp8")
    text = (packaged.folder / "1" / "model.yaml").read_text()
    assert yaml.safe_load(text) == {
        "model": "maker/llama-3.1-8b", "backend": "pytorch", "dtype": "bfloat16", "tensor_parallel_size": 1,
        "max_seq_len": 131072, "max_batch_size": 256, "max_num_tokens": 8192, "enable_chunked_prefill": True,
        "kv_cache_config": {"free_gpu_memory_fraction": 0.9, "dtype": "fp8"},
        "triton_config": {"max_batch_size": 0, "decoupled": True},
    }  # fmt: skip
    assert "# the fewest GPUs that hold weights" in text
    assert any("model.py and helpers.py are NVIDIA's, and still missing" in note for note in packaged.notes)


def test_the_users_copy_of_llmapi_is_taken_along(packager: Packager, tmp_path: Path) -> None:
    """With its digests in the manifest; nothing is missing then."""
    for name in ("model.py", "helpers.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    packaged = packager.run("llama-3.1-8b", "tensorrtllm", llmapi=tmp_path)
    assert (packaged.folder / "1" / "model.py").read_text() == "# model.py\n"
    assert {"1/model.py", "1/helpers.py"} <= {file.path for file in packaged.manifest.files}
    assert not any("missing" in note for note in packaged.notes)
    assert (
        "has no model.py and no helpers.py"
        in packager.refuse("llama-3.1-8b", "tensorrtllm", llmapi=tmp_path / "models", version=None).error
    )


def test_several_nodes_are_joined_by_ray(packager: Packager) -> None:
    """Each with a stage of the layers."""
    packaged = packager.run("deepseek-v3", gpu_profile="h100")
    arguments, model = read_arguments(packaged), language_model(packaged)
    assert (arguments["tensor_parallel_size"], arguments["pipeline_parallel_size"]) == (8, 2)
    assert arguments["distributed_executor_backend"] == "ray"
    assert (model.nodes, model.gpus_per_node) == (2, 8)


def test_arguments_of_the_user_replace_derived_ones(packager: Packager) -> None:
    """And the arithmetic follows those that it knows."""
    from serve_deploy.language_models.engine_arguments import read_engine_argument

    given = ("gpu_memory_utilization=0.8", "enforce_eager=true", "max_num_batched_tokens=2048")
    packaged = packager.run(
        "llama-3.1-8b", gpu_profile="h100", engine_arguments=tuple(map(read_engine_argument, given))
    )
    arguments = read_arguments(packaged)
    assert (arguments["gpu_memory_utilization"], arguments["enforce_eager"]) == (0.8, True)
    assert language_model(packaged).cache_tokens < 437_938
    assert any("0.8 × 79.1 GiB" in fact.reason for fact in language_model(packaged).facts)


def test_adapters_are_written_for_vllm(packager: Packager) -> None:
    """By name, as requests choose them."""
    packaged = packager.run("llama-3.1-8b", lora=(read_lora("sql=/adapters/sql"), LoraAdapter("de", "/adapters/de")))
    written = json.loads((packaged.folder / "1" / "multi_lora.json").read_text())
    assert written == {"sql": "/adapters/sql", "de": "/adapters/de"}
    arguments = read_arguments(packaged)
    assert (arguments["enable_lora"], arguments["max_loras"]) == (True, 2)


def test_a_folders_weights_are_measured(packager: Packager, tmp_path: Path) -> None:
    """And served from where the user says; the model's name is the folder's, with its dots."""
    folder = tmp_path / "Tiny-0.1B"
    folder.mkdir()
    shutil.copy(config_file("qwen2.5-7b"), folder)
    write_safetensors(folder / "model.safetensors", {"lm_head.weight": 20_000_000_000})
    packaged = packager.run_folder(folder, gpu_profile="h100", weights="/weights/tiny")
    model = language_model(packaged)
    assert packaged.name == "Tiny-0.1B"
    assert (model.weights_bytes, model.weights_are_measured, model.weights) == (20_000_000_000, True, "/weights/tiny")
    assert packaged.notes == ()


def test_nothing_is_called_verified(packager: Packager) -> None:
    """The result says why."""
    packaged = packager.run("llama-3.1-8b")
    assert packaged.manifest.verification is None
    assert "nothing was loaded" in language_model(packaged).not_verified


def test_a_dry_run_writes_nothing(packager: Packager) -> None:
    """And says the same."""
    packaged = packager.run("llama-3.1-8b", dry_run=True)
    assert not packager.repository.exists()
    assert packaged.config.startswith('name: "llama-3.1-8b"')
    assert language_model(packaged).arguments


def test_what_does_not_fit_leaves_nothing_behind(packager: Packager) -> None:
    """The exit code is that of an unservable model, and the hint names GPUs that hold it."""
    failed = packager.refuse("deepseek-v3", gpu_profile="l4", pipeline_parallel=1)
    assert failed.exit_code == 3
    assert "673.2 GB of weights, which do not fit" in failed.error
    assert "`gpu_profile=h200`" in str(failed.hint)
    assert not packager.repository.exists()


def test_a_version_is_not_overwritten_unless_forced(packager: Packager) -> None:
    """As for ONNX models."""
    first = packager.run("llama-3.1-8b", gpu_profile="h100")
    before = tree(first.folder)
    assert packager.refuse("llama-3.1-8b", gpu_profile="l4").exit_code == 4
    assert tree(first.folder) == before
    assert read_arguments(packager.run("llama-3.1-8b", gpu_profile="l4", force=True))["tensor_parallel_size"] == 2


def test_the_next_version_keeps_settings_that_are_not_given_anew(packager: Packager) -> None:
    """But not the place of the weights; and the first version stays as it is."""
    packager.run("llama-3.1-8b", gpu_profile="l4", max_model_len=8192, weights="/one")
    packaged = packager.run("llama-3.1-8b", version=None, gpu_profile="h100")
    arguments = read_arguments(packaged)
    assert packaged.version == 2
    assert (arguments["max_model_len"], arguments["tensor_parallel_size"]) == (8192, 1)
    assert arguments["model"] == "maker/llama-3.1-8b"
    assert "kept from before: `max_model_len=8192`" in packaged.notes
    first = json.loads((packaged.folder / "1" / "model.json").read_text())
    assert (first["model"], first["tensor_parallel_size"]) == ("/one", 1)
    assert [other.version for other in packaged.manifest.other_versions] == [1]
    fresh = packager.run("llama-3.1-8b", version=None, keep_settings=False)
    assert read_arguments(fresh)["max_model_len"] == 131072


def test_an_older_version_leaves_the_shared_configuration(packager: Packager) -> None:
    """Which says what the newest asked for."""
    policy = ConfigOptions(version_policy=VersionPolicy(latest=2))
    newest = packager.run("llama-3.1-8b", version=5, config=policy)
    before = (newest.folder / "config.pbtxt").read_bytes()
    packager.run("llama-3.1-8b", version=3)
    assert (newest.folder / "config.pbtxt").read_bytes() == before


def test_engines_do_not_share_a_model(packager: Packager) -> None:
    """One configuration cannot serve both."""
    packager.run("llama-3.1-8b")
    assert packager.refuse("llama-3.1-8b", "tensorrtllm", version=None).exit_code == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": Path("x.npz")}, "`samples` has no meaning with `backend=vllm`"),
        ({"max_batch_size": 4}, "`max_batch_size` has no meaning"),
        ({"config": ConfigOptions(instances=2)}, "options on devices, batching and queues have no meaning"),
    ],
)
def test_options_of_onnx_models_are_refused(packager: Packager, options: dict[str, Any], words: str) -> None:
    """Rather than ignored."""
    with pytest.raises(ServeError, match=words):
        packager.run("llama-3.1-8b", **options)


def test_options_of_language_models_need_an_engine(packager: Packager) -> None:
    """An ONNX file has no use for them."""
    options = PackageOptions(repository=packager.repository, language_model=LanguageModelOptions(dtype="float16"))
    with pytest.raises(ServeError, match="`dtype` is for language models"):
        package([Path("x.onnx")], options)


def test_what_the_user_should_know_is_said(packager: Packager, tmp_path: Path) -> None:
    """Of the encoder, of the cap on answers, and of a shorter context on fewer GPUs."""
    notes = " | ".join(packager.run("gemma-3-12b", gpu_profile="l4").notes)
    assert "a vision_config: its weights are not counted" in notes
    shutil.copy(config_file("llama-3.1-8b"), tmp_path)
    (tmp_path / "generation_config.json").write_text('{"max_new_tokens": 2048}')
    notes = " | ".join(packager.run_folder(tmp_path, gpu_profile="l4").notes)
    assert "ends answers after 2,048 tokens" in notes
    assert "1 l4 would hold requests of 16,384 tokens: `max_model_len=16384`" in notes


def test_the_tokenizers_limit_shortens_the_context(packager: Packager, tmp_path: Path) -> None:
    """As vLLM has it."""
    shutil.copy(config_file("llama-3.1-8b"), tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 4096}')
    assert read_arguments(packager.run_folder(tmp_path))["max_model_len"] == 4096


@pytest.mark.parametrize("options", [{"weights": "/weights"}, {"checkpoint_config": config_file("qwen2.5-7b")}])
def test_what_is_one_models_is_not_given_to_several(packager: Packager, options: dict[str, Any]) -> None:
    """Or both would serve the same weights."""
    asked = packager.options("", "vllm", **{"checkpoint_config": None, **options})
    with pytest.raises(ServeError, match="is for a single model"):
        package([Path("maker/one"), Path("maker/two")], asked)


def test_an_interrupted_run_leaves_what_was_there(packager: Packager) -> None:
    """The version is whole or not at all."""
    packager.run("llama-3.1-8b", gpu_profile="h100")
    before = tree(packager.repository)

    def interrupt(doing: str) -> None:
        if doing.startswith("writing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        package(
            [Path("maker/llama-3.1-8b")], packager.options("llama-3.1-8b", "vllm", version=None), progress=interrupt
        )
    assert tree(packager.repository) == before
