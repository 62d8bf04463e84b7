"""How close two tensors are."""

from __future__ import annotations

import numpy as np
import pytest

from serve_deploy.tensors.closeness import (
    COMPUTED_ELSEWHERE,
    SAME_ANSWER,
    SAME_PLACE,
    SAME_ROW,
    SERVED,
    Tolerance,
    Tolerances,
    are_close,
    compare,
    element_scale,
)


def test_equal_tensors_do_not_differ() -> None:
    """Also with NaN and infinities in the same places."""
    for array in (np.array([1.0, -2.0]), np.array([1.0, np.nan, np.inf, -np.inf], np.float32)):
        difference = compare(array, array, SERVED)
        assert (difference.absolute, difference.relative, difference.problem) == (0, 0, None)


@pytest.mark.parametrize(
    ("data_type", "error", "differs"),
    [("float32", 1e-6, False), ("float32", 1e-3, True), ("float16", 1e-3, False), ("float16", 5e-2, True),
     ("float64", 1e-11, False), ("float64", 1e-6, True)],
)  # fmt: skip
def test_floats_may_differ_by_their_types_rounding(data_type: str, error: float, differs: bool) -> None:
    """More is a problem, and the figures are kept either way."""
    own = np.array([1.0, -0.5, 0.25], data_type)
    served = (own.astype(np.float64) * (1 + error)).astype(data_type)
    difference = compare(served, own, SERVED)
    assert (difference.problem is not None) is differs
    assert difference.relative == pytest.approx(error, rel=0.5, abs=1e-3)


def test_what_the_model_varies_by_itself_is_allowed_in_batches() -> None:
    """A quantised model rounds differently at another batch size; the proof measured by how much."""
    own = np.array([1.0, 0.5], np.float32)
    served = own + np.float32(2e-3)
    assert compare(served, own, SERVED).problem
    assert compare(served, own, SERVED, noise=1e-3).problem is None


@pytest.mark.parametrize("data_type", [np.int64, np.bool_, object])
def test_all_else_must_be_equal(data_type: type) -> None:
    """Integers, truth values and strings have no tolerance."""
    own = np.array([0, 1, 1], data_type)
    served = np.array([0, 1, 0], data_type)
    assert compare(own, own, SERVED).problem is None
    assert "differs in 1 of 3 elements" in str(compare(served, own, SERVED).problem)


def test_another_shape_is_a_problem() -> None:
    """Named with both shapes."""
    assert compare(np.zeros((2, 1)), np.zeros((2,)), SERVED).problem == "has shape [2, 1] instead of [2]"


def test_a_nan_in_another_place_is_a_problem() -> None:
    """And a number against infinity, too."""
    for actual, expected in (([np.nan, 1.0], [1.0, np.nan]), ([np.inf], [1.0]), ([1.0], [np.inf])):
        difference = compare(np.array(actual), np.array(expected), SERVED)
        assert (difference.absolute, difference.problem) == (np.inf, "is infinite or NaN in other places")


def test_nothing_is_equal_to_nothing() -> None:
    """A tensor without elements has no difference."""
    assert compare(np.zeros((0, 3)), np.zeros((0, 3)), SERVED).problem is None


@pytest.mark.parametrize(
    ("tolerances", "allowed"), [(SAME_ROW, 2e-7), (SERVED, 0), (COMPUTED_ELSEWHERE, 1e-5), (SAME_ANSWER, 1e-6)]
)
def test_uses_differ_in_how_small_a_number_may_be_lost(tolerances: Tolerances, allowed: float) -> None:
    """Beside zeros only the floor of a tolerance counts; served tensors have none."""
    zero = np.zeros(2, np.float32)
    assert compare(zero + np.float32(allowed * 0.9), zero, tolerances).problem is None
    assert compare(zero + np.float32(allowed * 1.1 + 1e-30), zero, tolerances).problem


@pytest.mark.parametrize("tolerances", [SAME_ROW, SERVED])
def test_a_small_number_beside_a_large_one_may_lose_digits(tolerances: Tolerances) -> None:
    """A sum of large terms rounds like its largest; what was computed elsewhere has no such excuse."""
    expected = np.array([1e4, 1e-2], np.float32)
    actual = np.array([1e4, 3e-2], np.float32)
    assert compare(actual, expected, tolerances).problem is None
    assert compare(actual, expected, COMPUTED_ELSEWHERE).problem


def test_each_element_is_measured_by_what_it_usually_is() -> None:
    """A score that moves by a fiftieth is wrong, though the coordinate beside it is 3840."""
    expected = np.array([3840.0, 0.5], np.float32)
    actual = np.array([3840.0, 0.51], np.float32)
    scale = np.array([3840.0, 1.0])
    assert compare(actual, expected, SAME_ROW).problem is None
    measured = compare(actual, expected, SAME_ROW, scale=scale)
    assert measured.problem
    assert measured.relative == pytest.approx(0.01, rel=1e-3)
    assert measured.absolute == pytest.approx(0.01, rel=1e-3)


