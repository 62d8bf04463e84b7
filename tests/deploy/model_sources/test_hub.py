"""Models of the Hugging Face Hub: its own client asks a server that answers as the hub does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hub_server import COMMIT, Hub, serving
from huggingface_hub import HfApi
from onnx import TensorProto, helper, numpy_helper

from serve_deploy.errors import EndpointError, InvalidModelError, UsageError
from serve_deploy.model_sources.addresses import HubAddress, parse_source
from serve_deploy.model_sources.fetched import Fetched
from serve_deploy.model_sources.hub import fetch_from_hub
from serve_deploy.progress import silent

Serve = Callable[..., subprocess.CompletedProcess[str]]


def make_model(folder: Path, *, external: bool = False) -> dict[str, bytes]:
    """A small ONNX model by the names of its files, perhaps with its weights in a file beside it."""
    weights = numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 0} if external else {}
    onnx.save(model, folder / "model.onnx", **data)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small ONNX model."""
    return make_model(tmp_path_factory.mktemp("linear"))["model.onnx"]


@pytest.fixture
def hub(linear: bytes, tmp_path: Path) -> Iterator[Hub]:
    """A hub with models of several kinds."""
    (tmp_path / "external").mkdir()
    external = make_model(tmp_path / "external", external=True)
    models = {
        "maker/one": {"README.md": b"# one", "onnx/model.onnx": linear},
        "maker/several": {"model.onnx": linear, "onnx/model_int8.onnx": linear, "config.json": b"{}"},
        "maker/split": {f"onnx/{name}": content for name, content in external.items()} | {"onnx/more.bin": b"other"},
        "maker/weights": {"model.safetensors": b"0" * 99, "config.json": b"{}", "train.py": b"print()"},
        "maker/tensorflow": {"saved_model.pb": b"pb", "variables/variables.index": b"i", "README.md": b"r"},
        "maker/gated": {},
    }
    with serving(Hub(models, {"main": COMMIT, "v1": "1" * 40})) as served:
        yield served


def fetch(text: str, hub: Hub, folder: Path) -> Fetched:
    """What the address fetches from the hub, into a cache of its own."""
    address = parse_source(text)
    assert isinstance(address, HubAddress)
    client = HfApi(endpoint=hub.endpoint, token="hf_planted_secret")
    return fetch_from_hub(address, silent, client=client, cache=folder / "cache")


def test_the_only_onnx_file_is_the_model(hub: Hub, linear: bytes, tmp_path: Path) -> None:
    """Pinned to the commit, and with nothing else downloaded."""
    found = fetch("hf://maker/one", hub, tmp_path)
    assert found.path.read_bytes() == linear
    assert (found.origin.asked, found.origin.pinned, found.origin.version) == (
        "hf://maker/one", f"hf://maker/one@{COMMIT}/onnx/model.onnx", COMMIT,
    )  # fmt: skip
    assert not [path for path in hub.asked if "README" in path]


def test_a_revision_is_pinned_to_its_commit(hub: Hub, tmp_path: Path) -> None:
    """A tag may move; the commit does not."""
    found = fetch("hf://maker/one@v1/onnx/model.onnx", hub, tmp_path)
    assert found.origin.pinned == f"hf://maker/one@{'1' * 40}/onnx/model.onnx"
    assert f"/maker/one/resolve/{'1' * 40}/onnx/model.onnx" in hub.asked


def test_several_onnx_files_are_listed_to_choose_from(hub: Hub, tmp_path: Path) -> None:
    """Each as it can be given, with its size."""
    with pytest.raises(UsageError, match="hf://maker/several has 2 ONNX files") as caught:
        fetch("hf://maker/several", hub, tmp_path)
    assert "hf://maker/several/onnx/model_int8.onnx (1" in str(caught.value.hint)


def test_a_named_folder_is_searched(hub: Hub, tmp_path: Path) -> None:
    """Of several, the only one in it is meant."""
    assert fetch("hf://maker/several/onnx", hub, tmp_path).path.name == "model_int8.onnx"


def test_external_data_comes_with_the_model(hub: Hub, tmp_path: Path) -> None:
    """The files that it names, and no others."""
    found = fetch("hf://maker/split", hub, tmp_path)
    assert {path.name for path in found.path.parent.iterdir()} == {"model.onnx", "model.onnx_data"}


def test_a_saved_model_is_fetched_as_its_folder(hub: Hub, tmp_path: Path) -> None:
    """With its variables, without what lies beside it."""
    found = fetch("hf://maker/tensorflow", hub, tmp_path)
    files = {str(path.relative_to(found.path)) for path in found.path.rglob("*") if path.is_file()}
    assert files == {"saved_model.pb", "variables/variables.index"}
    assert found.origin.pinned == f"hf://maker/tensorflow@{COMMIT}"


