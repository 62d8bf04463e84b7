"""Models of other frameworks in a repository: layout, configuration, what is kept, and what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from framework_artefacts import MODELS, PLAN
from onnx_models import doubling_model

from serve_deploy.errors import DestinationError, InvalidModelError, UsageError
from serve_deploy.manifest import read_manifest
from serve_deploy.model_config import ConfigOptions, parse_config
from serve_deploy.model_config.options import Devices
from serve_deploy.packaging.options import BackendParameter, FrameworkOptions, PackageOptions
from serve_deploy.packaging.options.frameworks import read_parameter
from serve_deploy.packaging.package import package, package_model
from serve_deploy.packaging.packaged import PackagedModel

SIGNATURE = "features FP32 [-1, 4], mask FP32 [-1, 3] -> scores__0 FP32 [-1, 3], label__1 INT64 [-1]"
COMPILED = "INPUT__0 FP32 [2, 4], INPUT__1 FP32 [2, 3] -> OUTPUT__0 FP32 [2, 3], OUTPUT__1 INT64 [2]"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., PackagedModel]:
    """Package a file into a repository, without a Triton."""

    def run(source: str | Path, signature: str | None = None, **fields: Any) -> PackagedModel:
        given = fields.pop("parameters", {})
        parameters = tuple(BackendParameter(name, value) for name, value in given.items())
        framework = FrameworkOptions(signature=signature, parameters=parameters)
        options = PackageOptions(repository=tmp_path / "models", verify=False, framework=framework)
        return package_model(MODELS / source, replace(options, **fields))

    return run


def plan(tmp_path: Path) -> Path:
    path = tmp_path / "model.plan"
    path.write_bytes(PLAN)
    return path


@pytest.mark.parametrize(
    ("source", "signature", "release", "backend", "platform", "files"),
    [
        ("traced.pt", SIGNATURE, None, "pytorch", "pytorch_libtorch", {"1/model.pt"}),
        ("compiled.pt2", COMPILED, None, "pytorch", "torch_aoti", {"1/model.pt2"}),
        ("openvino.xml", None, None, "openvino", "", {"1/model.xml", "1/model.bin"}),
        ("xgboost_binary.json", None, None, "fil", "", {"1/xgboost.json"}),
        ("xgboost_binary.ubj", None, None, "fil", "", {"1/xgboost.ubj"}),
        ("lightgbm_binary.txt", None, None, "fil", "", {"1/model.txt"}),
        ("treelite_binary.tl", None, None, "fil", "", {"1/checkpoint.tl"}),
        ("scorer.savedmodel", None, "25.02", "tensorflow", "tensorflow_savedmodel", {
            "1/model.savedmodel/saved_model.pb", "1/model.savedmodel/fingerprint.pb",
            "1/model.savedmodel/variables/variables.index",
            "1/model.savedmodel/variables/variables.data-00000-of-00001",
        }),
    ],
)  # fmt: skip
def test_each_backend_finds_its_files(
    source: str,
    signature: str | None,
    release: str | None,
    backend: str,
    platform: str,
    files: set[str],
    write: Callable[..., PackagedModel],
) -> None:
    """Under the names that it looks for, with the backend and platform that read them."""
    packaged = write(source, signature, release=release)
    there = {path.relative_to(packaged.folder).as_posix() for path in packaged.folder.rglob("*") if path.is_file()}
    assert there == files | {"config.pbtxt", "manifest.json"}
    config = parse_config(packaged.config)
    assert (config.backend, config.platform) == (backend, platform)
    manifest = read_manifest(packaged.folder)
    assert manifest is not None
    assert manifest.framework is not None
    assert (manifest.framework.backend, manifest.framework.not_verified) == (backend, "`verify=False`")


def test_a_plan_is_given_its_tensors_and_a_gpu(write: Callable[..., PackagedModel], tmp_path: Path) -> None:
    """Both are things that the file does not tell, and needs."""
    packaged = write(plan(tmp_path), "x FP32 [-1, 4] -> y FP32 [-1, 2]", max_batch_size=8, release="25.10")
    config = parse_config(packaged.config)
    assert config.instance_group[0].kind == config.instance_group[0].KIND_GPU
    assert (list(config.input[0].dims), config.max_batch_size) == ([4], 8)
    assert (packaged.folder / "1" / "model.plan").read_bytes() == PLAN


@pytest.mark.parametrize(
    ("name", "source", "signature"),
    [("trees", "xgboost_binary.json", None), ("torchscript", "traced.pt", SIGNATURE)],
)
def test_each_line_says_where_it_comes_from(
    name: str,
    source: str,
    signature: str | None,
    write: Callable[..., PackagedModel],
    golden: Callable[[str, str], None],
) -> None:
    """Read from the file, given by the user, or the backend's own rule."""
    golden(f"package/{name}.pbtxt", write(source, signature, name="model").config)


def test_the_next_version_keeps_what_was_given(write: Callable[..., PackagedModel]) -> None:
    """The signature as well as the backend's parameters."""
    write("traced.pt", SIGNATURE, name="scorer", parameters={"INFERENCE_MODE": "true"})
    packaged = write("scripted.pt", name="scorer", version=2)
    assert parse_config(packaged.config).parameters["INFERENCE_MODE"].string_value == "true"
    assert packaged.manifest.settings["signature"] == SIGNATURE


def test_a_version_of_another_kind_is_refused(write: Callable[..., PackagedModel]) -> None:
    """All versions share one configuration, and so one kind of file."""
    write("xgboost_binary.json", name="trees")
    with pytest.raises(DestinationError, match=r"version 2 of trees is a xgboost.ubj and version 1 a xgboost.json"):
        write("xgboost_binary.ubj", name="trees", version=2)