def test_nothing_below_one_is_measured_finer_than_what_stands_beside_it() -> None:
    """A probability of a billionth is noise beside one of a half; where all are tiny, the largest counts."""
    scale = np.array([0.5, 1e-9])
    half = np.array([0.5, 1e-9], np.float32)
    assert compare(np.array([0.5, 3e-6], np.float32), half, SAME_ROW, scale=scale).problem is None
    tiny = np.array([2e-6, 1e-9], np.float32)
    assert compare(np.array([2e-6, 1e-6], np.float32), tiny, SERVED, scale=scale * 1e-5).problem
    small = compare(np.array([0.25, 0.0], np.float32), np.array([0.5, 0.0], np.float32), SAME_ROW, scale=scale)
    assert small.relative == pytest.approx(0.5)


def test_a_number_larger_than_usual_is_measured_by_itself() -> None:
    """And what the model varies by is a share of that."""
    expected = np.array([1000.0], np.float32)
    difference = compare(np.array([1002.0], np.float32), expected, SERVED, scale=np.array([2.0]), noise=1e-3)
    assert (difference.problem, difference.relative) == (None, pytest.approx(2e-3))


def test_the_usual_size_is_the_largest_that_was_seen() -> None:
    """Infinities and NaN do not count; texts and integers have no size, nor has what differs in shape."""
    seen = [np.array([1.0, -5.0, np.nan]), np.array([-3.0, 2.0, np.inf])]
    scale = element_scale(seen)
    assert scale is not None
    assert scale.tolist() == [3.0, 5.0, 0.0]
    assert element_scale([np.array([1])]) is None
    assert element_scale([np.zeros(1), np.zeros(2)]) is None
    assert element_scale([]) is None


@pytest.mark.parametrize(
    ("data_type", "small", "large"), [("float16", 1e-3, 4e-3), ("float32", 5e-7, 3e-6), ("float64", 5e-15, 3e-14)]
)
def test_in_the_same_place_only_the_last_bits_may_move(data_type: str, small: float, large: float) -> None:
    """Whatever else the tensor holds."""
    own = np.array([1.0, 1000.0], data_type)
    moved = [np.array([1 + share, 1000.0], np.float64).astype(data_type) for share in (small, large)]
    assert compare(moved[0], own, SAME_PLACE).problem is None
    assert compare(moved[1], own, SAME_PLACE).problem


def test_in_the_same_place_zero_stays_zero() -> None:
    """There is no floor that a little influence could hide below."""
    assert compare(np.array([1e-20], np.float32), np.zeros(1, np.float32), SAME_PLACE).problem


@pytest.mark.parametrize(
    ("tolerances", "data_type", "allowed"),
    [(SAME_ROW, "float16", 5e-3), (SAME_ROW, "float32", 1.1e-4), (SAME_ROW, "float64", 1.1e-9),
     (SERVED, "float16", 1e-2), (SERVED, "float32", 1.2e-4), (SERVED, "float64", 1.1e-9),
     (COMPUTED_ELSEWHERE, "float16", 1e-3), (COMPUTED_ELSEWHERE, "float32", 1e-3),
     (SAME_ANSWER, "float32", 1e-3), (SAME_ANSWER, "float64", 1e-3)],
)  # fmt: skip
def test_a_number_may_differ_by_so_much_and_no_more(tolerances: Tolerances, data_type: str, allowed: float) -> None:
    """The share of itself, the share of the largest and the floor, beside a 1."""
    own = np.array([1.0])
    tolerance = {"float64": tolerances[data_type]}
    assert compare(own + allowed * 0.97, own, tolerance).problem is None
    assert compare(own + allowed * 1.03, own, tolerance).problem


def test_what_is_allowed_exactly_is_allowed() -> None:
    """A difference at the limit is within it."""
    assert are_close(np.array([3.0]), np.array([2.0]), {"float64": Tolerance(0.5, least=0.0)})


@pytest.mark.parametrize(("moved", "differs"), [(7.0, False), (7.5, True)])
def test_three_times_what_the_model_varies_by_is_allowed(moved: float, differs: bool) -> None:
    """As a share of the largest: of 4, a quarter thrice is 3."""
    none = {"float64": Tolerance(0.0, least=0.0)}
    assert bool(compare(np.array([moved]), np.array([4.0]), none, noise=0.25).problem) is differs


def test_two_tensors_are_close_or_not() -> None:
    """The short form of a comparison."""
    assert are_close(np.array([1.0]), np.array([1.0 + 1e-12]), SERVED)
    assert not are_close(np.array([1.0]), np.array([1.1]), SERVED)


def test_beside_zeros_a_difference_is_its_own_share() -> None:
    """There is nothing else that it could be a share of."""
    difference = compare(np.array([0.0, 0.5]), np.zeros(2), SERVED)
    assert (difference.absolute, difference.relative) == (0.5, 0.5)


def test_of_all_else_the_share_of_wrong_elements_is_said() -> None:
    """One label of four, and one of one."""
    labels = np.array([1, 2, 3, 4])
    assert (compare(labels, labels[::-1], SERVED).absolute, compare(labels, labels[::-1], SERVED).relative) == (4, 1)
    assert compare(np.array([1, 2, 3, 0]), labels, SERVED).relative == 0.25
    assert compare(labels[:1], labels[1:2], SERVED).relative == 1


def test_says_how_far_apart_two_tensors_are() -> None:
    """In the tensor's own unit, and as a share."""
    assert compare(np.array([3.0]), np.array([2.0]), SERVED).problem == "differs by up to 1 (50 % of the largest value)"
    assert compare(np.array([3.0]), np.array([2.0]), SERVED, scale=np.array([4.0])).problem == (
        "differs by up to 1 (25 % of what it usually is)"
    )
