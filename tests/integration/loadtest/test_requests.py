"""Requests: built from metadata or real data, checked before they are sent, and their replies on request."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.loadtest import ClosedLoop, ConstantRate, LoadTestOptions, parse_endpoint, run_loadtest
from serve_deploy.loadtest.workers.pool import Workers
from serve_deploy.onnx.model import read_model
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.samples.files import encode_samples, read_samples
from serve_deploy.triton import TritonServer

PROTOCOLS = pytest.mark.parametrize("protocol", ["http", "grpc"])
FOUR = {"loads": (ClosedLoop(4),), "requests": 40}


def only_point(report: LoadTestReport) -> Point:
    (point,) = report.points
    assert point.sent == point.succeeded + point.failed + point.timed_out + point.in_flight_at_end
    return point


@pytest.fixture
def measure(measure: Callable[..., LoadTestReport], generator: Workers) -> Callable[..., LoadTestReport]:
    """Runs by one generator process."""
    return partial(measure, workers=generator)


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[Any], Path]:
    def write(document: Any) -> Path:
        path = tmp_path / "data.json"
        path.write_text(json.dumps(document))
        return path

    return write


@PROTOCOLS
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_strings_batches_and_compression(measure: Any, protocol: str, compression: str | None) -> None:
    """Generated strings in batches, compressed or not, are understood."""
    point = only_point(measure("shout", protocol, **FOUR, batch_size=3, endpoint_options={"compression": compression}))
    assert point.succeeded == 40
    assert point.server[0].inferences == 120


@PROTOCOLS
def test_outputs_are_validated(measure: Any, write_json: Any, protocol: str) -> None:
    """Replies that differ from what is expected are failures of the kind wrong_output, with the difference."""
    data = write_json(
        {
            "data": [{"IN": {"content": [1, 2, 3], "shape": [3]}}, {"IN": [4]}],
            "validation_data": [{"OUT": {"content": [2, 4, 6], "shape": [3]}}, {"OUT": [9]}],
        }
    )
    point = only_point(measure("double", protocol, **FOUR, data=data, validate=True))
    assert (point.succeeded, point.failed) == (20, 20)
    assert [(error.kind, error.example) for error in point.errors] == [
        ("wrong_output", "output OUT differs by up to 1 (11 % of the largest value)")
    ]


@PROTOCOLS
def test_expected_outputs_in_a_file(measure: Any, tmp_path: Path, protocol: str) -> None:
    """Inputs and expected outputs as .npz: rows become samples, batches are put together from them."""
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    np.savez(tmp_path / "in.npz", IN=rows)
    np.savez(tmp_path / "out.npz", OUT=rows * 2)
    data = {"data": tmp_path / "in.npz", "expected": tmp_path / "out.npz", "validate": True, "batch_size": 3}
    point = only_point(measure("double", protocol, **FOUR, **data))
    assert (point.succeeded, point.errors) == (40, ())


@PROTOCOLS
def test_large_bodies_arrive_and_come_back(measure: Any, tmp_path: Path, protocol: str) -> None:
    """600 KB each way, more than windows and sockets' buffers hold, are what they should be."""
    rows = np.arange(300_000, dtype=np.float32).reshape(2, 150_000)
    np.savez(tmp_path / "in.npz", IN=rows)
    np.savez(tmp_path / "out.npz", OUT=rows * 2)
    data = {"data": tmp_path / "in.npz", "expected": tmp_path / "out.npz", "validate": True}
    point = only_point(measure("double", protocol, **FOUR, **data))
    assert (point.succeeded, point.errors) == (40, ())


@PROTOCOLS
def test_validated_strings(measure: Any, write_json: Any, protocol: str) -> None:
    """String outputs are compared too."""
    data = write_json({"data": [{"TEXT": ["some"]}], "validation_data": [{"LOUD": ["SOME"]}]})
    assert only_point(measure("shout", protocol, **FOUR, data=data, validate=True)).succeeded == 40


@PROTOCOLS
def test_shared_memory_carries_the_inputs(measure: Any, tmp_path: Path, protocol: str) -> None:
    """Inputs in system shared memory arrive as they are; the region is gone afterwards."""
    np.savez(tmp_path / "in.npz", IN=np.array([[1, 2], [3, 4]], np.float32))
    np.savez(tmp_path / "out.npz", OUT=np.array([[2, 4], [6, 8]], np.float32))
    data = {"data": tmp_path / "in.npz", "expected": tmp_path / "out.npz", "validate": True}
    point = only_point(measure("double", protocol, **FOUR, **data, shared_memory="system"))
    assert (point.succeeded, point.errors) == (40, ())
    assert list(Path("/dev/shm").glob(f"serve-loadtest-{os.getpid()}-*")) == []


@pytest.mark.parametrize(("protocol", "streaming"), [("http", False), ("grpc", False), ("grpc", True)])
@pytest.mark.parametrize("load", [ClosedLoop(4), ConstantRate(300)], ids=["closed", "open"])
def test_sequences_keep_their_state(measure: Any, write_json: Any, protocol: str, streaming: bool, load: Any) -> None:
    """Each step of a sequence sees the sum of the steps before it, however many sequences run at once."""
    steps = [[{"IN": [1]}, {"IN": [2]}, {"IN": [3]}]]
    sums = [[{"SUM": [1]}, {"SUM": [3]}, {"SUM": [6]}]]
    data = write_json({"data": steps, "validation_data": sums})
    options = {"loads": (load,), "requests": 60, "sequence_length": 3, "data": data, "validate": True}
    point = only_point(measure("running_sum", protocol, **options, streaming=streaming))
    assert (point.succeeded, point.errors) == (60, ())


