"""`serve package --for`: a configuration for each GPU beside the one that serves everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from batching_models import save
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build_model, doubling_model

from serve_deploy.errors import DestinationError, InvalidModelError, UsageError
from serve_deploy.manifest import BatchingProof, Manifest, read_manifest
from serve_deploy.model_config import ConfigOptions, VersionPolicy, parse_config
from serve_deploy.model_config.accelerators import parse_optimization
from serve_deploy.model_config.options import Devices
from serve_deploy.packaging.configuration.gpu_sizing import GIB, MemoryNeed
from serve_deploy.packaging.configuration.profile_basis import Basis
from serve_deploy.packaging.configuration.profiles import plan_profile
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.options.profile_names import read_profiles
from serve_deploy.packaging.package import package_model
from serve_deploy.packaging.packaged import PackagedModel
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

Pack = Callable[..., PackagedModel]


def scaling_model(factor: float = 2.0, data_type: type = np.float32) -> onnx.ModelProto:
    """y = x · w: two models of one graph whose weights differ."""
    kind = TensorProto.FLOAT16 if data_type is np.float16 else TensorProto.FLOAT
    weights = numpy_helper.from_array(np.full((3,), factor, data_type), "w")
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    return build_model([node], [("x", kind, ("N", 3))], [("y", kind, ("N", 3))], initializers=[weights])


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Package a model for profiles, without a Triton."""

    def run(
        model: onnx.ModelProto | None = None, *, config: dict[str, Any] | None = None, **options: Any
    ) -> PackagedModel:
        source = save(model or scaling_model(), tmp_path)
        made = PackageOptions(
            repository=tmp_path / "models", name="m", verify=False, config=ConfigOptions(**config or {}), **options
        )
        return package_model(source, made)

    return run


def read(packaged: PackagedModel, name: str) -> Any:
    return parse_config((packaged.folder / "configs" / f"{name}.pbtxt").read_text())


def parameters(packaged: PackagedModel, name: str) -> dict[str, str]:
    (accelerator,) = read(packaged, name).optimization.execution_accelerators.gpu_execution_accelerator
    return dict(accelerator.parameters)


def manifest(packaged: PackagedModel) -> Manifest:
    found = read_manifest(packaged.folder)
    assert found is not None
    return found


def test_each_gpu_has_instances_an_accelerator_and_shapes(pack: Pack) -> None:
    """TensorRT on GPUs, with one engine for all batches; none of it in the portable configuration."""
    packaged = pack(profiles=("l4", "gh200"))
    config = read(packaged, "l4")
    assert (config.name, config.max_batch_size, config.instance_group[0].count) == ("m", 8, 2)
    assert (
        config.InstanceGroup.Kind.Name(config.instance_group[0].kind) == "KIND_GPU"
        if hasattr(config, "InstanceGroup")
        else True
    )
    given = parameters(packaged, "l4")
    assert given["trt_profile_min_shapes"] == "x:1x3"
    assert given["trt_profile_opt_shapes"] == given["trt_profile_max_shapes"] == "x:8x3"
    assert int(given["max_workspace_size_bytes"]) < int(parameters(packaged, "gh200")["max_workspace_size_bytes"])
    portable = parse_config(packaged.config)
    assert not portable.HasField("optimization")


def test_the_cpu_has_neither_gpu_nor_tensorrt(pack: Pack) -> None:
    """OpenVINO, where it is asked for, goes there and not to GPUs."""
    packaged = pack(profiles=("cpu", "l4"), config={"optimization": parse_optimization("openvino")})
    accelerators = read(packaged, "cpu").optimization.execution_accelerators
    assert [each.name for each in accelerators.cpu_execution_accelerator] == ["openvino"]
    assert not accelerators.gpu_execution_accelerator
    assert "kind: KIND_CPU" in (packaged.folder / "configs/cpu.pbtxt").read_text()
    assert parameters(packaged, "l4")["precision_mode"] == "FP32"


def test_every_line_of_numbers_has_a_reason(pack: Pack) -> None:
    """What is assumed says so."""
    text = (pack(profiles=("l4",)).folder / "configs/l4.pbtxt").read_text()
    reasons = {line.split("#")[0].strip(): line.partition("#")[2] for line in text.splitlines() if "#" in line[1:]}
    assert "assumed" in reasons["count: 2"]
    assert "estimated" in reasons["count: 2"]
    assert "proven" in reasons["max_batch_size: 8"]
    assert "assumed" in reasons["optimization {"]
    assert text.count("parameters {") == sum("parameters {" in line and "#" in line for line in text.splitlines())


