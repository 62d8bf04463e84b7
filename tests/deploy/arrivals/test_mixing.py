"""Turns of models in a mixed load."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.arrivals.mixing import interleave


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_each_has_the_turns_of_its_weight(weights: list[int]) -> None:
    """A round has them in the ratio of the weights, exactly."""
    turns = Counter(interleave(weights))
    assert len({turns[index] / weight for index, weight in enumerate(weights)}) == 1


@given(st.lists(st.integers(1, 9), min_size=2, max_size=8))
def test_turns_are_spread(weights: list[int]) -> None:
    """At no point of a round has one had two turns more or fewer than its share."""
    order, total = interleave(weights), sum(weights)
    for length in range(len(order) + 1):
        turns = Counter(order[:length])
        assert all(abs(turns[index] - length * weight / total) < 2 for index, weight in enumerate(weights))


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
def test_none_is_left_out(weights: list[float]) -> None:
    """However small its weight."""
    order = interleave(weights)
    assert set(order) == set(range(len(weights)))
    assert len(order) < 100 + len(weights) + 1


@pytest.mark.parametrize("weights", [[], [0.0], [1.0, -1.0]])
def test_weights_are_above_zero(weights: list[float]) -> None:
    """Anything else is a mistake of the caller."""
    with pytest.raises(ValueError, match="above 0"):
        interleave(weights)
