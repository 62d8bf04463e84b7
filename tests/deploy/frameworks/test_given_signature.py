"""What a user says of the tensors, and how it goes together with what the file says."""

from __future__ import annotations

from pathlib import Path

import pytest
from framework_artefacts import MODELS
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.frameworks.artefact import Artefact, Tensor
from serve_deploy.frameworks.given_signature import complete, parse_signature
from serve_deploy.frameworks.kinds import read_artefact
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

TRACED = read_artefact(MODELS / "traced.pt", {})
OPENVINO = read_artefact(MODELS / "openvino.xml", {})
INPUTS = "features FP32 [-1, 4], mask FP32 [-1, 3]"
SIZES = st.lists(st.one_of(st.just(-1), st.integers(1, 10**9)), max_size=6).map(tuple)
NAMES = st.text(st.characters(categories=("L", "N"), include_characters="_./:"), min_size=1, max_size=20)
SPECS = st.lists(
    st.builds(TensorSpec, NAMES, st.sampled_from(DataType), SIZES), max_size=4, unique_by=lambda spec: spec.name
).map(tuple)


@given(inputs=SPECS, outputs=SPECS)
def test_a_signature_is_read_as_it_is_printed(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """Tensors print as they are written here."""
    if inputs or outputs:
        text = f"{', '.join(map(str, inputs))} -> {', '.join(map(str, outputs))}"
        assert parse_signature(text) == ModelSignature(inputs, outputs)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no tensor"),
        ("x", "cannot be read at 'x'"),
        ("x FP32 4", "cannot be read at 'x FP32 4'"),
        ("x FP32 [4] y FP32 [4]", "cannot be read at 'x FP32 [4] y FP32 [4]'"),
        ("x FLOAT [4]", "'FLOAT' is not a type of Triton's"),
        ("x FP32 [0]", "'0' is not a size of 'x'"),
        ("x FP32 [-2]", "'-2' is not a size of 'x'"),
        ("x FP32 [n]", "'n' is not a size of 'x'"),
        ("x FP32 [4], x FP32 [4]", "lists 'x' twice"),
    ],
)
def test_a_signature_that_is_none_is_refused(text: str, said: str) -> None:
    """With the form that it has."""
    with pytest.raises(UsageError) as refused:
        parse_signature(text)
    assert said in refused.value.message


def test_the_names_of_the_configuration_are_understood() -> None:
    """As they are copied from a config.pbtxt."""
    assert parse_signature("x TYPE_STRING [2]").inputs == (TensorSpec("x", DataType.BYTES, (2,)),)


def test_what_was_given_is_told_apart_from_what_was_read() -> None:
    """The trace tells names and types of its inputs, and of its outputs nothing."""
    done = complete(TRACED, parse_signature(f"{INPUTS} -> scores FP32 [-1, 3], label INT64 [-1]"))
    assert done.given == {
        ("input", "features"): ("shape",),
        ("input", "mask"): ("shape",),
        ("output", "scores"): ("name", "type", "shape"),
        ("output", "label"): ("name", "type", "shape"),
    }


def test_one_side_can_be_left_out_where_the_file_tells_it() -> None:
    """Only what is missing has to be given."""
    artefact = Artefact("F", "b", Path("m"), {}, inputs=(Tensor("x", DataType.FP32, (-1, 4)),))
    assert complete(artefact, parse_signature("-> y FP32 [-1]")).signature == ModelSignature(
        (TensorSpec("x", DataType.FP32, (-1, 4)),), (TensorSpec("y", DataType.FP32, (-1,)),)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "does not tell the shape of input 'features'"),
        (INPUTS, "does not tell the type and shape of output 'OUTPUT__0'"),
    ],
)
def test_what_is_missing_is_named_with_an_example_that_can_be_copied(text: str | None, said: str) -> None:
    """The example has the file's own names and types."""
    with pytest.raises(InvalidModelError) as refused:
        complete(TRACED, parse_signature(text) if text else None)
    assert said in refused.value.message
    example = (refused.value.hint or "").split("`")[1].removeprefix("signature=").strip("'")
    assert complete(TRACED, parse_signature(example))


@pytest.mark.parametrize(
    ("artefact", "text", "said"),
    [
        (OPENVINO, "image FP32 [-1, 4]", "has no input 'image'"),
        (OPENVINO, "features FP16 [-1, 4]", "input 'features' is FP16 here, and FP32"),
        (OPENVINO, "features FP32 [-1, 5]", "input 'features' is [-1, 5] here, and [-1, 4]"),
        (OPENVINO, "features FP32 [4]", "input 'features' is [4] here, and [-1, 4]"),
        (OPENVINO, "-> labels FP32 [-1, 3]", "has no output 'labels'"),
        (TRACED, "features INT64 [-1, 4], mask FP32 [-1, 3]", "input 'features' is INT64 here, and FP32"),
        (TRACED, "features FP32 [-1, 4]", "leaves out the input 'mask'"),
        (TRACED, "x FP32 [-1, 4]", "lists 1 inputs, and"),
        (TRACED, "features FP32 [-1, 4], other FP32 [-1, 3]", "Triton would take the inputs by their order"),
        (TRACED, f"{INPUTS} -> y__1 FP32 [-1, 3], z FP32 [1]", "Triton would take the outputs by their order"),
        (TRACED, f"{INPUTS} -> y__1 FP32 [-1, 3], z__2 FP32 [1]", "the outputs are numbered 1, 2"),
        (TRACED, f"{INPUTS} -> y__0 FP32 [-1, 3], z__a__1 FP32 [1]", "Triton would take the outputs by their order"),
        (TRACED, f"{INPUTS} -> a FP32 [1], b FP32 [1], c FP32 [1]", "lists 3 outputs, and"),
    ],
)
def test_a_contradiction_to_the_file_is_refused(artefact: Artefact, text: str, said: str) -> None:
    """The file is right, or it is another model."""
    with pytest.raises(UsageError) as refused:
        complete(artefact, parse_signature(text))
    assert said in refused.value.message


def test_a_free_size_of_the_file_can_be_fixed() -> None:
    """What is any size in the model may be one size in the configuration."""
    done = complete(OPENVINO, parse_signature("features FP32 [8, 4]"))
    assert done.signature.inputs[0].shape == (8, 4)


def test_numbered_names_stand_for_positions() -> None:
    """As Triton's PyTorch backend reads NAME__1, wherever it is listed."""
    done = complete(TRACED, parse_signature(f"a__1 FP32 [-1, 3], b__0 FP32 [-1, 4] -> {'y FP32 [1]'}"))
    assert [spec.name for spec in done.signature.inputs] == ["a__1", "b__0"]
    with pytest.raises(UsageError, match="'a__1' is INT64 here, and FP32"):
        complete(TRACED, parse_signature("a__1 INT64 [-1, 3], b__0 FP32 [-1, 4] -> y FP32 [1]"))
