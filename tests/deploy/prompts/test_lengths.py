"""Lengths in tokens as a user writes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import UsageError
from serve_deploy.prompts.lengths import TokenLengths, read_lengths


@pytest.mark.parametrize("text", ["512±64", "512,64", "512, 64", "512+-64", "512 +/- 64"])
def test_a_deviation_is_written_in_several_ways(text: str) -> None:
    """Whatever a keyboard has."""
    assert read_lengths("input_tokens", text) == TokenLengths(512, 64)


@pytest.mark.parametrize("text", ["", "0", "-3", "0±4", "1e3", "12.5", "many", "99999999", "9" * 5000, "5±", "5,6,7"])
def test_what_is_no_length_is_refused_with_the_name_of_the_field(text: str) -> None:
    """And says how to write one."""
    with pytest.raises(UsageError, match=r"`output_tokens=.*` is not a number of tokens") as caught:
        read_lengths("output_tokens", text)
    assert caught.value.hint == "write it as 512, or with a deviation as 512±64"


@given(mean=st.integers(1, 5000), deviation=st.integers(0, 5000), least=st.integers(1, 100))
def test_a_drawn_length_is_never_below_the_least(mean: int, deviation: int, least: int) -> None:
    """Whatever the deviation."""
    generator = np.random.default_rng(0)
    assert all(TokenLengths(mean, deviation).draw(generator, least) >= least for _ in range(20))


def test_drawn_lengths_have_the_mean_and_the_deviation() -> None:
    """Within what 4,000 draws allow."""
    generator = np.random.default_rng(0)
    drawn = [TokenLengths(512, 64).draw(generator) for _ in range(4000)]
    assert (np.mean(drawn), np.std(drawn)) == (pytest.approx(512, abs=4), pytest.approx(64, abs=4))