def test_sequences_are_compressed_one_by_one(measure: Any, write_json: Any) -> None:
    """Over gRPC, compressed requests carry their own correlation ids."""
    data = write_json({"data": [[{"IN": [1]}, {"IN": [2]}]], "validation_data": [[{"SUM": [1]}, {"SUM": [3]}]]})
    options = {"requests": 20, "sequence_length": 2, "data": data, "validate": True}
    point = only_point(measure("running_sum", "grpc", **options, endpoint_options={"compression": "gzip"}))
    assert (point.succeeded, point.errors) == (20, ())


def test_decoupled_models_stream(measure: Any, write_json: Any) -> None:
    """A request to a decoupled model ends with its final response; the first one and their number are reported."""
    data = write_json({"data": [{"TIMES": [3]}]})
    point = only_point(measure("repeat", "grpc", **FOUR, data=data, streaming=True))
    assert (point.succeeded, point.responses) == (40, 120)
    assert point.first_response
    assert point.first_response.p50_us <= point.response.p50_us


def test_streams_without_any_response_end_too(measure: Any, write_json: Any) -> None:
    """A decoupled model that answers nothing still says when it is done."""
    point = only_point(
        measure("repeat", "grpc", requests=5, data=write_json({"data": [{"TIMES": [0]}]}), streaming=True)
    )
    assert (point.succeeded, point.responses) == (5, None)


def test_errors_by_kind_with_an_example(measure: Any, write_json: Any) -> None:
    """Errors of several kinds are counted apart, successes in between are not touched by them."""
    codes = ["UNAVAILABLE", "INTERNAL", "OK", "NOT_FOUND"]
    data = write_json({"data": [{"CODE": [code]} for code in codes]})
    point = only_point(measure("refuse", loads=(ClosedLoop(2),), requests=40, data=data))
    assert (point.succeeded, point.failed) == (10, 30)
    assert {error.kind: (error.count, error.example) for error in point.errors} == {
        "http_503": (10, "asked for UNAVAILABLE"),
        "http_500": (10, "asked for INTERNAL"),
        "http_404": (10, "asked for NOT_FOUND"),
    }
    assert point.response.count == 10


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("double", {"shapes": (("NO", (1,)),)}, "no input 'NO'"),
        ("double", {"shapes": (("IN", (1, 2)),)}, "does not take the shape"),
        ("exact", {"shapes": (("IN", (2,)),)}, "does not take the shape"),
        ("double", {"shapes": (("IN", (1,)),), "batch_size": 9}, "at most 8"),
        ("repeat", {}, "decoupled"),
        ("exact", {"streaming": True}, "needs gRPC"),
        ("exact", {"validate": True}, "needs the outputs to expect"),
        ("exact", {"data": Path("missing.npz")}, "does not exist"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_request(
    measure: Any, model: str, options: dict[str, Any], message: str
) -> None:
    """Wrong shapes, inputs, batches and options are usage errors that say what fits."""
    with pytest.raises(UsageError, match=message):
        measure(model, requests=1, **options)


def test_wrong_type_is_refused_before_the_first_request(measure: Any, tmp_path: Path) -> None:
    """Data of a type that the model does not take is a usage error."""
    np.savez(tmp_path / "in.npz", IN=np.array([["text"]]))
    with pytest.raises(UsageError, match="type"):
        measure("exact", requests=1, data=tmp_path / "in.npz")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"data": [{"NO": [1]}]}, "no tensor 'NO'"),
        ({"data": [{"IN": [1, 2]}]}, "IN: cannot reshape"),
        ({"data": [{"IN": {"b64": "!"}}]}, "IN: "),
        ({"data": []}, "has no samples"),
        ({"data": [{"IN": [1]}], "validation_data": [{}, {}]}, "2 expected outputs"),
        ({"data": [{}]}, "no data for input IN"),
    ],
)
def test_wrong_perf_analyzer_data_is_refused(measure: Any, write_json: Any, document: Any, message: str) -> None:
    """What is wrong in perf_analyzer's JSON is said with the name of the tensor."""
    with pytest.raises(UsageError, match=message):
        measure("exact", requests=1, data=write_json(document))


def test_unknown_version_is_refused(measure: Any) -> None:
    """A version that is not served is an endpoint error in Triton's words."""
    with pytest.raises(EndpointError, match="7"):
        measure("exact", requests=1, model_version="7")


def test_packaged_samples_are_checked_against_the_model_itself(
    triton_server: Callable[..., TritonServer], tmp_path: Path
) -> None:
    """With --repository, the samples kept in it are sent, and --validate compares with ONNX Runtime's own outputs."""
    model, repository = Path(__file__).parents[3] / "examples" / "digits", tmp_path / "repository"
    analysis = read_model(model / "digits.onnx")
    (repository / "digits" / "1").mkdir(parents=True)
    shutil.copy(model / "digits.onnx", repository / "digits" / "1" / "model.onnx")
    (repository / "digits" / "samples.npz").write_bytes(
        encode_samples(read_samples(model / "samples.npz", analysis.signature))
    )
    server = triton_server(repository)
    options = LoadTestOptions(
        endpoint=parse_endpoint(server.http_url), model="digits", loads=(ClosedLoop(2),), requests=40,
        duration_seconds=None, warmup_seconds=0, repository=repository, validate=True, batch_size=2,
    )  # fmt: skip
    point = only_point(run_loadtest(options))
    assert (point.succeeded, point.errors) == (40, ())
