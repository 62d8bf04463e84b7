"""A real Triton that is started with --model-config-name serves what configs/NAME.pbtxt says."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from batching_models import save
from onnx_models import doubling_model

from serve_deploy.checking.options import CheckOptions
from serve_deploy.checking.repository_check import check_repository
from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.errors import UsageError
from serve_deploy.inference.options import InferenceOptions
from serve_deploy.inference.request import infer
from serve_deploy.model_config import ConfigOptions
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package_model
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.triton import ServerOptions, TritonServer, start_server


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`named` has a configuration of its own for the CPU, `plain` has none, and that of `broken` is none at all."""
    folder = tmp_path_factory.mktemp("named")
    source = save(doubling_model(), folder)
    for name in ("named", "plain", "broken"):
        options = PackageOptions(
            repository=folder / "models",
            name=name,
            verify=False,
            profiles=None if name == "plain" else ("l4", "cpu"),
            config=ConfigOptions(instances=1),
        )
        package_model(source, options)
    own = folder / "models/named/configs/cpu.pbtxt"
    own.write_text(own.read_text().replace("max_batch_size: 8", "max_batch_size: 3").replace("count: 1", "count: 2")
                   .replace("batch_size: 8 ", "batch_size: 3 "))  # fmt: skip
    (folder / "models/broken/configs/cpu.pbtxt").write_text("max_batch: 3\n")
    return folder / "models"


@pytest.fixture(scope="module")
def server(repository: Path, triton_server: Callable[..., TritonServer]) -> TritonServer:
    return triton_server(repository, model_config_name="cpu")


@pytest.fixture(scope="module")
def control(server: TritonServer) -> Iterator[ControlPlane]:
    with ControlPlane(parse_endpoint(server.http_url), timeout_seconds=120) as control:
        yield control


def test_the_named_configuration_is_served(control: ControlPlane) -> None:
    """Batch limit, instances and device are those of configs/cpu.pbtxt, not of config.pbtxt."""
    config = control.model_config("named")
    (group,) = config["instance_group"]
    assert (config["max_batch_size"], group["count"], group["kind"]) == (3, 2, "KIND_CPU")


def test_a_model_without_one_keeps_its_own(control: ControlPlane) -> None:
    """config.pbtxt, whatever the name."""
    config = control.model_config("plain")
    assert (config["max_batch_size"], config["instance_group"][0]["count"]) == (8, 1)


def test_a_load_test_knows_the_configuration_again(control: ControlPlane, repository: Path) -> None:
    """Its digest on the server is that of the file, so that chart and plan take the report for this GPU's."""
    folder = read_model_folder(repository / "named")
    served = control.describe_model("named").config_sha256
    assert served == folder.under("cpu").config_sha256
    assert served != folder.config_sha256


def test_a_broken_one_fails_the_model(server: TritonServer) -> None:
    """Triton does not fall back to config.pbtxt, which is fine."""
    states = {state.name: state.state for state in server.model_states()}
    assert states["broken"] != "READY"
    assert (states["named"], states["plain"]) == ("READY", "READY")


def test_the_model_answers(server: TritonServer, repository: Path) -> None:
    """The folder beside the version folders confuses neither Triton nor `serve infer`."""
    options = InferenceOptions(endpoint=parse_endpoint(server.http_url), model="named", repository=repository)
    with np.load(repository / "named" / "samples.npz") as samples:
        expected = 2 * samples["0/x"]
    assert np.array_equal(infer(options).outputs[0].data, expected)


def test_a_name_that_no_model_has_is_refused(repository: Path) -> None:
    """Triton would take config.pbtxt without a word."""
    with pytest.raises(UsageError, match=r"no model of .* has configs/l5\.pbtxt") as refused:
        start_server(ServerOptions(repository=repository, runtime="embedded", model_config_name="l5"))
    assert refused.value.hint == "there are: cpu, l4"


def test_the_check_loads_the_one_that_is_named(repository: Path, tmp_path: Path) -> None:
    """And says which ones it only read."""
    shutil.copytree(repository / "named", tmp_path / "models" / "named")
    (tmp_path / "models/named/manifest.json").unlink()
    found = check_repository(CheckOptions(repository=tmp_path / "models", model_config_name="cpu"))
    (model,) = found.models
    assert model.verdict == "well"
    assert "read, not loaded: config.pbtxt, configs/l4.pbtxt" in model.notes
    (model,) = check_repository(CheckOptions(repository=tmp_path / "models", model_config_name="l4")).models
    assert "not tried here: this machine has no GPU" in model.notes


def test_the_check_reads_them_all(repository: Path) -> None:
    """Each problem names its file; a model whose config.pbtxt loads is broken all the same."""
    found = check_repository(CheckOptions(repository=repository, load=False))
    problems = {model.name: [problem.field for problem in model.problems] for model in found.models}
    assert problems["plain"] == []
    assert "configs/cpu.pbtxt" in problems["broken"]
    # Edited after packaging, and that is all that is wrong with it.
    assert problems["named"] == ["configs/cpu.pbtxt"]
