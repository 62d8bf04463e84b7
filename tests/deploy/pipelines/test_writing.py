"""What `serve pipeline` writes, and that it writes nothing where anything is wrong; no Triton is started."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import onnx
import pytest
from onnx_models import doubling_model

import serve_deploy as serve
from serve_deploy.errors import DestinationError, InvalidModelError, ServeError, UsageError, VerificationError
from serve_deploy.pipelines.result import WrittenPipeline
from serve_deploy.repository.model_folder import read_model_folder

_HALVE = """
    from typing import Annotated, TypedDict

    import numpy as np
    from numpy.typing import NDArray

    Row = Annotated[NDArray[np.float32], "batch", 3]


    class Half(TypedDict):
        half: Row


    def halve(y: Row) -> Half:
        return Half(half=y / 2)
"""
_TWO = """
    name: two
    steps:
      double: {model: double.onnx}
      halve: {function: halve.py}
"""


class Bench:
    """A folder with a model, a function and pipeline files, and the repository beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository = folder, folder / "models"
        onnx.save(doubling_model(), folder / "double.onnx")
        self.add("halve.py", _HALVE)

    def add(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(dedent(text))
        return path

    def write(self, text: str = _TWO, *, verify: bool = False, **options: object) -> WrittenPipeline:
        progress = options.pop("progress", lambda _message: None)
        asked = serve.PipelineOptions(
            file=self.add("pipeline.yaml", text), repository=self.repository, verify=verify, **options
        )  # type: ignore[arg-type]
        return serve.pipeline(asked, progress=progress)  # type: ignore[arg-type]

    def tree(self) -> dict[str, bytes]:
        """Every file of the repository, and of what may have been left beside it."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and path.name != "pipeline.yaml")
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}

    def refuse(self, text: str, **options: object) -> ServeError:
        """The error; nothing was written."""
        before = self.tree()
        with pytest.raises(ServeError) as refused:
            self.write(text, **options)
        assert self.tree() == before
        return refused.value


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_ensemble_is_written_with_the_members_it_brings(bench: Bench, golden: Callable[[str, str], None]) -> None:
    """Its version folder survives git and object stores; each member is as serve package writes it."""
    written = bench.write()
    models = {path.split("/")[1] for path in bench.tree() if path.startswith("models/")}
    assert models == {"two", "two_double", "two_halve"}
    files = sorted(path for path in bench.tree() if path.startswith("models/two/"))
    assert files == [f"models/two/{name}" for name in ("1/.gitkeep", "config.pbtxt", "manifest.json", "samples.npz")]
    golden("pipelines/two.pbtxt", (bench.repository / "two" / "config.pbtxt").read_text())
    assert written.config == (bench.repository / "two" / "config.pbtxt").read_text()
    checked = serve.check(serve.CheckOptions(repository=bench.repository, load=False))
    assert [problem for model in checked.models for problem in model.problems] == []


def test_the_manifest_says_how_the_pipeline_was_made(bench: Bench) -> None:
    """By steps and wires, with the samples of its first step."""
    bench.write()
    manifest = serve.read_manifest(bench.repository / "two")
    assert manifest is not None
    assert manifest.pipeline is not None
    assert [(step.name, step.model, step.is_own) for step in manifest.pipeline.steps] == [
        ("double", "two_double", True),
        ("halve", "two_halve", True),
    ]
    assert manifest.pipeline.wires == (("x", "double.x"), ("double.y", "halve.y"))
    assert (manifest.batching.verdict, manifest.batching.max_batch_size) == ("batchable", 8)
    assert manifest.samples > 0


def test_models_of_the_repository_stay_as_they_are(bench: Bench) -> None:
    """Also with force, which replaces what the pipeline brings."""
    options = serve.PackageOptions(repository=bench.repository, verify=False)
    serve.package([bench.folder / "double.onnx"], options)
    text = "name: two\nsteps: {double: {model: double}, halve: {function: halve.py}}"
    bench.write(text)
    before = {path: content for path, content in bench.tree().items() if path.startswith("models/double/")}
    bench.add("halve.py", _HALVE.replace("/ 2", "/ 4"))
    bench.write(text, force=True)
    after = bench.tree()
    assert {path: content for path, content in after.items() if path.startswith("models/double/")} == before
    assert b"/ 4" in after["models/two_halve/1/function/halve.py"]


def test_what_exists_is_replaced_only_by_force(bench: Bench) -> None:
    """The ensemble, or a member that the pipeline brings."""
    bench.write()
    error = bench.refuse(_TWO)
    assert isinstance(error, DestinationError)
    assert error.message.endswith("models/two already exists")
    renamed = bench.refuse(_TWO.replace("name: two", "name: other").replace("onnx}", "onnx, name: two_double}"))
    assert renamed.message.endswith("models/two_double already exists")


def test_a_dry_run_writes_nothing_but_the_graph(bench: Bench) -> None:
    """The configuration is the same as without."""
    before = bench.tree()
    text, picture = bench.folder / "graph.mmd", bench.folder / "graph.svg"
    written = bench.write(dry_run=True, graphs=(text, picture))
    assert "two_double" in written.config
    assert text.read_text().startswith("flowchart LR\n")
    assert "<svg" in picture.read_text()
    text.unlink()
    picture.unlink()
    assert bench.tree() == before


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("steps: {a: {model: dubble.onnx}}", UsageError, "'dubble.onnx' is no model of"),
        ("steps: {a: {model: double.onnx, name: pipeline}}", UsageError, "would both be called 'pipeline'"),
        (
            "steps: {a: {model: double.onnx, name: m}, b: {function: halve.py, name: m}}",
            UsageError,
            "the models of step 'a' and of step 'b' would both be called 'm'",
        ),
        ("steps: {a: {model: double.onnx, name: 'm/1'}}", UsageError, "the model name 'm/1' does not work"),
        ("steps: {a: {model: halve.py}, b: {function: none.py}}", InvalidModelError, "step 'b': "),
        ("steps: {a: {standard: decode_picture}}", UsageError, "step 'a': there is no standard step 'decode_picture'"),
        ("steps: {a: {standard: top_k, kk: 5}}", UsageError, "step 'a': "),
        ("steps: {a: {model: broken.onnx}}", InvalidModelError, "step 'a': "),
        ("steps: {a: {model: double.onnx, samples: none.npz}}", UsageError, "step 'a': samples: "),
        (dedent(_TWO) + "outputs: [halve.quarter]", InvalidModelError, "returns no 'quarter'"),
    ],
)
def test_nothing_is_written_where_a_step_cannot_be_made(
    bench: Bench, text: str, kind: type[ServeError], message: str
) -> None:
    """The error says which step."""
    bench.add("broken.onnx", "no model")
    error = bench.refuse(text)
    assert message in error.message
    assert isinstance(error, kind)


def test_a_wrong_pipeline_is_refused_before_a_model_is_packaged(bench: Bench) -> None:
    """Packaging runs each model many times."""
    seen: list[str] = []
    text = "steps: {a: {model: double.onnx}, b: {model: double.onnx, inputs: {x: a.z}}}"
    bench.refuse(text, progress=seen.append)
    assert not [message for message in seen if message.startswith(("finding", "proving", "writing"))]


@pytest.mark.parametrize("stage", ["reading double.onnx", "proving", "writing two_halve", "writing two"])
def test_ctrl_c_leaves_the_repository_as_it_was(bench: Bench, stage: str) -> None:
    """A real SIGINT, while the members or the ensemble are made."""
    bench.write()
    before = bench.tree()

    def interrupt(message: str) -> None:
        if message == stage or (stage == "proving" and message.startswith(stage)):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        bench.write(force=True, progress=interrupt)
    assert bench.tree() == before


def test_another_runs_change_is_not_written_over(bench: Bench) -> None:
    """Of any of the models, and then none is."""
    bench.write()

    def meddle(message: str) -> None:
        if message == "writing two":
            member = bench.repository / "two_halve"
            (member / "note.txt").write_text("from another run")
            member.rename(bench.repository / "aside")
            (bench.repository / "aside").rename(member)
            (member / "2").mkdir()

    bench.add("halve.py", _HALVE.replace("/ 2", "/ 4"))
    with pytest.raises(DestinationError, match=r"two_halve changed during this run"):
        bench.write(force=True, progress=meddle)
    assert b"/ 2" in bench.tree()["models/two_halve/1/function/halve.py"]


def test_samples_that_a_step_refuses_are_named(bench: Bench) -> None:
    """With the step's own words."""
    bench.add(
        "halve.py",
        _HALVE.replace("return Half", "if (y > 9).any(): raise ValueError('too large')\n        return Half"),
    )
    np.savez(bench.folder / "large.npz", x=np.full((1, 3), 9, np.float32))
    error = bench.refuse(_TWO, samples=bench.folder / "large.npz")
    assert "too large" in error.message


def test_requests_are_made_for_a_model_that_keeps_none(bench: Bench) -> None:
    """From its graph."""
    bench.write("name: one\nsteps: {double: {model: double.onnx}}")
    (bench.repository / "one_double" / "samples.npz").unlink()
    assert bench.write("name: two\nsteps: {double: {model: one_double}}").manifest.samples > 0


def test_a_pipeline_without_requests_is_not_called_verified(bench: Bench) -> None:
    """Nothing is written, and real requests are asked for."""
    bench.write("name: one\nsteps: {halve: {function: halve.py}}")
    (bench.repository / "one_halve" / "samples.npz").unlink()
    error = bench.refuse("name: two\nsteps: {halve: {model: one_halve}}", verify=True)
    assert isinstance(error, VerificationError)
    assert error.hint is not None
    assert "`samples`" in error.hint


def test_what_cannot_be_compared_is_written_and_says_so(bench: Bench) -> None:
    """Such as a model that only Triton runs."""
    foreign = bench.repository / "foreign"
    (foreign / "1").mkdir(parents=True)
    (foreign / "1" / "model.plan").write_bytes(b"engine")
    (foreign / "config.pbtxt").write_text(
        'backend: "tensorrt" max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 3 } '
        'output { name: "z" data_type: TYPE_FP32 dims: 3 }'
    )
    written = bench.write(
        "name: mixed\nsteps: {double: {model: double.onnx}, last: {model: foreign, inputs: {x: double.y}}}"
    )
    assert written.not_verified == "foreign runs in Triton alone (tensorrt)"
    assert written.manifest.verification is None


@pytest.mark.parametrize(("size", "own"), [(32, 32), (100, 64)])
def test_functions_batch_as_the_models_do(bench: Bench, size: int, own: int) -> None:
    """Up to 64 rows; alone, a function takes 8."""
    text = (
        f"name: two\nsteps: {{double: {{model: double.onnx, max_batch_size: {size}}}, halve: {{function: halve.py}}}}"
    )
    assert [member.max_batch_size for member in bench.write(text).members] == [size, own]


def test_a_batch_of_the_file_is_that_of_every_new_member(bench: Bench) -> None:
    """Unless a step says otherwise, and then it is refused."""
    written = bench.write("max_batch_size: 12" + dedent(_TWO))
    assert [member.max_batch_size for member in written.members] == [12, 12]
    assert written.manifest.batching.max_batch_size == 12
    error = bench.refuse("max_batch_size: 12\nsteps: {a: {model: double.onnx, max_batch_size: 4}}")
    assert "12 is above the 4 of the step 'a' (double.onnx)" in error.message


def test_a_pipeline_that_would_run_itself_is_refused(bench: Bench) -> None:
    """Through another one, which is in the repository."""
    bench.write()
    bench.write("name: outer\nsteps: {inner: {model: two}}\noutputs: {z: inner.half}")
    error = bench.refuse("name: two\nsteps: {outer: {model: outer}}\noutputs: {half: outer.z}", force=True)
    assert "the ensembles run each other in a circle: 'two' → 'outer' → 'two'" in error.message


def test_an_ensemble_is_asked_for_all_that_triton_needs(bench: Bench) -> None:
    """A tensor that is an output and goes on to a step is lost where it is not asked for."""
    notes = bench.write(_TWO + "    outputs: [double.y, halve.half]\n").notes
    assert "requests must ask for all outputs: Triton fails where it is asked for 'y' and 'half' alone" in notes
    error = bench.refuse("name: outer\nsteps: {inner: {model: two}}\noutputs: {z: inner.half}")
    assert "the ensemble 'two' cannot compute 'half' unless asked for 'y', too" in error.message
    bench.write("name: outer\nsteps: {inner: {model: two}}\noutputs: {z: inner.half, y: inner.y}")


def test_a_model_may_be_two_steps(bench: Bench) -> None:
    """One of the repository."""
    bench.write("name: one\nsteps: {double: {model: double.onnx}}")
    text = "name: twice\nsteps: {a: {model: one_double}, b: {model: one_double, inputs: {x: a.y}}}"
    written = bench.write(text)
    assert [(member.step, member.model) for member in written.members] == [("a", "one_double"), ("b", "one_double")]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("sequence_batching { }", "foreign keeps sequences"),
        ("model_transaction_policy { decoupled: true }", "foreign may answer a request many times"),
    ],
)
def test_a_model_without_one_answer_to_one_request_is_not_compared(bench: Bench, config: str, reason: str) -> None:
    """Also one that would run here."""
    bench.write("name: one\nsteps: {double: {model: double.onnx, name: foreign}}")
    path = bench.repository / "foreign" / "config.pbtxt"
    path.write_text(path.read_text().partition("dynamic_batching")[0] + config)
    (bench.repository / "foreign" / "manifest.json").unlink()
    assert bench.write("name: two\nsteps: {last: {model: foreign}}").not_verified == reason


