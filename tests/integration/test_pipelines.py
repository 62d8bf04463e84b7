"""Pipelines on a real Triton: pictures in and words out, batches inside, under load, and steps that do not batch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import serve_deploy as serve
from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.errors import VerificationError
from serve_deploy.pipelines.result import WrittenPipeline
from serve_deploy.pipelines.unify import Unified
from serve_deploy.pipelines.verify import Trial, verify_pipeline
from serve_deploy.progress import silent
from serve_deploy.samples.files import load_samples
from serve_deploy.triton import TritonServer

_EXAMPLES = Path(__file__).parents[2] / "examples"
_IMAGES = _EXAMPLES / "digits" / "images"
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SINGLE = """
    from typing import Annotated, NamedTuple

    import numpy as np
    from numpy.typing import NDArray


    class Answer(NamedTuple):
        total: Annotated[NDArray[np.float32], -1]


    class Shifted(NamedTuple):
        shifted: Annotated[NDArray[np.float32], "batch", 10]


    def add_up(probabilities: Annotated[NDArray[np.float32], -1, 10]) -> Answer:
        return Answer(probabilities.sum(axis=1))


    def shift(
        probabilities: Annotated[NDArray[np.float32], "batch", 10],
        by: Annotated[NDArray[np.float32], "batch", 1] | None = None,
    ) -> Shifted:
        return Shifted(probabilities + (0 if by is None else by))
"""


def write(folder: Path, name: str, text: str, **options: object) -> WrittenPipeline:
    file = folder / f"{name}.yaml"
    file.write_text(dedent(text))
    return serve.pipeline(
        serve.PipelineOptions(file=file, repository=folder / "models", runtime="embedded", **options)  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WrittenPipeline]:
    """The example's pipeline, verified on its ten pictures."""
    folder = tmp_path_factory.mktemp("pipelines")
    options = serve.PipelineOptions(
        file=_EXAMPLES / "pipeline" / "digits.yaml", repository=folder / "models", samples=_IMAGES, runtime="embedded"
    )
    return folder, serve.pipeline(options)


