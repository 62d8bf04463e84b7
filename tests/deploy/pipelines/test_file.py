"""Pipeline files: what they may say, and the line or key that is named where they say something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.pipelines.file import PipelineText, StepText, read_pipeline

BAD = {
    "no_yaml": "steps:\n  decode: {model: a\n  next: [",
    "a_tab": "steps:\n\tdecode: {model: a}",
    "a_list": "- decode",
    "nothing": "",
    "no_steps": "name: classify",
    "empty_steps": "steps: {}",
    "steps_as_a_list": "steps:\n  - decode: {model: a}",
    "an_unknown_key": "step: {decode: {model: a}}",
    "a_step_twice": "steps:\n  decode: {model: a}\n  decode: {model: b}",
    "a_step_name_with_a_dot": "steps: {de.code: {model: a}}",
    "a_step_without_a_kind": "steps: {decode: {modle: a}}",
    "a_step_of_nothing": "steps: {decode: }",
    "a_step_of_two_kinds": "steps: {decode: {model: a, function: b.py}}",
    "an_unknown_key_of_a_step": "steps: {decode: {model: a.onnx, sample: b.npz}}",
    "a_batch_of_a_step_that_is_too_large": "steps: {decode: {model: a.onnx, max_batch_size: 3000000000}}",
    "a_fix_in_words": "steps: {decode: {model: a.onnx, fix: maybe}}",
    "a_number_as_a_model": "steps: {decode: {model: 5}}",
    "an_empty_model": "steps: {decode: {model: ''}}",
    "inputs_as_a_list": "steps: {decode: {model: a, inputs: [x]}}",
    "an_input_that_is_a_number": "steps: {decode: {model: a, inputs: {x: 1}}}",
    "no_outputs": "steps: {decode: {model: a}}\noutputs: []",
    "outputs_as_a_word": "steps: {decode: {model: a}}\noutputs: decode.y",
    "two_outputs_of_one_name": "steps: {a: {model: a}, b: {model: b}}\noutputs: [a.y, b.y]",
    "a_negative_batch": "steps: {decode: {model: a}}\nmax_batch_size: -1",
    "a_batch_in_words": "steps: {decode: {model: a}}\nmax_batch_size: many",
}


def read(folder: Path, text: str) -> PipelineText:
    path = folder / "pipeline.yaml"
    path.write_text(dedent(text))
    return read_pipeline(path)


def test_every_bad_file_is_refused_in_these_words(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    """The texts are the golden file."""
    said = []
    for name, text in BAD.items():
        with pytest.raises(UsageError) as refused:
            read(tmp_path, text)
        message = refused.value.message.replace(f"{tmp_path}/", "")
        said.append(f"# {name}\n{text}\n{message}\n  hint: {refused.value.hint}\n")
    golden("pipelines/files.txt", "\n".join(said))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read: no such file"):
        read_pipeline(tmp_path / "none.yaml")


def test_steps_keep_their_order_and_their_settings(tmp_path: Path) -> None:
    """Those of a standard step are its own."""
    text = read(
        tmp_path,
        """
        name: classify
        max_batch_size: 0
        steps:
          decode: {standard: decode_image, size: [8, 8]}
          own: {function: "post.py:run", inputs: {x: decode.image}, name: post}
          last: {model: last.onnx, max_batch_size: 4}
        outputs: {best: last.y}
        """,
    )
    assert text.steps == (
        StepText("decode", "standard", "decode_image", settings={"size": [8, 8]}),
        StepText("own", "function", "post.py:run", "post", {"x": "decode.image"}),
        StepText("last", "model", "last.onnx", settings={"max_batch_size": 4}),
    )
    assert (text.name, text.max_batch_size, text.outputs) == ("classify", 0, {"best": "last.y"})


def test_listed_outputs_are_named_as_their_tensors(tmp_path: Path) -> None:
    """Also those with a dot in their names."""
    text = read(tmp_path, "steps: {a: {model: a}}\noutputs: [a.y, a.z.1]")
    assert text.outputs == {"y": "a.y", "z.1": "a.z.1"}
