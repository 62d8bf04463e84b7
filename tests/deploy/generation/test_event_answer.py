"""Answers over HTTP: text, times, counts and faults, whether a piece was parsed or known by what surrounds it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.generation import faults
from serve_deploy.generation.event_answer import EventAnswer
from serve_deploy.generation.pieces import Piece, read_chat, read_completion, triton_reader

END = b'data: {"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def event(document: Any, **options: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(document, **options).encode()


def chat(text: str, **more: Any) -> Any:
    return {"id": "c-1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


def triton(text: str, **more: Any) -> Any:
    return {"id": "7", "model_name": "llm", "text_output": text, **more}


def chat_answer(most_tokens: int | None = None) -> EventAnswer:
    return EventAnswer("7", read_chat, has_end_mark=True, most_tokens=most_tokens)


def triton_answer() -> EventAnswer:
    return EventAnswer("7", triton_reader("text_output"), has_end_mark=False)


def feed(answer: EventAnswer, *bodies: bytes) -> EventAnswer:
    for at, body in enumerate(bodies):
        answer.feed(body, float(at))
    answer.end()
    return answer


pieces = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12)


@given(pieces, st.booleans())
def test_pieces_in_bodies_of_their_own_are_the_text(texts: list[str], ascii_only: bool) -> None:
    """Whatever they hold: quotes, backslashes, line ends, other alphabets; each has the time at which it came."""
    bodies = [event(chat(text), ensure_ascii=ascii_only) for text in texts]
    answer = feed(chat_answer(), *bodies, END, DONE)
    assert (answer.fault, answer.text, answer.times) == (None, "".join(texts), [float(at) for at in range(len(texts))])


@given(pieces, st.data())
def test_an_answer_is_the_same_wherever_its_bytes_are_cut(texts: list[str], data: st.DataObject) -> None:
    """Also inside a character."""
    stream = b"".join(event(triton(text), ensure_ascii=False) for text in texts)
    edges = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    parts = [stream[start:stop] for start, stop in itertools.pairwise(edges)]
    answer = feed(triton_answer(), *parts)
    assert (answer.fault, answer.text, len(answer.times)) == (None, "".join(texts), len(texts))


def test_a_piece_is_not_parsed_where_only_its_text_is_new() -> None:
    """After one that was, pieces cost no JSON."""
    parsed = []

    def read(document: Any) -> Piece:
        parsed.append(document)
        return read_chat(document)

    answer = EventAnswer("7", read, has_end_mark=True)
    feed(answer, event(chat("one")), event(chat(" two")), event(chat("\n")), END, DONE)
    assert (len(answer.times), len(parsed)) == (3, 2)


@pytest.mark.parametrize(
    "halves",
    [
        ('"\\ud83c"', '"\\udf75"'),
        ('"caf\\u00e9 \\ud83c"', '"\\udf75!"'),
    ],
)
def test_a_character_may_be_escaped_in_two_pieces(halves: tuple[str, str]) -> None:
    """As servers do that escape what a token holds of a character."""
    bodies = [event(chat("TEXT")).replace(b'"TEXT"', half.encode()) for half in ('"a"', *halves)]
    answer = feed(chat_answer(), *bodies, END, DONE)
    assert answer.fault is None
    assert "🍵" in answer.text


def test_half_an_escaped_character_is_no_text() -> None:
    """There is nothing that it could mean."""
    body = event(chat("TEXT")).replace(b"TEXT", b"\\ud83c")
    assert feed(chat_answer(), body, END, DONE).fault[0] == faults.ENCODING  # type: ignore[index]


def test_content_waits_for_text_and_not_for_the_role() -> None:
    """A chat says who speaks before the model has begun."""
    role = {"id": "c-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    assert feed(chat_answer(), event(role), event(chat("a")), END, DONE).times == [1.0]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_part_of_the_answer(key: str) -> None:
    """It takes time and tokens alike."""
    thought = {"id": "c-1", "choices": [{"index": 0, "delta": {key: "hm"}}]}
    answer = feed(chat_answer(), event(thought), event(thought), event(chat("a")), END, DONE)
    assert (answer.text, len(answer.times)) == ("hmhma", 3)


def test_usage_counts_the_tokens() -> None:
    """In a document of its own, or in each."""
    usage = {"usage": {"prompt_tokens": 9, "completion_tokens": 4}}
    answer = feed(chat_answer(), event(chat("a")), event(chat("b")), END, event({"choices": [], **usage}), DONE)
    assert (answer.input_tokens, answer.output_tokens) == (9, 4)


def test_tokens_of_each_response_of_triton_add_up() -> None:
    """Where they are the same in each, too."""
    said = [
        triton(text, num_input_tokens=9, num_output_tokens=count)
        for text, count in zip("abcd", (2, 2, 2, 1), strict=True)
    ]
    answer = feed(triton_answer(), *map(event, said))
    assert (answer.input_tokens, answer.output_tokens) == (9, 7)


def test_text_like_the_frame_around_it_is_text() -> None:
    """A model may write JSON."""
    texts = ["a", '","finish_reason":null}]}\n\ndata: {"id":"c-1"', "\\", '"', '{"content": "x"}']
    answer = feed(chat_answer(), *(event(chat(text)) for text in texts), END, DONE)
    assert (answer.fault, answer.text) == (None, "".join(texts))


def test_two_events_in_one_body_are_two_pieces() -> None:
    """They came at the same time."""
    answer = feed(chat_answer(), event(chat("a")), event(chat("b")) + event(chat("c")), END + DONE)
    assert (answer.text, answer.times) == ("abc", [0.0, 1.0, 1.0])


OTHER = event({**chat("b"), "id": "c-2"})


@pytest.mark.parametrize(
    ("bodies", "kind"),
    [
        ([event(chat("a")), OTHER, END, DONE], faults.WRONG_REQUEST),
        ([event(chat("a")), END, event(chat("b")), DONE], faults.REPEATED),
        ([event(chat("a")), END, END, DONE], faults.REPEATED),
        ([event(chat("a")), END, DONE, DONE], faults.REPEATED),
        ([b"id: 1\n" + event(chat("a")), b"id: 1\n" + event(chat("b")), END, DONE], faults.REPEATED),
        ([event(chat("a")), event({"error": {"message": "no memory"}}), DONE], faults.ERROR),
        ([event({"object": "error", "message": "no memory"})], faults.ERROR),
        ([event(chat("a")), DONE], faults.NO_END),
        ([event(chat("a")), END], faults.NO_END),
        ([END, DONE], faults.EMPTY),
        ([event(chat("a")), b"data: {\n\n", END, DONE], faults.MALFORMED),
        ([event(chat("a")), b"data: 3\n\n", END, DONE], faults.MALFORMED),
        ([event(chat("a")).replace(b'"a"', b'"\xff"'), END, DONE], faults.ENCODING),
    ],
)
def test_the_first_fault_names_the_broken_answer(bodies: list[bytes], kind: str) -> None:
    """Each kind by its own name."""
    fault = feed(chat_answer(), *bodies).fault
    assert fault
    assert fault[0] == kind


@pytest.mark.parametrize(
    ("said", "reason", "kind"), [(3, "length", faults.TRUNCATED), (4, "length", None), (3, "stop", None)]
)
def test_an_answer_that_ends_for_its_length_has_that_length(said: int, reason: str, kind: str | None) -> None:
    """By what the server itself counts."""
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": {"completion_tokens": said}}
    fault = feed(chat_answer(most_tokens=4), event(chat("a b c")), event(end), DONE).fault
    assert (fault and fault[0]) == kind


def test_completions_have_their_text_elsewhere() -> None:
    """In the choice itself."""
    bodies = [event({"id": "c-1", "choices": [{"text": text, "finish_reason": None}]}) for text in "abc"]
    end = {"id": "c-1", "choices": [{"text": "", "finish_reason": "length"}]}
    assert feed(EventAnswer("7", read_completion, has_end_mark=True), *bodies, event(end), DONE).text == "abc"
