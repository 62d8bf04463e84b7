"""The rows that a proof makes of its samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serve_deploy.packaging.batching.sample_variants import (
    Variant,
    are_equal,
    blend,
    can_blend,
    constant_inputs,
    largest_group,
    vary_samples,
)
from serve_deploy.samples.landmarks import NO_LANDMARKS, Landmarks

Array = np.ndarray[Any, Any]


def floats(*rows: list[float]) -> list[dict[str, Array]]:
    return [{"x": np.array([row], np.float32)} for row in rows]


def integers(*rows: list[int], dtype: str = "int64") -> list[dict[str, Array]]:
    return [{"x": np.array([row], dtype)} for row in rows]


def first(samples: list[dict[str, Array]], kind: str, landmarks: Landmarks = NO_LANDMARKS) -> list[Any]:
    """What the first alternative of each variant of a kind has for input x."""
    found = [variant for variant in vary_samples(samples, landmarks) if variant.kind == kind]
    return [variant.alternatives[0]["x"].tolist()[0] for variant in found]


SAMPLES = floats([1.0, 2.0], [3.0, 4.0], [5.0, -6.0], [0.5, 0.25])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("loud", [[3000.0, 4000.0]]),
        ("quiet", [pytest.approx([5e-4, -6e-4])]),
        ("negative", [[-500.0, -250.0]]),
        ("huge", [[5e6, -6e6]]),
        ("huge and negative", [[-3e6, -4e6]]),
        ("zeros", [[0.0, 0.0]]),
        ("not a number", [pytest.approx([np.nan, np.nan], nan_ok=True)]),
        ("infinite", [[np.inf, np.inf]]),
        ("padded", [[1.0, 0.0], [3.0, 0.0], [5.0, 0.0], [0.5, 0.0]]),
        ("nearly equal", [pytest.approx(x, rel=1e-9) for x in ([1 + 2**-19, 2 + 2**-19], [1.002, 2.002], [1.2, 2.2])]),
    ],
)
def test_makes_rows_of_floats(kind: str, values: list[Any]) -> None:
    """A thousand and a million times as loud, quieter, empty, poisonous, cut short, and a little off."""
    if kind == "nearly equal":
        found = first(SAMPLES, kind)
        steps = [row[0] - 1 for row in found]
        assert steps == pytest.approx([2e-6, 2e-3, 0.2], rel=0.1)
    else:
        assert first(SAMPLES, kind) == values


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("loud", [[40000, 50000, 60000, 70000]]),
        ("zeros", [[0, 0, 0, 0]]),
        ("narrow", [[1, 1, 1, 9]]),
        ("mirrored", [[79, 78, 77, 76]]),
        ("padded", [[1, 2, 0, 0], [40, 50, 1, 1], [1, 2, 79, 79], [70, 8, 0, 0]]),
        ("nearly equal", [[40, 2, 3, 4]] * 3),
        ("highest", [[79, 79, 79, 79]]),
        ("lowest", [[1, 1, 1, 1]]),
        ("not a number", []),
        ("quiet", []),
    ],
)
def test_makes_rows_of_integers(kind: str, values: list[Any]) -> None:
    """Within what was seen, but for the loud one; each pad id that is likely."""
    samples = integers([1, 2, 3, 4], [40, 50, 60, 70], [1, 2, 3, 4], [70, 8, 9, 79])
    samples[3]["x"][0, 3] = 79
    if kind == "narrow":
        assert first(samples, kind) == [[(70 - 1) // 8 + 1, 1, 2, (79 - 1) // 8 + 1]]
    elif kind == "mirrored":
        assert first(samples, kind) == [[80 - value for value in (1, 2, 3, 4)]]
    else:
        assert first(samples, kind) == values


def test_makes_rows_of_truth_values_and_texts() -> None:
    """Empty texts, and truth in all places or in none."""
    samples: list[dict[str, Array]] = [
        {"b": np.array([[True, False]]), "t": np.array([["one", "two"]], object)},
        {"b": np.array([[False, True]]), "t": np.array([["three", "four"]], object)},
    ]
    made = {variant.kind: variant.alternatives[0] for variant in vary_samples(samples)}
    assert made["zeros"]["b"].tolist() == [[False, False]]
    assert made["zeros"]["t"].tolist() == [["", ""]]
    assert made["highest"]["b"].tolist() == [[True, True]]
    assert made["lowest"]["b"].tolist() == [[False, False]]
    assert made["padded"]["t"].tolist() == [["one", ""]] or made["padded"]["t"].tolist() == [["three", ""]]


def test_only_poison_is_poison() -> None:
    """All other rows are judged like samples."""
    poison = {
        variant.kind
        for variant in vary_samples([{**sample, "side": np.array([1.0])} for sample in SAMPLES])
        if variant.poison
    }
    assert poison == {"not a number", "infinite"}


def test_the_loud_rows_come_before_the_fine_ones() -> None:
    """A slow model is run on the first eight kinds alone."""
    kinds = list(dict.fromkeys(variant.kind for variant in vary_samples(SAMPLES, Landmarks((7.0,)))))
    assert kinds[:8] == [
        "loud", "zeros", "compared with", "quiet", "negative", "not a number", "huge", "huge and negative",
    ]  # fmt: skip


def test_the_changes_are_spread_over_the_samples() -> None:
    """One sample alone may hide what another shows; the texts, which the last alternative keeps, tell which it was."""
    samples = [
        {"x": np.array([[n + 1, n + 2]], np.float32), "t": np.array([[str(n)]], object), "i": np.array([[n * 10, 9]])}
        for n in range(4)
    ]
    landmarks = Landmarks((7.0,), points={"x": (np.array([0.1, 0.7]),)})
    made = [(variant.kind, variant.alternatives[-1]["t"].item()) for variant in vary_samples(samples, landmarks)]
    assert made == [
        ("loud", "1"), ("zeros", "0"), ("compared with", "1"), ("compared with", "2"), ("training points", "2"),
        ("quiet", "2"), ("narrow", "3"), ("negative", "3"), ("not a number", "0"), ("huge", "2"),
        ("huge and negative", "1"), ("padded", "0"), ("padded", "1"), ("padded", "2"), ("padded", "3"),
        ("mirrored", "0"), ("nearly equal", "0"), ("nearly equal", "0"), ("nearly equal", "0"), ("infinite", "1"),
        ("highest", "2"), ("lowest", "3"),
    ]  # fmt: skip


def test_a_type_is_never_overrun() -> None:
    """Half precision ends at 65504, bytes at 255, and no warning is given on the way."""
    assert first([{"x": np.array([[100.0]], np.float16)}] * 2, "huge") == [[65504.0]]
    assert first(integers([9, 200], [3, 4], dtype="uint8"), "loud") == [[255, 255]]
    assert first(integers([2**62, 1], [2**62, 1]), "loud") == [[2**53, 1000]]
    assert first(integers([-(2**62), 1], [-(2**62), 1]), "loud") == [[-(2**53), 1000]]


# --- what the graph compares with -----------------------------------------------------------------------------------


def test_a_row_holds_the_numbers_that_the_graph_compares_with() -> None:
    """Each float with one on either side; as many rows as are needed, three at most."""
    rows = first(SAMPLES, "compared with", Landmarks((10.0, 20.0)))
    assert rows[0] == pytest.approx([10.0, 10.010001], rel=1e-6)
    assert rows[1] == pytest.approx([9.989999, 20.0], rel=1e-6)
    assert rows[2] == pytest.approx([20.020001, 19.979999], rel=1e-6)
    assert len(first(SAMPLES, "compared with", Landmarks(tuple(map(float, range(100, 120)))))) == 3


def test_a_row_of_integers_holds_whole_numbers_that_fit() -> None:
    """103 and its neighbours; 0.5 and 300 are no bytes."""
    samples = integers([1, 2, 3, 4], [5, 6, 7, 8], dtype="uint8")
    rows = first(samples, "compared with", Landmarks((103.0, 0.5, 300.0)))
    assert rows == [[103, 104, 102, 103]]


def test_what_one_row_holds_is_not_compared_again() -> None:
    """103 and its neighbours fill it; that 0.5 needs more rows of floats makes no second one of integers."""
    assert first(integers([1, 2, 3], [4, 5, 6]), "compared with", Landmarks((103.0, 0.5))) == [[103, 104, 102]]


def test_a_row_of_texts_holds_those_of_the_graph() -> None:
    """Categories and stop words."""
    samples: list[dict[str, Array]] = [{"x": np.array([[text]], object)} for text in "ab"]
    assert first(samples, "compared with", Landmarks(texts=("red", "blue"))) == [["red"], ["blue"]]


def test_a_pad_may_be_a_number_of_the_graph() -> None:
    """After 0, 1 and the highest that was seen."""
    samples = integers([5, 6], [7, 8])
    assert [row[1] for row in first(samples, "padded", Landmarks((3.0,)))] == [0, 1, 8, 3]


def test_a_pad_is_never_longer_than_what_stays() -> None:
    """Of three places, the last."""
    assert first(floats([1.0, 2.0, 3.0]), "padded")[0] == [1.0, 2.0, 0.0]


def test_a_row_is_a_training_point_to_the_last_bit() -> None:
    """Points of another width are left out."""
    landmarks = Landmarks(points={"x": (np.array([9.0]), np.array([0.1, 0.7]))})
    (row,) = first(SAMPLES, "training points", landmarks)
    assert np.array_equal(np.array(row, np.float32), np.array([0.1, 0.7], np.float32))


# --- several inputs -------------------------------------------------------------------------------------------------


def test_falls_back_to_one_input_after_the_other() -> None:
    """Where a model refuses all inputs at once."""
    sample = {"a": np.array([[1.0, 2.0]], np.float32), "b": np.array([[3.0, 4.0]], np.float32)}
    (loud,) = (variant for variant in vary_samples([sample, sample]) if variant.kind == "loud")
    assert [(s["a"][0, 0], s["b"][0, 0]) for s in loud.alternatives] == [(1000, 3000), (1000, 3), (1, 3000)]


@pytest.mark.parametrize(("elements", "changes"), [(4, False), (5, True)])
def test_a_few_numbers_beside_many_are_not_made_loud(elements: int, changes: bool) -> None:
    """A speed of a thousand makes an output too large for the memory."""
    sample = {"few": np.ones((1, elements), np.float32), "many": np.ones((1, 9), np.float32)}
    (loud,) = (variant for variant in vary_samples([sample, sample]) if variant.kind == "loud")
    assert bool(loud.alternatives[0]["few"][0, 0] == 1000) is changes
    assert loud.alternatives[0]["many"][0, 0] == 1000


def test_few_numbers_alone_are_made_loud() -> None:
    """Where there is nothing else."""
    assert first(floats([1.0], [2.0]), "loud") == [[2000.0]]


@pytest.mark.parametrize(
    ("array", "moved"),
    [
        (np.array([0.8], np.float32), [[0.4], [1.6], [1.8], [0.81], [0.0]]),
        (np.array([16000], np.int64), [[8000], [16001], [32000], [0], [7], [8], [6]]),
        (np.array([True]), [[False]]),
        (np.array(["x"], object), [["red"], [""], ["a"]]),
    ],
)
def test_moves_an_input_that_never_varies(array: Array, moved: list[Any]) -> None:
    """So that what is read from one row for all shows; the alternatives are tried until the model takes one."""
    samples = [{"x": np.array([[number]], np.float32), "side": array} for number in (1, 2, 3)]
    (variant,) = (v for v in vary_samples(samples, Landmarks((7.0,), ("red",))) if v.kind == "another side")
    assert [sample["side"].tolist() for sample in variant.alternatives] == [pytest.approx(value) for value in moved]
    assert all(sample["x"].tolist() == [[2.0]] for sample in variant.alternatives)


def test_moves_nothing_that_varies() -> None:
    """An input that differs between samples needs no help."""
    assert [variant.kind for variant in vary_samples(SAMPLES) if variant.kind.startswith("another")] == []


# --- samples --------------------------------------------------------------------------------------------------------


def test_names_the_inputs_that_are_the_same_in_all_rows() -> None:
    """NaN is the same as NaN."""
    one = {"a": np.array([1.0]), "b": np.array([np.nan]), "c": np.array([1])}
    other = {"a": np.array([2.0]), "b": np.array([np.nan]), "c": np.array([1])}
    assert constant_inputs([one, other]) == ("b", "c")
    assert constant_inputs([one, one, other]) == ("b", "c")


def test_groups_samples_of_one_row_by_their_shapes() -> None:
    """The most that can be stacked; what has two rows, or none, or no axis cannot."""
    wide, narrow = np.zeros((1, 3)), np.zeros((1, 2))
    samples = [{"x": wide}, {"x": narrow}, {"x": narrow}, {"x": np.zeros((2, 2))}, {"x": np.zeros(())}]
    assert [sample["x"].shape for sample in largest_group(samples)] == [(1, 2), (1, 2)]
    assert largest_group([{"x": np.zeros((2, 2))}]) == []


def test_samples_are_equal_only_in_every_input() -> None:
    """One that differs is enough."""
    one = {"a": np.array([1]), "b": np.array([2])}
    assert are_equal(one, dict(one))
    assert not are_equal(one, {**one, "b": np.array([3])})


def test_blends_floats_in_proportion_and_all_else_by_elements() -> None:
    """A quarter of the way from one sample to the other."""
    one = {"f": np.array([[0.0, 8.0]]), "i": np.array([[1, 2, 3, 4]]), "t": np.array([["a", "b"]], object)}
    other = {"f": np.array([[4.0, 0.0]]), "i": np.array([[5, 6, 7, 8]]), "t": np.array([["c", "d"]], object)}
    made = blend(one, other, 0.25)
    assert (made["f"].tolist(), made["i"].tolist(), made["t"].tolist()) == (
        [[1.0, 6.0]], [[5, 2, 3, 4]], [["a", "b"]],
    )  # fmt: skip
    assert one["i"].tolist() == [[1, 2, 3, 4]]


def test_only_samples_of_one_shape_can_be_blended() -> None:
    """And with the same inputs."""
    one = {"x": np.zeros((1, 2))}
    assert can_blend(one, {"x": np.ones((1, 2))})
    assert not can_blend(one, {"x": np.ones((1, 3))})
    assert not can_blend(one, {})


ANY_ARRAY = st.sampled_from(["float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool"]).flatmap(
    lambda name: arrays.arrays(
        np.dtype(name),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4).map(lambda shape: (1, *shape)),
        elements=None if not name.startswith("float") else st.floats(-1e4, 1e4, width=16),
    )
)


@given(ANY_ARRAY, st.integers(1, 3))
def test_every_variant_has_the_shapes_and_types_of_the_samples(array: Array, copies: int) -> None:
    """And differs from the sample that it was made of, which stays as it was."""
    samples = [{"x": array.copy(), "side": np.ones((1, 1), np.float32)} for _ in range(copies)]
    for variant in vary_samples(samples, Landmarks((0.5, 7.0, 1e30), ("a",))):
        assert isinstance(variant, Variant)
        for sample in variant.alternatives:
            assert sample["x"].shape == array.shape
            assert sample["x"].dtype == array.dtype
            assert not are_equal(sample, samples[0])
    assert np.array_equal(samples[0]["x"], array, equal_nan=array.dtype.kind == "f")
