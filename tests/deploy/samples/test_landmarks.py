"""What a graph compares its inputs with."""

from __future__ import annotations

import numpy as np
import pytest
from batching_models import parse_graph
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.samples.graph_hints import InputHints
from serve_deploy.samples.landmarks import Landmarks, read_landmarks


@pytest.mark.parametrize(
    ("graph", "numbers"),
    [
        (
            "(float[N] x) => (bool[N] y) <float t = {2.5}, float w = {9.0}> { z = Mul(x, w) y = Greater(z, t) }",
            (2.5, 9.0),
        ),
        ("(float[N] x) => (bool[N] y) { t = Constant<value_float=4.0>() y = Less(x, t) }", (4.0,)),
        ("(float[N] x) => (bool[N] y) <int64 t = {7}> { f = Cast<to=1>(t) y = Less(x, f) }", (7.0,)),
        (
            "(int64[N] x) => (bool[N] y) <int64[2] t = {101, 103}> { a = ReduceMax<keepdims=0>(t) y = Equal(x, a) }",
            (101.0, 103.0),
        ),
        (
            "(float[N] x) => (float[N] y) <float low = {-8.0}, float high = {3.0}> { y = Clip(x, low, high) }",
            (3.0, -8.0),
        ),
    ],
)  # fmt: skip
def test_finds_small_constants_those_that_are_compared_with_first(graph: str, numbers: tuple[float, ...]) -> None:
    """Whether they are initializers or nodes, and through a cast."""
    assert read_landmarks(parse_graph(graph), {}).numbers == numbers


def test_finds_constants_within_branches() -> None:
    """A loop's condition and a branch's threshold."""
    graph = """(float[N] x, bool c) => (float[N] y) {
        y = If<then_branch = a () => (float[N] p) { t = Constant<value_float=6.5>() p = Min(x, t) },
               else_branch = b () => (float[N] q) { q = Identity(x) }>(c)
    }"""
    assert 6.5 in read_landmarks(parse_graph(graph), {}).numbers


def test_leaves_out_weights() -> None:
    """Sixteen numbers are a list of special ids, seventeen a layer."""

    def graph(count: int) -> str:
        values = ",".join(str(number) for number in range(100, 100 + count))
        return f"(float[N,1] x) => (float[N,M] y) <float[1,{count}] w = {{{values}}}> {{ y = Mul(x, w) }}"

    assert len(read_landmarks(parse_graph(graph(16)), {}).numbers) == 16
    assert read_landmarks(parse_graph(graph(17)), {}).numbers == ()


def test_finds_the_texts_of_encoders() -> None:
    """The categories that a model knows."""
    graph = """(string[N] x) => (int64[N] y) {
        y = ai.onnx.ml.LabelEncoder<keys_strings=["red","blue"], values_int64s=[1,2], default_int64=0>(x)
    }"""
    assert read_landmarks(parse_graph(graph), {}).texts == ("red", "blue")


def test_takes_the_training_points_that_the_hints_found() -> None:
    """Three at most, by input."""
    hints = {"x": InputHints(centres=[np.array([float(number)]) for number in range(9)]), "z": InputHints()}
    points = read_landmarks(parse_graph("(float[N] x) => (float[N] y) { y = Neg(x) }"), hints).points
    assert {name: [point.tolist() for point in found] for name, found in points.items()} == {"x": [[0.0], [1.0], [2.0]]}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_numbers_fit_the_type_that_they_are_made_for(numbers: list[float]) -> None:
    """None overflows, whole ones stay whole."""
    landmarks = Landmarks(tuple(numbers))
    assert all(np.isfinite(np.float16(value)) for value in landmarks.floats(np.dtype("float16")))
    integers = landmarks.integers(np.dtype("int8"))
    assert all(-128 <= value <= 127 for value in integers)
    assert len(set(integers)) == len(integers)


def test_stands_on_both_sides_of_a_number() -> None:
    """A little more than it and a little less, of negative ones and of zero, too."""
    for number in (5.0, -5.0, 0.0):
        exact, above, below = Landmarks((number,)).floats(np.dtype("float32"))
        assert exact == number
        assert 0 < above - number <= 6e-3
        assert 0 < number - below <= 6e-3
    assert Landmarks((5.0, 0.5)).integers(np.dtype("int64")) == [5, 6, 4]


@pytest.mark.parametrize(
    ("count", "width", "rows"),
    [(0, 4, 0), (1, 4, 1), (1, 3, 1), (1, 2, 2), (2, 1, 3), (24, 72, 1), (24, 71, 2), (1, 0, 3)],
)
def test_counts_the_rows_that_hold_all_numbers(count: int, width: int, rows: int) -> None:
    """Three for each number; three rows at most."""
    assert Landmarks(tuple(map(float, range(count)))).rows_of(width) == rows
