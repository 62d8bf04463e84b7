"""`serve infer` against a real Triton, over HTTP and gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper
from onnx_models import add_to_repository, build_model, echo_model, tensor_config
from PIL import Image

from serve_deploy.manifest import SAMPLES_NAME
from serve_deploy.samples.files import encode_samples
from serve_deploy.triton import TritonServer

_ONE = "instance_group { count: 1 }\n"


def _brightness_model():
    """How dark, grey and bright a 2×2 picture is: its mean m as [1-m, 0.25, m]."""
    mean = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0)
    column = helper.make_node("Unsqueeze", ["mean", "axis"], ["bright"])
    nodes = [
        mean, column, helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Mul", ["bright", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "quarter"], ["grey"]),
        helper.make_node("Concat", ["dark", "grey", "bright"], ["scores"], axis=1),
    ]  # fmt: skip
    initializers = [
        helper.make_tensor("axis", T.INT64, [1], [1]),
        helper.make_tensor("one", T.FLOAT, [], [1.0]),
        helper.make_tensor("zero", T.FLOAT, [], [0.0]),
        helper.make_tensor("quarter", T.FLOAT, [], [0.25]),
    ]
    inputs, outputs = [("image", T.FLOAT, ("n", 3, 2, 2))], [("scores", T.FLOAT, ("n", 3))]
    return build_model(nodes, inputs, outputs, initializers=initializers)


@pytest.fixture(scope="module")
def server(triton_server: Callable[..., TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    folder = tmp_path_factory.mktemp("infer")
    scores = tensor_config("output", "scores", "FP32", [3]).replace("dims", 'label_filename: "labels.txt" dims')
    brightness = add_to_repository(
        folder, "brightness", _brightness_model(),
        "max_batch_size: 4\n" + _ONE + tensor_config("input", "image", "FP32", [3, 2, 2]) + scores,
    )  # fmt: skip
    (brightness / "labels.txt").write_text("dark\ngrey\nbright\n")
    for name, data_type, onnx_type in (("text", "STRING", T.STRING), ("numbers", "INT64", T.INT64)):
        config = tensor_config("input", "x", data_type, [-1]) + tensor_config("output", "y", data_type, [-1])
        add_to_repository(folder, name, echo_model(onnx_type, ("n",)), "max_batch_size: 0\n" + _ONE + config)
    _add_counter(folder)
    return triton_server(folder, auto_complete=False)


def _add_counter(folder: Path) -> None:
    """A stateful model that adds up what a sequence sends, from its first request on."""
    (folder / "counter" / "1").mkdir(parents=True)
    (folder / "counter" / "1" / "model.py").write_text(_COUNTER)
    (folder / "counter" / "config.pbtxt").write_text(
        'backend: "python" max_batch_size: 1 instance_group { count: 1 kind: KIND_CPU }\n'
        + tensor_config("input", "x", "INT64", [1])
        + tensor_config("output", "sum", "INT64", [1])
        + "sequence_batching { max_sequence_idle_microseconds: 60000000 control_input { name: 'start' "
        + "control { kind: CONTROL_SEQUENCE_START int32_false_true: [0, 1] } } }"
    )


_COUNTER = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x, start = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)[0] for name in ("x", "start")
        )
        key = request.correlation_id()
        self.sums[key] = (0 if start else self.sums[key]) + x
        import numpy as np

        return pb_utils.InferenceResponse([pb_utils.Tensor("sum", np.array([[self.sums[key]]], np.int64))])
"""


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, server: TritonServer) -> str:
    return server.http_url if request.param == "http" else server.grpc_url


def test_picture_is_classified_with_labels(serve, url: str, tmp_path: Path) -> None:
    """A picture goes in as it is, and the classes come back by name, best first."""
    Image.new("L", (10, 10), 255).save(tmp_path / "white.png")
    ended = serve("infer", url, "-m", "brightness", "-i", f"image=@{tmp_path / 'white.png'}", "--top", "2")
    assert ended.returncode == 0
    assert [line.split()[0] for line in ended.stdout.splitlines()[2:] if line] == ["bright", "grey"]
    assert "resized to 2×2 RGB" in ended.stderr


def test_json_holds_exact_values(serve, url: str) -> None:
    """--json prints the result object, with the values themselves."""
    ended = serve("infer", url, "-m", "brightness", "-i", json.dumps(np.full((1, 3, 2, 2), 0.5).tolist()), "--json")
    assert ended.returncode == 0
    output = json.loads(ended.stdout)["outputs"][0]
    assert (output["name"], output["shape"], output["data"]) == ("scores", [1, 3], [[0.5, 0.25, 0.5]])
    assert [(item["label"], item["score"]) for item in output["classes"][0]] == [
        ("dark", 0.5), ("bright", 0.5), ("grey", 0.25),
    ]  # fmt: skip