def test_names_with_dots_are_inputs_where_no_step_has_the_name(bench: Bench) -> None:
    """PyTorch's exporter calls inputs input.1."""
    model = doubling_model()
    model.graph.input[0].name = "input.1"
    model.graph.node[0].input[:] = ["input.1", "input.1"]
    onnx.save(model, bench.folder / "dotted.onnx")
    steps = "steps: {a: {model: dotted.onnx}, b: {model: dotted.onnx, inputs: {input.1: input.1}}}"
    text = f"{steps}\noutputs: {{a: a.y, b: b.y}}"
    assert [tensor.name for tensor in bench.write(text).manifest.inputs] == ["input.1"]


def test_labels_of_a_model_are_those_of_a_step_that_names_them(bench: Bench) -> None:
    """From the model's metadata, or from its folder in the repository; what has none is refused."""
    digits = Path(__file__).parents[3] / "examples" / "digits" / "digits.onnx"
    text = f"""
        name: digits
        steps:
          classifier: {{model: "{digits}"}}
          best: {{standard: top_k, k: 1, activation: none, labels: classifier.probabilities}}
    """
    for again in (text, text.replace("name: digits", "name: again").replace(str(digits), "digits_classifier")):
        assert b'"seven"' in read_settings(bench.write(again))
    error = bench.refuse(
        text.replace("name: digits", "name: other").replace(
            "labels: classifier.probabilities", "labels: classifier.logits"
        )
    )
    assert error.message.endswith("has no labels for 'logits'")
    assert error.hint == "it has labels for: classifier.probabilities"


