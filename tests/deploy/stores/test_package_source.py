"""A model file in a bucket as what `serve package` is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serve_deploy.errors import EndpointError
from serve_deploy.model_sources.addresses import parse_source
from serve_deploy.model_sources.fetching import fetched
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package
from serve_deploy.progress import silent
from serve_deploy.stores.address import parse_address
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.snapshot import SnapshotFile


def send(folder: Path, address: str) -> None:
    """Put the files of a folder into a bucket."""
    from hashlib import sha256

    store = open_store(parse_address(address))
    for path in folder.iterdir():
        content = path.read_bytes()
        file = SnapshotFile(path=path.name, sha256=sha256(content).hexdigest(), size_bytes=len(content))
        store.upload(path, file, path.name, lambda _count: None)


def write_model(folder: Path) -> None:
    """An ONNX model with its weights in a file beside it."""
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "linear.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)


def test_a_model_in_a_bucket_is_packaged_with_its_external_data(
    moto: str, new_path: Callable[[], str], tmp_path: Path
) -> None:
    """The manifest says where it came from."""
    address = f"s3://{moto}/models/{new_path()}"
    (tmp_path / "source").mkdir()
    write_model(tmp_path / "source")
    send(tmp_path / "source", address)
    options = PackageOptions(repository=tmp_path / "models", verify=False, max_batch_size=0)
    (packaged,) = package([f"{address}/linear.onnx"], options).packaged
    assert packaged.manifest.origin is not None
    assert (packaged.name, packaged.manifest.origin.pinned) == ("linear", f"{address}/linear.onnx")
    assert (tmp_path / "models/linear/1/model.onnx/weights.bin").is_file()


def test_a_file_that_the_bucket_has_not_is_said(moto: str, new_path: Callable[[], str]) -> None:
    """By its address."""
    address = parse_source(f"s3://{moto}/models/{new_path()}/absent.onnx")
    assert address is not None
    with pytest.raises(EndpointError, match=r"absent\.onnx"), fetched(address, silent):
        pass