def test_engines_of_other_weights_have_another_folder(pack: Pack) -> None:
    """ONNX Runtime names an engine by the graph: two versions of one graph would be given one engine."""
    first = parameters(pack(profiles=("l4", "l40")), "l4")["trt_engine_cache_path"]
    second = pack(scaling_model(3.0), profiles=("l4", "l40"), version=2)
    folders = {first, *(parameters(second, name)["trt_engine_cache_path"] for name in ("l4", "l40"))}
    assert len(folders) == 3
    # ONNX Runtime creates no parents.
    assert {Path(folder).parent.as_posix() for folder in folders} == {"/tmp"}


def test_no_engine_is_kept_where_several_versions_are_served(pack: Pack) -> None:
    """They share the configuration, and so the folder."""
    packaged = pack(profiles=("l4",), config={"version_policy": VersionPolicy(latest=2)})
    assert "trt_engine_cache_path" not in parameters(packaged, "l4")
    assert any("no engine is kept" in note for note in packaged.notes)


def test_a_precision_of_the_models_own_is_kept(pack: Pack) -> None:
    """A model in FP16 is compiled in FP16."""
    packaged = pack(scaling_model(data_type=np.float16), profiles=("l4",), max_batch_size=8)
    assert parameters(packaged, "l4")["precision_mode"] == "FP16"


def test_a_precision_that_was_asked_for_holds_on_every_gpu(pack: Pack) -> None:
    """And TensorRT's own keys go along."""
    packaged = pack(
        profiles=("l4", "h100"), config={"optimization": parse_optimization("tensorrt:fp16,trt_engine_cache_enable=0")}
    )
    for name in ("l4", "h100"):
        given = parameters(packaged, name)
        assert (given["precision_mode"], given["trt_engine_cache_enable"]) == ("FP16", "0")


def test_a_workspace_of_the_users_counts_for_the_memory(pack: Pack) -> None:
    """With 12 GiB of it, an L4 holds one instance."""
    asked = parse_optimization(f"tensorrt:max_workspace_size_bytes={12 * GIB}")
    assert read(pack(profiles=("l4",), config={"optimization": asked}), "l4").instance_group[0].count == 1


def test_a_gpu_without_the_precision_is_refused(pack: Pack) -> None:
    """BF16 came with compute capability 8.0; a T4 has 7.5."""
    with pytest.raises(UsageError, match=r"t4 \(compute capability 7.5\) has no BF16"):
        pack(profiles=("t4",), config={"optimization": parse_optimization("tensorrt:bf16")})


def test_cuda_leaves_tensorrt_out(pack: Pack) -> None:
    """No engine, no workspace, no cache."""
    packaged = pack(profiles=("l4",), config={"optimization": parse_optimization("cuda")})
    (accelerator,) = read(packaged, "l4").optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, dict(accelerator.parameters)) == ("cuda", {})


def test_gpus_that_were_chosen_stay_chosen(pack: Pack) -> None:
    """On the GPU's configuration; the CPU has none."""
    packaged = pack(profiles=("l4", "cpu"), config={"devices": Devices("gpu", (1,))})
    assert [list(read(packaged, name).instance_group[0].gpus) for name in ("l4", "cpu")] == [[1], []]


def test_instances_of_the_users_hold_everywhere(pack: Pack) -> None:
    """On GPUs and on the CPU."""
    packaged = pack(profiles=("l4", "cpu"), config={"instances": 3})
    assert [read(packaged, name).instance_group[0].count for name in ("l4", "cpu")] == [3, 3]


def basis(weights_bytes: int) -> Basis:
    tensor = TensorSpec("x", DataType.FP32, (-1, 3))
    proof = BatchingProof(verdict="batchable", max_batch_size=8, evidence="", batch_sizes=tuple(range(1, 9)))
    signature = ModelSignature((tensor,), (TensorSpec("y", DataType.FP32, (-1, 3)),))
    return Basis(signature, proof, ConfigOptions(name="m"), MemoryNeed(weights_bytes, 12), "FP32")


def test_weights_that_no_memory_holds_are_refused() -> None:
    """20 GiB do not go onto a T4; they may go onto an L4, and the note says that they may not."""
    with pytest.raises(InvalidModelError, match=r"the weights take 20 GiB, and t4 has 14\.5 GiB"):
        plan_profile("t4", basis(20 * GIB))
    assert plan_profile("l4", basis(20 * GIB)).notes == ("l4 may be too small: 1 × 41 GiB (estimated) of 22 GiB",)
    assert plan_profile("h100", basis(20 * GIB)).notes == ()