@pytest.mark.parametrize("named", ["", "probabilities="])
def test_labels_of_a_file_beside_the_pipeline_are_the_models_and_those_of_the_next_step(
    bench: Bench, named: str
) -> None:
    """With and without the output's name in front."""
    digits = Path(__file__).parents[3] / "examples" / "digits" / "digits.onnx"
    (bench.folder / "names.txt").write_text("".join(f"n{digit}\n" for digit in range(10)))
    text = f"""
        name: digits
        steps:
          classifier: {{model: "{digits}", labels: "{named}names.txt"}}
          best: {{standard: top_k, k: 1, activation: none, labels: classifier.probabilities}}
    """
    assert b'"n7"' in read_settings(bench.write(text))
    labels = read_model_folder(bench.repository / "digits_classifier").labels
    assert labels["probabilities"][7] == "n7"


def read_settings(written: WrittenPipeline) -> bytes:
    """What the step `best` reads in Triton."""
    folder = written.folder.parent / f"{written.name}_best" / "1" / "function"
    return (folder / "settings.json").read_bytes()


def test_a_sample_that_a_step_refuses_is_left_out_and_noted(bench: Bench) -> None:
    """Of those that a model was packaged with."""
    bench.add(
        "halve.py",
        _HALVE.replace("return Half", "if (y > 9).any(): raise ValueError('too large')\n        return Half"),
    )
    np.savez(bench.folder / "some.npz", x=np.array([[1, 1, 1], [9, 9, 9]], np.float32))
    text = "name: two\nsteps: {double: {model: double.onnx, samples: some.npz}, halve: {function: halve.py}}"
    notes = bench.write(text).notes
    assert [note for note in notes if note.startswith("1 of 2 samples are left out, since a step refuses them: ")]


