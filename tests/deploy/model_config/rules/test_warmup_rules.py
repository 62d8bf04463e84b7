"""Which warm-up requests a model would answer."""

from __future__ import annotations

import pytest

from serve_deploy.model_config import check_config, parse_config

ONNX, PYTHON = 'backend: "onnxruntime"', 'backend: "python"'
X = "data_type: TYPE_FP32 dims: 3 zero_data: true"


def warm_up(size: int = 1, **inputs: str) -> str:
    given = " ".join(f'inputs {{ key: "{name}" value {{ {value} }} }}' for name, value in inputs.items())
    return f'model_warmup {{ name: "w" batch_size: {size} {given} }}'


def find_messages(rest: str, backend: str = ONNX, dims: str = "3", largest: int = 4) -> list[str]:
    tensors = (
        f'input {{ name: "x" data_type: TYPE_FP32 dims: {dims} }} output {{ name: "y" data_type: TYPE_FP32 dims: 3 }}'
    )
    config = parse_config(f"{backend} max_batch_size: {largest} {tensors} {rest}")
    return [problem.message for problem in check_config(config)]


@pytest.mark.parametrize(("size", "is_legal"), [(1, True), (4, True), (5, False)])
def test_a_warm_up_is_no_larger_than_the_largest_batch(size: int, is_legal: bool) -> None:
    """Which it may fill."""
    assert find_messages(warm_up(size, x=X)) == ([] if is_legal else [f"{size} is above max_batch_size (4)"])


@pytest.mark.parametrize("size", [1, 2])
def test_a_model_without_batching_ignores_the_size(size: int) -> None:
    """There is no largest batch."""
    assert find_messages(warm_up(size, x=X), largest=0) == []


def test_only_onnx_runtimes_backend_minds_the_size() -> None:
    """The Python backend takes what it is given."""
    assert find_messages(warm_up(5, x=X), PYTHON) == []


@pytest.mark.parametrize(
    ("given", "dims", "is_legal"),
    [
        ("3", "3", True),
        ("4", "3", False),
        ("1", "3", False),
        ("[3, 3]", "3", False),
        ("3", "[3, 3]", False),
        ("1", "-1", True),
        ("7", "-1", True),
        ("[2, 3]", "[-1, 3]", True),
        ("[2, 4]", "[-1, 3]", False),
        ("2", "1", False),
        ("2", "4", False),
    ],
)
def test_a_warm_up_has_the_size_of_the_input(given: str, dims: str, is_legal: bool) -> None:
    """Any, where that is free."""
    said = find_messages(warm_up(x=f"data_type: TYPE_FP32 dims: {given} zero_data: true"), dims=dims)
    assert bool(said) is not is_legal


def test_a_warm_up_has_the_type_of_the_input() -> None:
    """Both are named, and which to write."""
    rest = warm_up(x=X.replace("FP32", "INT8"))
    (problem,) = check_config(parse_config(
        f'{ONNX} input {{ name: "x" data_type: TYPE_FP32 dims: 3 }} output {{ name: "y" data_type: TYPE_FP32 dims: 3 }}'
        f" {rest}"
    ))  # fmt: skip
    assert (problem.message, problem.fix) == ("'x' is TYPE_INT8, the model's input TYPE_FP32", "write TYPE_FP32")


def test_inputs_that_are_not_listed_are_controls_of_sequences() -> None:
    """Or mistakes."""
    rest = warm_up(x=X, start=X)
    assert find_messages(rest, PYTHON) == ["the model has no input 'start'"]
    assert find_messages(f"{rest} sequence_batching {{}}", PYTHON) == []


def test_every_input_is_given_unless_it_is_optional() -> None:
    """A request without one is refused."""
    more = 'input { name: "z" data_type: TYPE_FP32 dims: 3 %s }'
    assert find_messages(f"{more % ''} {warm_up(x=X)}", PYTHON) == ["it has no input 'z'"]
    assert find_messages(f"{more % 'optional: true'} {warm_up(x=X)}", PYTHON) == []


def test_a_warm_up_of_no_rows_is_skipped() -> None:
    """So that what it is made of does not matter."""
    assert find_messages(warm_up(0)) == []