def test_an_older_version_joins_its_own_kind_of_file_alone(write: Callable[..., PackagedModel]) -> None:
    """The configuration stays that of the newest."""
    write("xgboost_binary.json", name="trees", version=3)
    assert write("xgboost_binary.json", name="trees", version=1).version == 1
    with pytest.raises(DestinationError, match=r"version 2 would be a xgboost.ubj, .* is for a xgboost.json"):
        write("xgboost_binary.ubj", name="trees", version=2)


def test_what_is_contradicted_leaves_nothing_behind(write: Callable[..., PackagedModel], tmp_path: Path) -> None:
    """Neither a model nor a repository."""
    with pytest.raises(InvalidModelError, match="does not tell the shape of input 'features'"):
        write("traced.pt")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("source", "fields", "said"),
    [
        ("openvino.xml", {"fix": True}, "`fix` is for ONNX models"),
        ("openvino.xml", {"profiles": ("l4",)}, "`profiles` is for ONNX models"),
        ("openvino.xml", {"config": ConfigOptions(threads=2)}, "`threads` is for ONNX models"),
        ("openvino.xml", {"config": ConfigOptions(devices=Devices("gpu"))}, "runs on CPUs only"),
        ("openvino.xml", {"signature": "features FP16 [-1, 4]"}, "input 'features' is FP16 here"),
        (
            "compiled.pt2",
            {"signature": COMPILED, "max_batch_size": 4},
            "Triton does not batch what AOTInductor compiled",
        ),
        ("xgboost_binary.json", {"max_batch_size": 0}, "takes batches of rows only"),
        ("xgboost_binary.json", {"parameters": {"model_type": "lightgbm"}}, "but the file says xgboost_json"),
        ("xgboost_binary.json", {"parameters": {"predict_proba": "yes"}}, "is neither true nor false"),
        ("xgboost_regression.json", {"parameters": {"predict_proba": "true"}}, "a regressor has no classes"),
        ("scorer.savedmodel", {"release": "25.02", "parameters": {"TF_SIGNATURE_DEF": "x"}}, "has no such signature"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    source: str, fields: dict[str, Any], said: str, write: Callable[..., PackagedModel]
) -> None:
    """Each in one line that names the option."""
    with pytest.raises(UsageError) as refused:
        write(source, **fields)
    assert said in refused.value.message


def test_openvino_batches_are_padded(write: Callable[..., PackagedModel]) -> None:
    """Its backend compiles the model for full batches, and refuses all others unless it is told to pad."""
    assert "ENABLE_BATCH_PADDING" not in parse_config(write("openvino.xml").config).parameters
    config = parse_config(write("openvino.xml", max_batch_size=4, name="batched").config)
    assert config.parameters["ENABLE_BATCH_PADDING"].string_value == "YES"
    assert config.instance_group[0].kind == config.instance_group[0].KIND_CPU


def test_a_classifier_returns_classes_where_that_is_asked_for(write: Callable[..., PackagedModel]) -> None:
    """The threshold is the user's as well."""
    packaged = write("xgboost_binary.json", parameters={"predict_proba": "false", "threshold": "0.3"})
    config = parse_config(packaged.config)
    assert list(config.output[0].dims) == [1]
    assert config.parameters["threshold"].string_value == "0.3"


@pytest.mark.parametrize("given", ["scorer.savedmodel", "scorer.savedmodel/saved_model.pb"])
def test_a_saved_model_is_called_like_its_folder(given: str, write: Callable[..., PackagedModel]) -> None:
    """Whether the folder or its graph is named."""
    assert write(given, release="25.02").name == "scorer"


def test_several_frameworks_are_packaged_at_once(tmp_path: Path) -> None:
    """One that is refused does not keep the others back."""
    options = PackageOptions(repository=tmp_path / "models", verify=False)
    summary = package([MODELS / name for name in ("openvino.xml", "forest.pkl", "lightgbm_binary.txt")], options)
    assert [model.name for model in summary.packaged] == ["openvino", "lightgbm_binary"]
    assert [model.source.name for model in summary.failed] == ["forest.pkl"]


def test_a_signature_is_not_for_onnx(tmp_path: Path) -> None:
    """Which tells its tensors itself."""
    path = tmp_path / "m.onnx"
    path.write_bytes(doubling_model().SerializeToString())
    options = PackageOptions(repository=tmp_path / "models", framework=FrameworkOptions(signature=SIGNATURE))
    with pytest.raises(UsageError, match="`signature` is for files of other frameworks"):
        package_model(path, options)


def test_without_a_triton_that_has_the_backend_nothing_is_called_verified(tmp_path: Path) -> None:
    """The manifest says why; where a runtime was asked for, that is an error."""
    if shutil.which("tritonserver"):
        pytest.skip("the tritonserver that is installed here may have the backend")
    options = PackageOptions(repository=tmp_path / "models")
    with pytest.raises(UsageError, match="the embedded Triton has no fil backend"):
        package_model(MODELS / "xgboost_binary.json", replace(options, runtime="embedded"))
    assert not (tmp_path / "models" / "xgboost_binary").exists()


@pytest.mark.parametrize("text", ["", "name", "=value"])
def test_a_parameter_has_a_name_and_a_value(text: str) -> None:
    """Nothing else is one."""
    with pytest.raises(UsageError, match="is not NAME=VALUE"):
        read_parameter(text)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A named pipe gives its content once, and never if nobody writes."""
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(InvalidModelError, match="neither a file nor a folder"):
        package_model(tmp_path / "model.onnx", PackageOptions(repository=tmp_path / "models"))
