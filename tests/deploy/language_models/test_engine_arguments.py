"""Arguments of an engine, as a user gives them."""

from __future__ import annotations

from typing import Any

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.language_models.engine_arguments import (
    EngineArgument,
    nest_arguments,
    note_unknown,
    read_engine_argument,
)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("enforce_eager=true", "enforce_eager", True),
        ("enforce-eager=True", "enforce_eager", True),
        ("block_size=32", "block_size", 32),
        ("attention_backend=FLASHINFER", "attention_backend", "FLASHINFER"),
        ('speculative_config={"method": "ngram"}', "speculative_config", {"method": "ngram"}),
        ("kv_cache_config.enable_block_reuse=false", "kv_cache_config.enable_block_reuse", False),
        ("revision=a=b", "revision", "a=b"),
    ],
)
def test_a_value_is_json_where_it_is_some(text: str, name: str, value: Any) -> None:
    """Else a string; dashes are underscores."""
    argument = read_engine_argument(text)
    assert (argument.name, argument.value) == (name, value)


@pytest.mark.parametrize("text", ["enforce_eager", "=1", "1a=2", "a..b=1", "a b=1"])
def test_what_is_no_argument_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(UsageError, match="is not NAME=VALUE"):
        read_engine_argument(text)


@pytest.mark.parametrize(
    ("text", "option"), [("max_model_len=8", "max_model_len"), ("tensor_parallel_size=2", "tensor_parallel")]
)
def test_what_has_an_option_is_refused(text: str, option: str) -> None:
    """Or the arithmetic would not see it."""
    with pytest.raises(UsageError) as refusal:
        read_engine_argument(text)
    assert refusal.value.hint == f"use `{option}`"


def test_an_unknown_argument_is_noted_with_what_may_be_meant() -> None:
    """It is written all the same: a newer engine may have it."""
    assert list(note_unknown("vllm", ["enforce_eager", "swap_space"])) == []
    (note,) = note_unknown("vllm", ["enforce_eagre"])
    assert note.endswith("did you mean 'enforce_eager'?")
    (note,) = note_unknown("tensorrtllm", ["max_model_len"])
    assert note.startswith("TensorRT-LLM is not known to have the argument max_model_len")


def test_dots_lead_into_mappings() -> None:
    """And a later argument replaces an earlier one."""
    pairs = [("a", 1), ("b.c", 2), ("b.d", 3), ("a", 4)]
    assert nest_arguments(tuple(EngineArgument(*pair, "") for pair in pairs)) == {"a": 4, "b": {"c": 2, "d": 3}}
