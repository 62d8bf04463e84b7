"""What the requests hold: data that was asked for and is not there is refused, and the report says what was sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_deploy.endpoint.model import Model, read_model
from serve_deploy.errors import UsageError
from serve_deploy.loadtest import LoadTestOptions, parse_endpoint
from serve_deploy.loadtest.requests.data import read_request_data
from serve_deploy.reports.figures import describe_data
from serve_deploy.reports.point import RequestData
from serve_deploy.samples.files import encode_samples


@pytest.fixture
def model() -> Model:
    """A batching model of one input, as Triton describes it."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    return read_model({"name": "sum", "versions": ["1"], "inputs": [tensor]}, {"max_batch_size": 4})


def options(**asked: Any) -> LoadTestOptions:
    return LoadTestOptions(endpoint=parse_endpoint("http://127.0.0.1:8000"), model="sum", **asked)


def keep_samples(repository: Path, count: int) -> None:
    (repository / "sum").mkdir(parents=True)
    samples = [{"x": np.full((1, 2), number, np.float32)} for number in range(count)]
    (repository / "sum" / "samples.npz").write_bytes(encode_samples(samples))


def test_random_data_is_called_random(model: Model) -> None:
    """Where nothing was given, the report says so, with the seed that makes the same values again."""
    data = read_request_data(options(seed=7), model).data
    assert data == RequestData(origin="random", samples=1, seed=7)
    assert describe_data(data) == "random values made from the model's metadata (seed 7)"


def test_samples_of_the_package_are_named(model: Model, tmp_path: Path) -> None:
    """The report counts the samples, whatever the batch size, and says where they were kept."""
    keep_samples(tmp_path, 3)
    rows = read_request_data(options(repository=tmp_path, batch_size=2), model)
    assert [len(sample.inputs["x"]) for sample in rows.samples] == [2, 2]
    path = tmp_path / "sum" / "samples.npz"
    assert describe_data(rows.data) == f"3 samples of {path} (kept by serve package)"


def test_a_file_is_named(model: Model, tmp_path: Path) -> None:
    """The report counts the samples of the file that was given."""
    np.save(tmp_path / "x.npy", np.ones((1, 2), np.float32))
    data = read_request_data(options(data=tmp_path / "x.npy"), model).data
    assert describe_data(data) == f"1 sample of {tmp_path / 'x.npy'} (given)"


def test_a_repository_without_the_model_is_refused(model: Model, tmp_path: Path) -> None:
    """Nobody who names a repository gets random data instead: it says which models there are."""
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="has no model sum") as refused:
        read_request_data(options(repository=tmp_path), model)
    assert refused.value.hint == "it has other"


def test_a_package_without_samples_is_refused(model: Model, tmp_path: Path) -> None:
    """The model is there, its samples are not: the file that is missing is named."""
    (tmp_path / "sum").mkdir()
    with pytest.raises(UsageError, match=r"has no samples of sum: there is no .*samples\.npz"):
        read_request_data(options(repository=tmp_path), model)


def write_npz(path: Path) -> Path:
    np.savez(path / "empty.npz", x=np.zeros((0, 2), np.float32))
    return path / "empty.npz"


def write_perf_analyzer(path: Path) -> Path:
    (path / "empty.json").write_text(json.dumps({"data": []}))
    return path / "empty.json"


def write_kserve(path: Path) -> Path:
    tensor = {"name": "x", "shape": [0, 2], "datatype": "FP32", "data": []}
    (path / "kserve.json").write_text(json.dumps({"inputs": [tensor]}))
    return path / "kserve.json"


@pytest.mark.parametrize("write", [write_npz, write_perf_analyzer, write_kserve])
def test_data_without_rows_is_refused(model: Model, tmp_path: Path, write: Any) -> None:
    """A file with the right inputs and not one row has nothing to send."""
    with pytest.raises(UsageError, match=r"without rows|has no samples"):
        read_request_data(options(data=write(tmp_path)), model)
