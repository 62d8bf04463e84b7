"""The shapes of prompts in files, each recognised by its keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.prompts.prompt import Message
from serve_deploy.prompts.shapes import Dialogue, Exchange, ShapeError, read_dialogue

USER = {"role": "user", "content": "Hello?"}
ASKED = Exchange((Message("user", "Hello?"),))


@pytest.mark.parametrize(
    "value",
    [
        "Hello?",
        {"prompt": "Hello?"},
        {"text": "Hello?"},
        {"text_input": "Hello?"},
        {"question": "Hello?", "id": 7},
        [USER],
        {"messages": [USER]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo?"}]}]},
        {"conversations": [{"from": "human", "value": "Hello?"}]},
        {"conversation": [{"from": "user", "value": "Hello?"}]},
        {"custom_id": "1", "url": "/v1/chat/completions", "body": {"model": "llm", "messages": [USER]}},
        {"custom_id": "1", "url": "/v1/completions", "body": {"model": "llm", "prompt": "Hello?"}},
        {"question_id": 81, "turns": ["Hello?"]},
    ],
)
def test_one_question_is_read_from_every_shape(value: Any) -> None:
    """Whatever stands beside it."""
    assert read_dialogue(value) == Dialogue((ASKED,))


def test_answers_part_a_conversation_into_exchanges() -> None:
    """System messages go with the question that follows them; what opens with an answer loses it."""
    roles = [("gpt", "Hi."), ("system", "Be kind."), ("human", "A?"), ("gpt", "B."), ("gpt", "C."), ("human", "D?")]
    value = {"conversations": [{"from": role, "value": text} for role, text in roles]}
    first = Exchange((Message("system", "Be kind."), Message("user", "A?")), "B.")
    assert read_dialogue(value).exchanges == (first, Exchange((Message("user", "D?"),)))


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens", "output_tokens", "output_length", "output_len"])
def test_the_length_of_the_answer_has_several_names(key: str) -> None:
    """Also in a batch file, where it stands in the body."""
    assert read_dialogue({"prompt": "Hello?", key: 12}).output_tokens == 12
    assert read_dialogue({"body": {"prompt": "Hello?", key: 12}}).output_tokens == 12


@pytest.mark.parametrize(
    "value", ["", {"prompt": "  "}, {"messages": []}, {"conversations": [{"from": "gpt", "value": "x"}]}]
)
def test_where_nothing_is_asked_there_are_no_exchanges(value: Any) -> None:
    """They are for the caller to leave out."""
    assert read_dialogue(value) == Dialogue(())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "it is a number"),
        (None, "it is missing or null"),
        ({}, "it has nothing in it"),
        ({"promt": "x", "id": 1}, "it has only promt, id"),
        ({"prompt": ["a", "b"]}, "prompt is a list, not a text"),
        ({"messages": "x"}, "messages is a text, not a list"),
        ({"messages": ["x"]}, "messages[0] is a text, not a message"),
        ({"messages": [USER, {"content": "x"}]}, "messages[1].role is missing"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 'messages[0].role is "tool"'),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content is a number, not a text"),
        ({"messages": [{**USER, "content": [{"type": "image_url"}]}]}, "messages[0].content[0] is not of type text"),
        ({"conversations": [{"from": "human"}]}, "conversations[0].value is missing or null, not a text"),
        ({"turns": [1]}, "turns[0] is a number, not a text"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens is 0"),
        ({"prompt": "x", "max_tokens": -4}, "max_tokens is -4"),
        ({"prompt": "x", "max_tokens": True}, "max_tokens is true"),
        ({"prompt": "x", "max_tokens": "many"}, 'max_tokens is "many"'),
        ({"prompt": "x", "max_tokens": float("inf")}, "max_tokens is Infinity"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_field(value: Any, message: str) -> None:
    """In the words of the file."""
    with pytest.raises(ShapeError) as caught:
        read_dialogue(value)
    assert str(caught.value) == message


def test_half_a_character_does_not_reach_a_request() -> None:
    """JSON can hold it, UTF-8 cannot."""
    assert read_dialogue("a\ud83d").exchanges[0].question[0].content == "a?"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(
            st.sampled_from(["messages", "conversations", "role", "content", "from", "value", "prompt", "body", "turns",
                             "max_tokens", "type", "text"]) | st.text(), inner),
        max_leaves=12,
    )
)  # fmt: skip
def test_any_json_is_read_or_refused(value: Any) -> None:
    """Never with another error; and what is read can be sent."""
    try:
        dialogue = read_dialogue(value)
    except ShapeError:
        return
    for exchange in dialogue.exchanges:
        assert any(message.role == "user" and message.content.strip() for message in exchange.question)
        assert all(message.content.encode() for message in exchange.question)