def test_top_ranks_outputs_without_labels_and_0_ranks_none(serve, url: str) -> None:
    """By default only labelled outputs are ranked; the values are there each time."""
    asked = ("infer", url, "-m", "numbers", "-i", "[5, 9, 7]", "--json")
    for top, classes in ((None, []), (2, [[(1, 9.0), (2, 7.0)]])):
        ended = serve(*asked, *([] if top is None else ["--top", top]))
        output = json.loads(ended.stdout)["outputs"][0]
        assert output["data"] == [5, 9, 7]
        assert [[(item["index"], item["score"]) for item in row] for row in output["classes"]] == classes
    ended = serve("infer", url, "-m", "brightness", "--random", "--top", "0", "--json")
    assert json.loads(ended.stdout)["outputs"][0]["classes"] == []


@pytest.mark.parametrize("number", ["7", "user-7"])
def test_a_sequence_keeps_its_state(serve, url: str, number: str) -> None:
    """By number or by text, over both protocols, from its first request to its last."""
    sums = []
    for value, flags in ((1, ["--sequence-start"]), (2, []), (3, ["--sequence-end"])):
        ended = serve("infer", url, "-m", "counter", "-i", f"[{value}]", "--json", "--sequence-id", number, *flags)
        assert ended.returncode == 0, ended.stderr
        sums += json.loads(ended.stdout)["outputs"][0]["data"][0]
    assert sums == [1, 3, 6]


def test_what_is_not_given_comes_from_the_package(serve, server: TritonServer, tmp_path: Path) -> None:
    """Its samples, by number, and random values only where asked for."""
    (tmp_path / "numbers").mkdir()
    samples = [{"x": np.array([1, 2])}, {"x": np.array([3])}]
    (tmp_path / "numbers" / SAMPLES_NAME).write_bytes(encode_samples(samples))
    asked = ("infer", server.http_url, "-m", "numbers", "--repository", tmp_path)
    ended = serve(*asked, "--json", "--sample", "1")
    assert json.loads(ended.stdout)["outputs"][0]["data"] == [3]
    assert "x: sample 1 of the package, shape [1]" in serve(*asked, "--sample", "1").stderr
    ended = serve(*asked, "--sample", "2")
    assert (ended.returncode, "has 2, counted from 0" in ended.stderr) == (2, True)
    assert "x: random, shape [4]" in serve(*asked, "--random", "--shape", "x:4").stderr


def test_strings_go_and_come_as_text(serve, url: str, tmp_path: Path) -> None:
    """Text in, text out, also into a .npz."""
    ended = serve("infer", url, "-m", "text", "-i", "héllo wörld")
    assert "['héllo wörld']" in ended.stdout
    ended = serve("infer", url, "-m", "text", "-i", '["a", "b"]', "-o", tmp_path / "out.npz")
    assert ended.returncode == 0
    with np.load(tmp_path / "out.npz", allow_pickle=False) as saved:
        assert saved["y"].tolist() == ["a", "b"]


def test_random_inputs_need_sizes_for_free_dims(serve, server: TritonServer) -> None:
    """--random makes up what is not given; a free dim is asked for, not guessed."""
    assert serve("infer", server.http_url, "-m", "brightness", "--random").returncode == 0
    ended = serve("infer", server.http_url, "-m", "numbers", "--random")
    assert (ended.returncode, "--shape x:N" in ended.stderr) == (2, True)
    ended = serve("infer", server.http_url, "-m", "numbers", "--random", "--shape", "x:4", "--json")
    assert json.loads(ended.stdout)["outputs"][0]["shape"] == [4]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-m", "numbers", "-i", "z=[1]"], 2, "numbers takes x INT64 [-1]"),
        (["-m", "numbers", "-i", "[[1]]"], 2, "input x has shape [1, 1], the model takes [-1]"),
        (["-m", "numbers", "-i", "[1.5]"], 2, "input x has type float64, the model takes INT64"),
        (["-m", "numbers"], 2, "there is no data for input x"),
        (["-m", "counter", "-i", "[1]"], 2, "counter keeps a state for each sequence, and needs its --sequence-id"),
        (["-m", "numbers", "-i", "[1]", "--output", "z"], 2, "numbers returns y INT64 [-1]"),
        (["-m", "nosuch", "--random"], 6, "it serves brightness, counter, numbers, text"),
        (["-m", "numbers", "-i", "[1]", "-o", "/dev/null/out.npz"], 4, "cannot be written"),
    ],
)
def test_what_does_not_fit_is_said_before_sending(
    serve, server: TritonServer, arguments: list[str], code: int, message: str
) -> None:
    """Wrong names, shapes and types are one line, with what the model takes."""
    ended = serve("infer", server.http_url, *arguments)
    assert ended.returncode == code
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_unreachable_endpoint_ends_with_6(serve, scheme: str) -> None:
    """Where nothing listens, the URL is named."""
    ended = serve("infer", f"{scheme}://127.0.0.1:1", "-m", "m", "--random")
    assert ended.returncode == 6
    assert "127.0.0.1:1" in ended.stderr