def add_model_of_any_rows(folder: Path) -> None:
    """The classifier as somebody else would serve it, without batching."""
    (folder / "1").mkdir(parents=True)
    shutil.copy(_EXAMPLES / "digits" / "digits.onnx", folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(
        'backend: "onnxruntime" max_batch_size: 0 input { name: "image" data_type: TYPE_FP32 dims: [-1, 1, 8, 8] } '
        'output { name: "probabilities" data_type: TYPE_FP32 dims: [-1, 10] } instance_group { count: 1 }'
    )


@pytest.fixture(scope="module")
def others(pictures: tuple[Path, WrittenPipeline]) -> dict[str, WrittenPipeline]:
    """Beside it: its classifier again behind a function that gives one word a row, and before one without batching."""
    folder, _written = pictures
    (folder / "single.py").write_text(dedent(_SINGLE))
    add_model_of_any_rows(folder / "models" / "rows")
    verdict = _EXAMPLES / "functions" / "verdict.py"
    return {
        "words": write(
            folder,
            "words",
            f"""
            steps:
              classifier: {{model: read_digit_classifier}}
              verdict: {{function: "{verdict}"}}
            """,
        ),
        "labelled": write(
            folder,
            "labelled",
            """
            steps:
              picture: {model: read_digit_decode}
              classifier: {model: read_digit_classifier}
            """,
            verify=False,
        ),
        "total": write(
            folder,
            "total",
            "steps: {classifier: {model: read_digit_classifier}, total: {function: 'single.py:add_up'}}",
        ),
        "shifted": write(
            folder,
            "shifted",
            """
            max_batch_size: 8
            steps:
              classifier: {model: rows}
              shift: {function: "single.py:shift", inputs: {by: by}}
            """,
        ),
        "whole": write(
            folder, "whole", "steps: {whole: {model: read_digit}}\noutputs: {word: whole.labels}", verify=False
        ),
    }


@pytest.fixture(scope="module")
def server(
    pictures: tuple[Path, WrittenPipeline],
    others: dict[str, WrittenPipeline],
    triton_server: Callable[..., TritonServer],
) -> TritonServer:
    return triton_server(pictures[0] / "models")


def ask(server: TritonServer, model: str, *inputs: str, **options: object) -> dict[str, serve.InferenceOutput]:
    asked = serve.InferenceOptions(
        endpoint=parse_endpoint(server.http_url),
        model=model,
        inputs=inputs,
        **options,  # type: ignore[arg-type]
    )
    return {output.name: output for output in serve.infer(asked).outputs}


def test_a_pipeline_is_verified_with_real_files_and_batches_inside(pictures: tuple[Path, WrittenPipeline]) -> None:
    """Each picture alone, many at once, and requests of several."""
    _folder, written = pictures
    proof = written.manifest.verification
    assert proof is not None
    assert proof.distinct_samples >= 10
    assert proof.largest_batch_executed > 1
    assert {each.name: each.largest_absolute_difference for each in proof.tensors}["labels"] == 0


def test_an_answer_that_differs_from_the_steps_own_is_refused(
    pictures: tuple[Path, WrittenPipeline], tmp_path: Path
) -> None:
    """The reference is made wrong here: what Triton serves is right."""
    folder, written = pictures
    shutil.copytree(folder / "models", tmp_path / "models")
    joined = Unified(written.manifest.inputs, written.manifest.outputs, 8, "")
    samples = load_samples(written.folder / "samples.npz")
    wrong = {"labels": np.array([[b"two", b"one", b"six"]], dtype=object), "scores": np.ones((1, 3), np.float32)}
    trial = Trial(tmp_path / "models", "read_digit", joined, samples[:1], lambda _sample: wrong)
    with pytest.raises(VerificationError, match=r"does not match the same steps run without Triton: 'labels' differs"):
        verify_pipeline(trial, [], serve.PipelineOptions(file=tmp_path / "pipeline.yaml", runtime="embedded"), silent)


def test_a_picture_is_answered_with_its_label(server: TritonServer) -> None:
    """Every digit's own picture."""
    for digit, word in enumerate(_WORDS):
        labels = ask(server, "read_digit", f"image=@{_IMAGES / f'{digit}.png'}")["labels"]
        assert labels.data[0][0] == word.encode()


def test_requests_share_batches_inside_under_load(pictures: tuple[Path, WrittenPipeline], server: TritonServer) -> None:
    """Every answer is the steps' own, and each member executes less often than it is asked."""
    before = count(server, "read_digit_classifier", "read_digit_decode", "read_digit_best")
    options = serve.LoadTestOptions(
        endpoint=parse_endpoint(server.grpc_url),
        model="read_digit",
        loads=(serve.ClosedLoop(16),),
        duration_seconds=1,
        repository=pictures[0] / "models",
        validate=True,
    )
    (point,) = serve.run_loadtest(options).points
    assert point.succeeded > 16
    assert (point.unsuccessful, point.errors) == (0, ())
    after = count(server, "read_digit_classifier", "read_digit_decode", "read_digit_best")
    for name, (requests, executions) in after.items():
        assert requests - before[name][0] > executions - before[name][1], name


def count(server: TritonServer, *names: str) -> dict[str, tuple[int, int]]:
    """Requests and executions of each model so far."""
    with ControlPlane(parse_endpoint(server.grpc_url), timeout_seconds=120) as control:
        statistics = {name: control.statistics(name)[0] for name in names}
    return {name: (int(each["inference_count"]), int(each["execution_count"])) for name, each in statistics.items()}


def test_a_function_of_one_value_a_row_is_verified(others: dict[str, WrittenPipeline]) -> None:
    """Triton has no tensor of the batch alone: clients see [N, 1]."""
    manifest = others["words"].manifest
    assert [tuple(tensor.shape) for tensor in manifest.outputs] == [(-1, 1), (-1, 1)]
    assert manifest.verification is not None


def test_a_step_that_does_not_batch_makes_requests_carry_their_rows(
    others: dict[str, WrittenPipeline], server: TritonServer
) -> None:
    """The ensemble has max_batch_size 0, and takes as many rows as its batching member does."""
    manifest = others["total"].manifest
    assert (manifest.batching.max_batch_size, manifest.inputs[0].shape) == (0, (-1, 1, 8, 8))
    rows = others["total"].folder.parents[1] / "rows.npy"
    np.save(rows, np.ones((8, 1, 8, 8), np.float32))
    totals = ask(server, "total", f"image=@{rows}")["total"]
    assert totals.shape == (8,)


def test_a_step_that_takes_any_rows_may_stand_in_a_pipeline_that_batches(
    pictures: tuple[Path, WrittenPipeline], others: dict[str, WrittenPipeline], server: TritonServer
) -> None:
    """It gets the rows of each request; and what is optional for all who read it may be left out."""
    manifest = others["shifted"].manifest
    assert manifest.verification is not None
    assert [(tensor.name, tensor.shape, tensor.optional) for tensor in manifest.inputs] == [
        ("image", (-1, 1, 8, 8), False),
        ("by", (-1, 1), True),
    ]
    images, shifts = pictures[0] / "images.npy", pictures[0] / "shifts.npy"
    np.save(images, np.ones((3, 1, 8, 8), np.float32))
    np.save(shifts, np.full((3, 1), 7, np.float32))
    plain = ask(server, "shifted", f"image=@{images}")["shifted"]
    shifted = ask(server, "shifted", f"image=@{images}", f"by=@{shifts}")["shifted"]
    assert plain.data.sum(axis=1) == pytest.approx([1, 1, 1], rel=1e-5)
    assert shifted.data == pytest.approx(plain.data + 7)


def test_labels_of_a_member_are_labels_of_the_pipeline(server: TritonServer) -> None:
    """Where its output is the pipeline's."""
    answer = ask(server, "labelled", f"image=@{_IMAGES / '7.png'}", top=1)["probabilities"]
    assert answer.classes[0][0].label == "seven"


def test_a_pipeline_may_be_a_step(server: TritonServer) -> None:
    """Of another one."""
    assert ask(server, "whole", f"image=@{_IMAGES / '3.png'}")["word"].data[0][0] == b"three"


def test_what_was_written_passes_the_check(pictures: tuple[Path, WrittenPipeline], server: TritonServer) -> None:
    """By the rules, and by its manifests."""
    checked = serve.check(serve.CheckOptions(repository=pictures[0] / "models", load=False))
    assert [problem for model in checked.models for problem in model.problems] == []
