"""A function within a pipeline is tried with what really reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest
from function_files import write_function

import serve_deploy as serve

_DIGITS = Path(__file__).parents[3] / "examples" / "digits"
_NUMBER = """
VALUES = {name: value for value, name in enumerate("zero one two three four five six seven eight nine".split())}


def number(labels: Annotated[NDArray[np.str_], "batch", 1]) -> Annotated[NDArray[np.int64], "batch", 1]:
    return np.array([[VALUES[text] for text in row] for row in labels])
"""


@pytest.mark.parametrize("samples", [None, _DIGITS / "samples.npz"])
def test_a_function_gets_what_the_steps_above_it_return(tmp_path: Path, samples: Path | None) -> None:
    """It knows ten words, and would refuse any that are made up."""
    write_function(tmp_path, _NUMBER, "number.py")
    names = ", ".join(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    file = tmp_path / "number.yaml"
    file.write_text(
        f"steps:\n  classifier: {{model: {_DIGITS / 'digits.onnx'}, samples: {_DIGITS / 'samples.npz'}}}\n"
        f"  best: {{standard: top_k, k: 1, activation: none, labels: [{names}]}}\n"
        "  number: {function: number.py}\n"
    )
    options = serve.PipelineOptions(file=file, repository=tmp_path / "models", samples=samples, verify=False)
    written = serve.pipeline(options)
    manifest = serve.read_manifest(tmp_path / "models" / "number_number")
    assert (manifest.batching.verdict, manifest.samples > 3) == ("batchable", True)
    assert written.manifest.samples > 3