@pytest.mark.parametrize(
    ("text", "error", "words", "hint"),
    [
        ("hf://maker/weights", InvalidModelError, "has no ONNX file", "optimum-cli export onnx --model maker/weights"),
        ("hf://maker/one/absent.onnx", InvalidModelError, "is not there", "the model has onnx/model.onnx, README.md"),
        ("hf://maker/weights/train.py", UsageError, "is code, which serve runs from this disk only", "read it"),
        ("hf://maker/gated", EndpointError, "for those who accepted its terms", "set HF_TOKEN"),
        ("hf://maker/gone", EndpointError, "the hub has no model hf://maker/gone, or it is private", "set HF_TOKEN"),
        ("hf://maker/one@v9", EndpointError, "has no such revision on the hub", "branch, tag or commit"),
    ],
)
def test_what_cannot_be_fetched_is_said_in_a_line(
    hub: Hub, tmp_path: Path, text: str, error: type[Exception], words: str, hint: str
) -> None:
    """With what to do about it, and without the token."""
    with pytest.raises(error, match=words) as caught:
        fetch(text, hub, tmp_path)
    assert hint in str(caught.value.hint)
    assert "planted" not in f"{caught.value} {caught.value.hint}"


def test_the_token_goes_to_the_hub_only_in_its_header(hub: Hub, tmp_path: Path) -> None:
    """As its client sends it."""
    fetch("hf://maker/one", hub, tmp_path)
    assert hub.tokens == {"Bearer hf_planted_secret"}


@pytest.mark.parametrize("name", ["onnx/model.onnx", "onnx/tiny.onnx"], ids=["lfs", "git"])
def test_a_file_of_other_content_is_refused(hub: Hub, tmp_path: Path, linear: bytes, name: str) -> None:
    """As large as the hub lists it, and not by its digest: LFS's sha256, or git's for a small file."""
    content = linear if name == "onnx/model.onnx" else b"tiny"
    hub.models["maker/one"] = {name: content}
    hub.sent[name] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(EndpointError, match=r"arrived damaged: its (sha256|git digest) is not the one that the hub"):
        fetch("hf://maker/one", hub, tmp_path)


@pytest.mark.parametrize("name", ["../../../../evil.onnx", "/tmp/evil.onnx"])
def test_a_file_outside_the_model_is_not_there(hub: Hub, tmp_path: Path, linear: bytes, name: str) -> None:
    """Whatever a hub lists."""
    hub.models["maker/one"] = {name: linear}
    with pytest.raises(InvalidModelError, match="hf://maker/one has no ONNX file"):
        fetch("hf://maker/one", hub, tmp_path)


def test_a_file_that_is_no_model_is_named_as_it_was_asked_for(hub: Hub, tmp_path: Path) -> None:
    """Not by where it lies in a cache."""
    hub.models["maker/one"] = {"model.onnx": b"<html>" * 20}
    with pytest.raises(InvalidModelError, match="hf://maker/one is not"):
        fetch("hf://maker/one", hub, tmp_path)


@pytest.mark.parametrize("extra", [-10, 10])
def test_a_file_of_another_size_is_refused(hub: Hub, tmp_path: Path, linear: bytes, extra: int) -> None:
    """Cut short, or with something behind it."""
    hub.sent["onnx/model.onnx"] = linear[:extra] if extra < 0 else linear + b"0" * extra
    with pytest.raises(EndpointError, match=f"it has {len(linear) + extra} bytes, and the hub lists {len(linear)}"):
        fetch("hf://maker/one", hub, tmp_path)


def test_a_hub_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    """And what else can be done."""
    with pytest.raises(EndpointError, match="the hub cannot be reached to ask for hf://maker/one") as caught:
        fetch("hf://maker/one", Hub(endpoint="http://127.0.0.1:9"), tmp_path)
    assert "give its path" in str(caught.value.hint)
    assert "Errno" not in str(caught.value)


def test_a_hubs_model_is_packaged_with_its_origin(hub: Hub, serve: Serve, tmp_path: Path) -> None:
    """The manifest and `--json` say the commit; the model is called as on the hub."""
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    done = serve("package", "hf://maker/split", "--no-verify", "--json", env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    packaged = json.loads(done.stdout)["packaged"][0]
    assert packaged["source"] == "hf://maker/split"
    expected = {"asked": "hf://maker/split", "pinned": f"hf://maker/split@{COMMIT}/onnx/model.onnx",
                "version": COMMIT, "run_id": ""}  # fmt: skip
    assert packaged["manifest"]["origin"] == expected
    assert json.loads((tmp_path / "models/split/manifest.json").read_bytes())["origin"] == expected
    assert (tmp_path / "models/split/1/model.onnx/model.onnx_data").is_file()


def test_a_language_model_is_pinned_for_the_server(hub: Hub, serve: Serve, tmp_path: Path) -> None:
    """vLLM is told the commit of which the configuration was read."""
    from checkpoints import config_file

    hub.models["maker/words"] = {"config.json": config_file("qwen2.5-7b").read_bytes()}
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    done = serve("package", "hf://maker/words@v1", "--backend", "vllm", env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    engine = json.loads((tmp_path / "models/words/1/model.json").read_bytes())
    assert (engine["model"], engine["revision"]) == ("maker/words", "1" * 40)
    assert f"/maker/words/resolve/{'1' * 40}/config.json" in hub.asked
