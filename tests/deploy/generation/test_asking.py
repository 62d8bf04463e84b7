"""What each protocol is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serve_deploy.generation.asking import Asking
from serve_deploy.prompts.prompt import Message

SAID = (Message("system", "be kind"), Message("user", "hello"))
VLLM = frozenset({"text_input", "stream", "sampling_parameters", "exclude_input_in_output", "return_num_output_tokens"})


def ask(protocol: Any, most_tokens: int | None = 5, **options: Any) -> dict[str, Any]:
    return Asking(protocol=protocol, model="llm", **options).document(SAID, most_tokens)


def test_a_chat_is_asked_with_messages_and_for_its_usage() -> None:
    """With the parameters that OpenAI's protocol has at the top."""
    assert ask("chat", ignore_eos=True, parameters={"temperature": 0.5, "stop": ["."]}) == {
        "model": "llm",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
        "ignore_eos": True,
        "temperature": 0.5,
        "stop": ["."],
    }


def test_completions_are_asked_with_text() -> None:
    """All that was said, a line each; without a length where none is known."""
    asked = ask("completions", None)
    assert asked["prompt"] == "be kind\nhello"
    assert "max_tokens" not in asked


def test_null_leaves_out_what_a_server_does_not_know() -> None:
    """Whose tokens are then counted otherwise."""
    assert "stream_options" not in ask("chat", parameters={"stream_options": None})


@pytest.mark.parametrize("protocol", ["triton", "grpc"])
def test_vllms_backend_is_asked_by_its_inputs(protocol: str) -> None:
    """Sampling parameters are one input, as JSON; of what can be returned, only what the model has."""
    asked = ask(protocol, inputs=VLLM, parameters={"stop": ["."]})
    assert json.loads(asked.pop("sampling_parameters")) == {"max_tokens": 5, "stop": ["."]}
    assert asked == {
        "text_input": "be kind\nhello",
        "stream": True,
        "exclude_input_in_output": True,
        "return_num_output_tokens": True,
    }


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ({"streaming", "sampling_param_max_tokens"}, "sampling_param_max_tokens"),
        ({"max_tokens"}, "max_tokens"),
        ((), "max_tokens"),
    ],
)
def test_other_backends_take_the_length_by_itself(inputs: Any, name: str) -> None:
    """As an input of one of these names, or else as a parameter of the request."""
    asked = ask("triton", inputs=frozenset({"prompt", *inputs}), text_input="prompt")
    assert asked == {"prompt": "be kind\nhello", name: 5, **({"streaming": True} if "streaming" in inputs else {})}
