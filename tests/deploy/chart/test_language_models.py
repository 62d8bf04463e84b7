"""What `serve chart` takes from the manifest of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import config_file
from repositories import add_model

from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.plan import ChartPlan, plan_chart
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.packaging.options import LanguageModelOptions, PackageOptions
from serve_deploy.packaging.package import package
from serve_deploy.repository.model_folder import read_models


def add_language_model(repository: Path, name: str, gpu: str, backend: Any = "vllm", **options: Any) -> None:
    language = LanguageModelOptions(checkpoint_config=config_file(name), gpu_profile=gpu, **options)
    asked = PackageOptions(repository=repository, backend=backend, language_model=language)
    assert package([Path("maker") / name], asked).failed == ()


def plan(repository: Path, **options: Any) -> ChartPlan:
    return plan_chart(read_models(repository), ChartOptions(autoscaling="off", **options))


def test_one_node_gets_gpus_and_shared_memory(tmp_path: Path) -> None:
    """And the engine's image, a budget for its start, and memory."""
    add_language_model(tmp_path, "llama-3.1-8b", "l4")
    values = plan(tmp_path).values
    assert (values.gpu.profile, values.gpu.count, values.multi_node.enabled) == ("l4", 2, False)
    assert values.image.tag == "26.07-vllm-python-py3"
    # 1 Gi, and 1 Gi for each of 2 GPUs; the server, this, and 4 Gi with 4 Gi for each GPU
    assert (values.resources.shared_memory, values.resources.memory) == ("3Gi", "16Gi")
    # 2 × (16.06 GB at 200 MB/s + 120 s)
    assert values.probes.startup_budget_seconds == 410
    assert values.autoscaling.cold_start_seconds == 501


def test_several_nodes_are_a_group(tmp_path: Path) -> None:
    """Of the size and with the engine that the model was packaged for."""
    add_language_model(tmp_path, "deepseek-v3", "h100", "tensorrtllm")
    values = plan(tmp_path, cloud="eks").values
    group = values.multi_node
    assert (group.enabled, group.backend, group.tensor_parallel, group.pipeline_parallel) == (True, "tensorrtllm", 8, 2)
    assert (values.gpu.count, values.gpu.cloud, group.shared_memory) == (8, "eks", "16Gi")
    assert values.image.tag == "26.07-trtllm-python-py3"


def test_a_pod_that_downloads_has_room_for_the_weights(tmp_path: Path) -> None:
    """And the user is told; weights on a volume need none."""
    add_language_model(tmp_path / "hub", "llama-3.1-8b", "h100")
    planned = plan(tmp_path / "hub")
    assert (planned.values.resources.temporary, planned.values.resources.ephemeral_storage) == ("16Gi", "17Gi")
    assert any("each pod downloads 16 GB of maker/llama-3.1-8b" in note for note in planned.notes)
    add_language_model(tmp_path / "volume", "llama-3.1-8b", "h100", weights="/weights/llama")
    planned = plan(tmp_path / "volume")
    assert planned.values.resources.temporary is None
    assert any("the weights must be at /weights/llama in each pod" in note for note in planned.notes)


def test_another_gpu_must_hold_as_much(tmp_path: Path) -> None:
    """A larger one is taken, a smaller one refused with the next step."""
    add_language_model(tmp_path, "llama-3.1-8b", "h100")
    assert plan(tmp_path, gpu="h200").values.gpu.profile == "h200"
    with pytest.raises(InvalidModelError, match=r"packaged for h100, with 79\.1 GiB, and l4 has 22 GiB") as refusal:
        plan(tmp_path, gpu="l4")
    assert "--gpu-profile l4" in str(refusal.value.hint)


def test_fewer_gpus_than_packaged_are_refused(tmp_path: Path) -> None:
    """The engine would not start."""
    add_language_model(tmp_path, "llama-3.1-8b", "l4")
    with pytest.raises(UsageError, match="packaged for 2 GPUs a node"):
        plan(tmp_path, overrides={"gpu": {"count": 1}})


def test_a_language_model_shares_no_pod(tmp_path: Path) -> None:
    """With no other kind of model, and with no second one."""
    add_language_model(tmp_path, "llama-3.1-8b", "h100")
    add_model(tmp_path)
    with pytest.raises(InvalidModelError, match=r"llama-3\.1-8b cannot share a pod with digits"):
        plan(tmp_path)


def test_a_vllm_model_written_by_hand_gets_its_image(tmp_path: Path) -> None:
    """Whatever else is not known of it."""
    folder = tmp_path / "llm"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.json").write_text('{"model": "m"}')
    (folder / "config.pbtxt").write_text('backend: "vllm" instance_group { kind: KIND_MODEL }')
    assert plan(tmp_path).values.image.tag.endswith("-vllm-python-py3")
