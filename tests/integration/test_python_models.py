"""Function files and standard steps on a real Triton's Python backend: the same answers as without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from function_files import BEST, write_function, write_python_model
from tokenizer_files import word_piece, write_tokenizer
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.connection import GrpcConnection
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.inference import send_together
from serve_deploy.endpoint.payload import Sample
from serve_deploy.errors import EndpointError
from serve_deploy.python_models.function_file import read_function_file
from serve_deploy.python_models.model import PythonModel
from serve_deploy.python_models.standard_steps import standard_step
from serve_deploy.triton import TritonServer

_EXAMPLE = Path(__file__).parents[2] / "examples" / "functions" / "verdict.py"
_LABELS = ["dark", "grey", "bright"]
_ODD = """
Raw = Annotated[NDArray[np.bytes_], "n"]


class Odd(TypedDict):
    again: Raw
    turned: Annotated[NDArray[np.int16], 2, "n"]


def odd(x: Raw, numbers: Annotated[NDArray[np.int16], "n", 2]) -> Odd:
    return Odd(turned=numbers.T, again=x)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, PythonModel]]:
    """Two functions and each standard step; their folders go with them."""
    folder = tmp_path_factory.mktemp("functions")
    write_tokenizer(folder, word_piece())
    made = {
        "best": read_function_file(write_function(folder / "best", BEST, names_txt="cat dog cow")),
        "odd": read_function_file(write_function(folder / "odd", _ODD)),
        "decode": standard_step("decode_image", {"size": 24, "crop": 16}, folder),
        "top": standard_step("top_k", {"k": 2, "labels": _LABELS}, folder),
        "words": standard_step("tokenize", {"pad_token": "[UNK]"}, folder),
    }
    yield made
    made.clear()


@pytest.fixture(scope="module")
def server(
    triton_server: Callable[..., TritonServer],
    tmp_path_factory: pytest.TempPathFactory,
    models: Mapping[str, PythonModel],
) -> TritonServer:
    repository = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        write_python_model(repository, name, model)
    lost = write_python_model(repository, "lost", models["best"]) / "1" / "function" / "post.py"
    lost.write_text(lost.read_text() + "\nimport not_in_this_container\n")
    return triton_server(repository, auto_complete=False)


Ask = Callable[..., list[Mapping[str, np.ndarray]]]


@pytest.fixture
def ask(server: TritonServer) -> Iterator[Ask]:
    """Send requests to a model, all at once, and wait for every answer."""
    endpoint = parse_endpoint(server.grpc_url)
    connection, control = GrpcConnection(endpoint, 30), ControlPlane(endpoint, timeout_seconds=120)

    def send(name: str, *samples: Mapping[str, np.ndarray]) -> list[Mapping[str, np.ndarray]]:
        return send_together(connection, control.describe_model(name), [Sample(dict(sample)) for sample in samples])

    yield send
    connection.close()
    control.close()


def strings(*items: str | bytes) -> np.ndarray:
    made = np.empty((len(items), 1), dtype=object)
    made[:, 0] = items
    return made


def largest_batch(server: TritonServer, name: str) -> int:
    with ControlPlane(parse_endpoint(server.grpc_url), timeout_seconds=120) as control:
        return max(int(batch["batch_size"]) for model in control.statistics(name) for batch in model["batch_stats"])


def test_requests_share_a_call_and_each_gets_its_own_rows(ask: Ask, server: TritonServer) -> None:
    """Dynamic batches form, of requests of different sizes; every row is its own."""
    sent = [np.random.default_rng(n).random((1 + n % 3, 3), np.float32) for n in range(60)]
    for scores, answer in zip(sent, ask("best", *({"scores": scores} for scores in sent)), strict=True):
        np.testing.assert_array_equal(answer["total"], scores[:, :2] * 2)
        names = [[b"cat", b"dog", b"cow"][index] for index in scores.argmax(axis=1)]
        assert answer["name"].reshape(-1).tolist() == names
    assert largest_batch(server, "best") > 3


def test_an_input_may_be_left_out(ask: Ask) -> None:
    """Requests with and without it share no call, and both are answered."""
    scores = np.eye(3, dtype=np.float32)[:1]
    with_prefix = {"scores": scores, "prefix": strings("é")}
    answers = ask("best", *[{"scores": scores}, with_prefix] * 10)
    assert [answer["name"].item() for answer in answers] == [b"cat", "écat".encode()] * 10


def test_one_requests_error_is_its_own(server: TritonServer) -> None:
    """Of requests that come together only the wrong ones fail, with what the function said."""
    given = [1.0, -1.0, 2.0, 5000.0, 3.0] * 12
    with InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as triton, ThreadPoolExecutor(20) as pool:
        found = list(pool.map(partial(_first_total, triton), given))
    told = {-1.0: "scores must not be below 0", 5000.0: "RuntimeError: too much"}
    assert found == [told.get(value, 2 * value) for value in given]


def _first_total(triton: InferenceServerClient, value: float) -> float | str:
    """The double of the value, or the error's words."""
    scores = InferInput("scores", [1, 3], "FP32")
    scores.set_data_from_numpy(np.float32([[value, 0, 0]]))
    try:
        return float(triton.infer("best", [scores]).as_numpy("total")[0, 0])
    except InferenceServerException as error:
        return error.message()