def test_a_model_that_a_pipeline_leaves_behind_is_named(bench: Bench) -> None:
    """Nobody else may need it, and Triton loads it."""
    bench.write()
    notes = bench.write(_TWO.replace("halve: {function", "half: {function"), force=True).notes
    assert "two_halve belonged to this pipeline, and no step uses it now" in notes[0]
    assert (bench.repository / "two_halve").exists()


def test_a_check_says_which_step_is_not_the_one_that_was_verified(bench: Bench) -> None:
    """A model of the repository was packaged again, with other settings."""
    packaging = serve.PackageOptions(repository=bench.repository, verify=False, force=True)
    serve.package([bench.folder / "double.onnx"], packaging)
    bench.write("name: two\nsteps: {double: {model: double}, halve: {function: halve.py}}")
    assert changed(bench) == []
    serve.package([bench.folder / "double.onnx"], replace(packaging, config=serve.ConfigOptions(instances=2)))
    assert changed(bench) == ["its step 'double' (double) was packaged anew since this pipeline was written: "
                              "serve pipeline --force verifies it again"]  # fmt: skip


def changed(bench: Bench) -> list[str]:
    """What a check notes of changed steps."""
    checked = serve.check(serve.CheckOptions(repository=bench.repository, load=False))
    return [note for model in checked.models for note in model.notes if "packaged anew" in note]


