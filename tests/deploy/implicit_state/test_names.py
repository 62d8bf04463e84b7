"""Which output is called like the next value of an input."""

from __future__ import annotations

import pytest

from serve_deploy.implicit_state.names import is_called_state, match_by_name

OUTPUTS = (
    "output", "y", "hn", "cn", "stateN", "hidden_out", "present.0.key", "present.10.key", "present.0.value",
    "new_cached_key_0", "new_cached_key_1", "present_key_self_0", "last_hidden_state", "audio_out",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("h", "hn"), ("c", "cn"), ("h0", "hn"), ("c_0", "cn"), ("state", "stateN"), ("hidden", "hidden_out"),
        ("hidden_in", "hidden_out"), ("past_key_values.0.key", "present.0.key"),
        ("past_key_values.10.key", "present.10.key"), ("past_key_values.0.value", "present.0.value"),
        ("cached_key_0", "new_cached_key_0"), ("cached_key_1", "new_cached_key_1"),
        ("past_key_self_0", "present_key_self_0"),
    ],
)  # fmt: skip
def test_an_input_finds_its_next_value(name: str, wanted: str) -> None:
    """By the conventions of exporters, and never that of another layer."""
    assert match_by_name(name, OUTPUTS) == (wanted,)


@pytest.mark.parametrize("name", ["input", "x", "sr", "audio_in", "input_ids", "hidden_states", "attention_mask"])
def test_an_ordinary_input_finds_none(name: str) -> None:
    """`audio_in` and `audio_out` are what goes in and comes out, not what is kept."""
    assert match_by_name(name, OUTPUTS) == ()


def test_two_conventions_at_once_are_both_found() -> None:
    """Which of them it is, names do not tell."""
    assert match_by_name("state", ("state_out", "stateN")) == ("state_out", "stateN")


@pytest.mark.parametrize(("name", "called"), [("c0", True), ("decoder.cache", True), ("x", False), ("count", False)])
def test_states_are_known_by_words(name: str, called: bool) -> None:
    """Whole words, not parts of them."""
    assert is_called_state(name) == called
