"""How close two tensors are."""

from __future__ import annotations

import numpy as np
import pytest

from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, SAME_ANSWER, SAME_ROW, SERVED, Tolerances, compare


def test_equal_tensors_do_not_differ() -> None:
    """Also with NaN and infinities in the same places."""
    array = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
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
    assert compare(np.array([np.nan, 1.0]), np.array([1.0, np.nan]), SERVED).problem


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