def test_a_batch_that_may_not_fit_is_lowered_with_its_reason() -> None:
    """Rows of 2 GiB: an L4 takes eight in part, an H100 all."""
    small = replace(basis(GIB), need=MemoryNeed(GIB, 4 * GIB))
    assert "max_batch_size: 4" in plan_profile("l4", small).text
    assert "8 may not fit into 22 GiB (estimated)" in plan_profile("l4", small).text
    assert "max_batch_size: 8" in plan_profile("h100", small).text
    assert "batch_size: 8" not in plan_profile("l4", small).text.replace("max_batch_size", "")


def test_what_a_smaller_batch_does_not_take_is_left_out() -> None:
    """Preferred sizes and warm-ups beyond it make Triton refuse the model."""
    small = replace(basis(GIB), need=MemoryNeed(GIB, 4 * GIB), settings=ConfigOptions(preferred_batch_sizes=(2, 8)))
    assert list(plan_profile("l4", small).config.dynamic_batching.preferred_batch_size) == [2]
    assert list(plan_profile("h100", small).config.dynamic_batching.preferred_batch_size) == [2, 8]


def test_the_manifest_lists_them_and_their_digests(pack: Pack) -> None:
    """In numbers, and as files that a check compares."""
    found = manifest(pack(profiles=("l4", "cpu")))
    assert [(each.profile, each.instances, each.max_batch_size, each.accelerator) for each in found.profiles] == [
        ("l4", 2, 8, "tensorrt"), ("cpu", 1, 8, ""),
    ]  # fmt: skip
    assert {"configs/l4.pbtxt", "configs/cpu.pbtxt"} <= {file.path for file in found.files}


def test_the_next_version_has_them_again(pack: Pack) -> None:
    """Kept like other settings, and written anew; `none` removes them."""
    pack(profiles=("l4", "cpu"))
    second = pack(scaling_model(3.0), version=None)
    assert sorted(path.name for path in (second.folder / "configs").iterdir()) == ["cpu.pbtxt", "l4.pbtxt"]
    third = pack(version=None, profiles=())
    assert not (third.folder / "configs").exists()
    assert manifest(third).profiles == ()


def test_an_older_version_leaves_them_alone(pack: Pack) -> None:
    """Packaging version 1 after version 2 changes nothing of what is served."""
    newest = pack(profiles=("l4",), version=2)
    before = (newest.folder / "configs/l4.pbtxt").read_bytes()
    pack(scaling_model(3.0), version=1)
    assert (newest.folder / "configs/l4.pbtxt").read_bytes() == before
    assert [each.profile for each in manifest(newest).profiles] == ["l4"]


def test_files_of_the_users_own_are_kept(pack: Pack) -> None:
    """One of another name stays; one that would be replaced is refused."""
    own = pack(profiles=("l4",)).folder / "configs" / "mine.pbtxt"
    own.write_text("max_batch_size: 4\n")
    assert (pack(version=None).folder / "configs" / "mine.pbtxt").read_text() == "max_batch_size: 4\n"
    own.rename(own.with_name("h100.pbtxt"))
    with pytest.raises(DestinationError, match=r"h100\.pbtxt was written by hand"):
        pack(version=None, profiles=("h100",))


def test_an_edited_one_is_not_overwritten(pack: Pack) -> None:
    """As with config.pbtxt itself."""
    file = pack(profiles=("l4",)).folder / "configs/l4.pbtxt"
    file.write_text(file.read_text() + "# mine\n")
    with pytest.raises(DestinationError, match=r"l4\.pbtxt was written or edited by hand"):
        pack(version=None)
    pack(version=None, force=True)
    assert "# mine" not in file.read_text()


def test_a_release_that_cannot_choose_is_refused(pack: Pack) -> None:
    """The flag came with 24.05."""
    with pytest.raises(UsageError, match="does not have --model-config-name"):
        pack(doubling_model(), profiles=("l4",), release="24.04")


@pytest.mark.parametrize("text", ["l5", "l4,", "l4,none", "", "L4"])
def test_unknown_gpus_are_named(text: str) -> None:
    """With those that there are."""
    with pytest.raises(UsageError) as refused:
        read_profiles(text)
    assert "gh200" in (refused.value.hint or "")


@pytest.mark.parametrize("text", ["", "l4,", "none,l4"])
def test_a_list_of_gpus_without_a_name_is_no_list(text: str) -> None:
    """An error that names nothing helps nobody."""
    with pytest.raises(UsageError, match="a list of names, or `none` alone"):
        read_profiles(text)


def test_a_list_of_gpus_is_read_once_each() -> None:
    """Nothing said is not the same as none."""
    assert read_profiles("l4, cpu,l4") == ("l4", "cpu")
    assert (read_profiles("none"), read_profiles(None)) == ((), None)