@pytest.mark.parametrize(("value", "status"), [(-1, 400), (5000, 500)])
def test_a_wrong_request_and_a_fault_are_told_apart(server: TritonServer, value: float, status: int) -> None:
    """A ValueError of the function is 400, everything else 500."""
    import urllib.error
    import urllib.request

    body = {"inputs": [{"name": "scores", "shape": [1, 3], "datatype": "FP32", "data": [value, 0, 0]}]}
    request = urllib.request.Request(f"{server.http_url}/v2/models/best/infer", json.dumps(body).encode())
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request)
    assert refusal.value.code == status
    refusal.value.close()


def test_bytes_and_strides_come_through(ask: Ask) -> None:
    """Raw bytes with NULs, and an array that is not contiguous, from a model that does not batch."""
    raw = np.array([b"\xff\0a\0", b"", b"\0"], dtype=object)
    numbers = np.arange(6, dtype=np.int16).reshape(3, 2)
    (answer,) = ask("odd", {"x": raw, "numbers": numbers})
    assert answer["again"].tolist() == raw.tolist()
    np.testing.assert_array_equal(answer["turned"], numbers.T)


def test_pictures_are_decoded_as_here(ask: Ask, models: Mapping[str, PythonModel]) -> None:
    """The samples of the step, many at once, against the step run without Triton; a broken one fails alone."""
    samples = list(models["decode"].samples) * 4
    for sample, answer in zip(samples, ask("decode", *samples), strict=True):
        np.testing.assert_array_equal(answer["pixel_values"], models["decode"].run(sample)["pixel_values"])
    with pytest.raises(EndpointError, match="this is no image in a format that is read here"):
        ask("decode", {"image": strings(b"nonsense")})
    mixed = np.concatenate([samples[0]["image"], strings(b"")])
    with pytest.raises(EndpointError, match="image 1: the image is empty"):
        ask("decode", {"image": mixed})


def test_texts_are_as_long_as_their_own_request(ask: Ask, models: Mapping[str, PythonModel]) -> None:
    """Requests that come together do not lengthen each other."""
    samples = [{"text": strings("the " * count)} for count in (1, 9, 3, 30)] * 5
    for sample, answer in zip(samples, ask("words", *samples), strict=True):
        for name, wanted in models["words"].run(sample).items():
            np.testing.assert_array_equal(answer[name], wanted)


def test_what_is_missing_in_the_container_is_said_at_load(server: TritonServer) -> None:
    """Triton's reason names the module, and how it gets there."""
    reason = next(state.reason for state in server.model_states() if state.name == "lost")
    assert "post.py: No module named 'not_in_this_container'; install what requirements.txt" in reason


def test_infer_shows_labels(serve, server: TritonServer) -> None:
    """Labels that a model returns stand beside their scores, in the table and in JSON."""
    asked = ("infer", server.http_url, "-m", "top", "-i", "[[1, 3, 2], [5, 4, 0]]")
    ended = serve(*asked)
    assert ended.returncode == 0, ended.stderr
    assert [line.split() for line in ended.stdout.splitlines() if "0." in line] == [
        ["0", "grey", "1", "0.665241"],
        ["0", "bright", "2", "0.244728"],
        ["1", "dark", "0", "0.727475"],
        ["1", "grey", "1", "0.267623"],
    ]
    outputs = {output["name"]: output for output in json.loads(serve(*asked, "--json", "--top", "1").stdout)["outputs"]}
    assert [[score["label"] for score in row] for row in outputs["labels"]["classes"]] == [["grey"], ["dark"]]
    assert (outputs["scores"]["part_of"], outputs["indices"]["data"]) == ("labels", [[1, 2], [0, 1]])


def test_infer_sends_a_file_as_it_is(
    serve, server: TritonServer, models: Mapping[str, PythonModel], tmp_path: Path
) -> None:
    """A model that decodes pictures gets the file's bytes."""
    sample = str(models["decode"].samples[0]["image"].item()).encode("utf-8", "surrogateescape")
    (tmp_path / "cat.jpg").write_bytes(sample)
    ended = serve("infer", server.http_url, "-m", "decode", "--input", f"image=@{tmp_path / 'cat.jpg'}", "--json")
    assert ended.returncode == 0, ended.stderr
    wanted = models["decode"].run({"image": strings(sample)})["pixel_values"]
    np.testing.assert_allclose(json.loads(ended.stdout)["outputs"][0]["data"], wanted, rtol=1e-6)


def test_a_function_file_is_packaged_and_verified(serve, tmp_path: Path) -> None:
    """`serve package` writes the example as a model that a real Triton answers from, and nothing beside it."""
    packed = "EXECUTION_ENV_PATH=/envs/post.tar.gz"
    ended = serve("package", f"{_EXAMPLE}:verdict", "-o", tmp_path / "models", "--parameter", packed)
    assert ended.returncode == 0, ended.stderr
    assert "match the function itself, in batches of up to" in ended.stdout
    assert "verified without EXECUTION_ENV_PATH: not available here" in ended.stdout
    assert "/envs/post.tar.gz" in (tmp_path / "models" / "verdict" / "config.pbtxt").read_text()
    written = {file.name for file in (tmp_path / "models" / "verdict" / "1").rglob("*")}
    assert written == {"model.py", "serve_calling.py", "function.json", "function", "verdict.py", "words.txt"}
    assert serve("check", tmp_path / "models", "--no-load").returncode == 0
