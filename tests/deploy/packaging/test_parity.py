"""Comparing served outputs with a model's own."""

from __future__ import annotations

import numpy as np
import pytest

from serve_deploy.packaging.parity import compare_tensors, summarize_parity


def test_equal_tensors_do_not_differ() -> None:
    """Also with NaN and infinities in the same places."""
    array = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
    difference = compare_tensors("y", array, array)
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
    difference = compare_tensors("y", served, own)
    assert (difference.problem is not None) is differs
    assert difference.relative == pytest.approx(error, rel=0.5, abs=1e-3)


def test_what_the_model_varies_by_itself_is_allowed_in_batches() -> None:
    """A quantised model rounds differently at another batch size; the proof measured by how much."""
    own = np.array([1.0, 0.5], np.float32)
    served = own + np.float32(2e-3)
    assert compare_tensors("y", served, own).problem
    assert compare_tensors("y", served, own, noise=1e-3).problem is None


@pytest.mark.parametrize("data_type", [np.int64, np.bool_, object])
def test_all_else_must_be_equal(data_type: type) -> None:
    """Integers, truth values and strings have no tolerance."""
    own = np.array([0, 1, 1], data_type)
    served = np.array([0, 1, 0], data_type)
    assert compare_tensors("y", own, own).problem is None
    assert "1 of 3 elements differ" in str(compare_tensors("y", served, own).problem)


def test_another_shape_is_a_problem() -> None:
    """Named with both shapes."""
    assert compare_tensors("y", np.zeros((2, 1)), np.zeros((2,))).problem == "shape [2, 1] instead of [2]"


def test_a_nan_in_another_place_is_a_problem() -> None:
    """And a number against infinity, too."""
    assert compare_tensors("y", np.array([np.nan, 1.0]), np.array([1.0, np.nan])).problem


def test_nothing_is_equal_to_nothing() -> None:
    """A tensor without elements has no difference."""
    assert compare_tensors("y", np.zeros((0, 3)), np.zeros((0, 3))).problem is None


def test_the_largest_difference_of_each_tensor_is_reported() -> None:
    """Over all requests, in the model's order."""
    own = np.array([2.0])
    differences = [compare_tensors(name, own + d, own) for name, d in (("b", 1e-9), ("a", 0.0), ("b", 2e-9))]
    parity = summarize_parity(differences)
    assert [tensor.name for tensor in parity] == ["b", "a"]
    assert parity[0].largest_absolute_difference == pytest.approx(2e-9, rel=0.01)