def test_a_file_of_another_framework_is_a_step(bench: Bench) -> None:
    """With its tensors, where the file does not tell them; nothing here runs it, and that is said."""
    (bench.folder / "engine.plan").write_bytes(b"ftrt" + bytes(200))
    text = """
        name: mixed
        steps:
          double: {model: double.onnx}
          engine: {model: engine.plan, signature: "y FP32 [-1,3] -> z FP32 [-1,2]", max_batch_size: 4}
    """
    written = bench.write(text)
    assert written.not_verified == "mixed_engine runs in Triton alone (tensorrt)"
    assert written.wires[-1] == ("double.y", "engine.y")


def test_what_two_decoupled_models_return_is_not_joined(bench: Bench) -> None:
    """Each may answer any number of times."""
    for name in ("one", "other"):
        folder = bench.repository / name
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.py").touch()
        (folder / "config.pbtxt").write_text(
            'backend: "python" model_transaction_policy { decoupled: true } '
            'input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] } '
            'output { name: "y" data_type: TYPE_FP32 dims: [-1, 3] }'
        )
    error = bench.refuse(
        """
        name: joined
        steps: {one: {model: one}, other: {model: other, inputs: {x: x}}}
        outputs: {a: one.y, b: other.y}
        """
    )
    assert "its outputs come from the decoupled 'one' and the decoupled 'other'" in error.message
