"""Streamed answers of a language model that break, each in its own way, over the protocols of HTTP and over gRPC."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fault_servers import FaultServer, reset, serve_faults
from openai_server import LAST_CHUNK, WORDS, Asked, chunk, document

OPENAI = ("chat", "completions")
HTTP = ("triton", *OPENAI)


class Answer:
    """One answer over HTTP, written piece by piece: server-sent events, each in a chunk of its own."""

    def __init__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.asked, self._writer = asked, writer
        self.is_openai = not asked.path.endswith("generate_stream")

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    @property
    def connection(self) -> object:
        """The same for all answers that go over it."""
        return self._writer

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        reset(self._writer)

    async def drain(self) -> None:
        """Let what was written leave in a segment of its own."""
        await self._writer.drain()
        await asyncio.sleep(0.002)

    def start(self, status: str = "200 OK", framing: str = "Transfer-Encoding: chunked") -> None:
        """The head, and what a chat says before its first content."""
        self.write(f"HTTP/1.1 {status}\r\nContent-Type: text/event-stream\r\n{framing}\r\n\r\n".encode())
        if self.is_openai and self.asked.is_chat and status.startswith("200"):
            self.say(self.asked.role())

    def say(self, event: bytes) -> None:
        self.write(chunk(event))

    def event(self, text: str, id: str | None = None) -> bytes:
        """The event of a piece of text."""
        if self.is_openai:
            said: dict[str, Any] = {"delta": {"content": text}} if self.asked.is_chat else {"text": text}
            asked = self.asked if id is None else Asked(id, self.asked.path, self.asked.body)
            return asked.event([{"index": 0, **said, "finish_reason": None}])
        content = {"id": self.asked.id if id is None else id, "model_name": "llm", "model_version": "1"}
        return event_of({**content, "text_output": text})

    def tokens(self, count: int, first: int = 0) -> None:
        for index in range(first, first + count):
            self.say(self.event(WORDS[index]))

    def endings(self) -> list[bytes]:
        """The events after the last token: none over Triton's own protocol."""
        return list(self.asked.end()) if self.is_openai else []

    def end(self) -> None:
        """All that comes after the last token."""
        self.write(b"".join(map(chunk, self.endings())) + LAST_CHUNK)


def event_of(content: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


Fault = Callable[[Answer], Awaitable[None]]


@contextmanager
def serve_streams(fault: Fault, tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """A server of the model `llm`, for Triton's and OpenAI's protocols, that answers everything as `fault` does."""

    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        path, content = server.asked[number]
        body = json.loads(content)
        id = body.get("id", "") if path.endswith("generate_stream") else f"cmpl-{number}"
        await fault(Answer(Asked(id, path, body), writer))

    with serve_faults(behave, tls) as server:
        yield server


# --- broken -----------------------------------------------------------------------------------------------------------


async def closed_after_the_head(answer: Answer) -> None:
    answer.start()
    answer.close()


async def closed_between_events(answer: Answer) -> None:
    answer.start()
    answer.tokens(3)
    answer.close()


async def closed_inside_an_event(answer: Answer) -> None:
    answer.start()
    answer.tokens(2)
    event = answer.event(WORDS[2])
    answer.say(event[: len(event) // 2])
    answer.close()


async def closed_inside_a_chunk(answer: Answer) -> None:
    answer.start()
    answer.tokens(2)
    answer.write(chunk(answer.event(WORDS[2]))[:-9])
    answer.close()


async def reset_between_events(answer: Answer) -> None:
    answer.start()
    answer.tokens(3)
    await answer.drain()
    answer.reset()


async def closed_before_the_last_chunk(answer: Answer) -> None:
    """Everything was said, only the end of the body is missing."""
    answer.start()
    answer.tokens(4)
    for event in answer.endings():
        answer.say(event)
    answer.close()


async def without_done(answer: Answer) -> None:
    answer.start()
    answer.tokens(4)
    for event in answer.endings()[:-1]:
        answer.say(event)
    answer.write(LAST_CHUNK)


async def without_a_finish_reason(answer: Answer) -> None:
    answer.start()
    answer.tokens(4)
    for event in answer.endings()[1:]:
        answer.say(event)
    answer.write(LAST_CHUNK)


async def ended_inside_an_event(answer: Answer) -> None:
    """The body ends in order, in the middle of what it says."""
    answer.start()
    answer.tokens(2)
    answer.write(chunk(answer.event(WORDS[2])[:-12]) + LAST_CHUNK)


async def ended_by_its_connection(answer: Answer) -> None:
    """Neither a length nor chunks: nobody knows whether the body is whole."""
    answer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for index in range(3):
        answer.write(answer.event(WORDS[index]))
    answer.close()


async def error_at_once(answer: Answer) -> None:
    answer.start()
    answer.say(event_of({"error": {"message": "out of memory", "type": "server_error", "code": 500}}))
    answer.end()


async def error_after_tokens(answer: Answer) -> None:
    answer.start()
    answer.tokens(3)
    answer.say(event_of({"error": "out of memory"}))
    answer.write(LAST_CHUNK)


async def error_and_done(answer: Answer) -> None:
    """As vLLM does: an error, and then the end mark."""
    answer.start()
    answer.tokens(3)
    answer.say(event_of({"error": {"message": "out of memory", "type": "server_error", "code": 500}}))
    answer.write(chunk(b"data: [DONE]\n\n") + LAST_CHUNK)


async def no_content(answer: Answer) -> None:
    answer.start()
    answer.end()


async def only_empty_pieces(answer: Answer) -> None:
    answer.start()
    for _ in range(3):
        answer.say(answer.event(""))
    answer.end()


async def content_after_the_end_mark(answer: Answer) -> None:
    answer.start()
    answer.tokens(4)
    for event in [*answer.endings(), answer.event(WORDS[4])]:
        answer.say(event)
    answer.write(LAST_CHUNK)


async def content_after_the_finish_reason(answer: Answer) -> None:
    answer.start()
    answer.tokens(4)
    finish, *others = answer.endings()
    for event in (finish, answer.event(WORDS[4]), *others):
        answer.say(event)
    answer.write(LAST_CHUNK)


async def said_twice(answer: Answer) -> None:
    """All of it once more after the end mark, as a proxy does that repeats a request."""
    answer.start()
    for _ in range(2):
        answer.tokens(4)
        for event in answer.endings():
            answer.say(event)
    answer.write(LAST_CHUNK)


async def not_json(answer: Answer) -> None:
    answer.start()
    answer.tokens(2)
    answer.say(b"data: {'id': None}\n\n")
    answer.tokens(2, 2)
    answer.end()


async def json_of_another_shape(answer: Answer) -> None:
    answer.start()
    answer.tokens(2)
    answer.say(b"data: [1, 2]\n\n")
    answer.tokens(2, 2)
    answer.end()


async def a_page_instead(answer: Answer) -> None:
    """A proxy's page with 200."""
    page = b"<html><body>Sign in</body></html>"
    answer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page))


async def an_error_page_as_json(answer: Answer) -> None:
    """What Triton's `generate` does where a model answers more than once: HTTP 200, and an error as its body."""
    answer.write(document({"error": "generate expects model to produce exactly 1 response"}))


async def invalid_utf8(answer: Answer) -> None:
    answer.start()
    answer.tokens(2)
    answer.say(answer.event("caf\x00").replace(rb"\u0000", b"\xe9"))
    answer.tokens(1, 2)
    answer.end()


async def half_a_character_at_the_end(answer: Answer) -> None:
    answer.start()
    answer.tokens(3)
    answer.say(answer.event("\x00").replace(rb"\u0000", "🍵".encode()[:2]))
    answer.end()


async def fewer_tokens_than_were_asked_for(answer: Answer) -> None:
    """The reason to end is the length, and yet the usage says one token less than `max_tokens`."""
    answer.start()
    answer.tokens(4)
    body = {**answer.asked.body, "max_tokens": answer.asked.tokens - 1}
    for event in Asked(answer.asked.id, answer.asked.path, body).end():
        answer.say(event)
    answer.write(LAST_CHUNK)


async def no_tokens_by_the_usage(answer: Answer) -> None:
    answer.start()
    answer.tokens(4)
    for event in answer.endings():
        answer.say(event.replace(b'"completion_tokens":4', b'"completion_tokens":0'))
    answer.write(LAST_CHUNK)


async def silent_after_tokens(answer: Answer) -> None:
    answer.start()
    answer.tokens(3)
    await asyncio.Event().wait()


async def silent_before_the_head(answer: Answer) -> None:
    await asyncio.Event().wait()


async def trickling(answer: Answer) -> None:
    """A token now and then, and never an end."""
    answer.start()
    while True:
        answer.tokens(1)
        await asyncio.sleep(0.05)


async def of_another_request(answer: Answer) -> None:
    answer.start()
    answer.tokens(2)
    answer.say(answer.event(WORDS[2], id="another"))
    answer.tokens(1, 3)
    answer.end()


async def refused_as_an_event(answer: Answer) -> None:
    """Triton's answer where the first response is an error."""
    answer.start("400 Bad Request")
    answer.say(event_of({"error": "max_tokens must be at least 1"}))
    answer.write(LAST_CHUNK)


async def overloaded(answer: Answer) -> None:
    answer.write(document({"error": {"message": "too many requests"}}, "429 Too Many Requests"))


async def closed_before_the_head(answer: Answer) -> None:
    answer.close()


@dataclass(frozen=True)
class Broken:
    """A fault, the kind that the report calls it, what the example says, and the protocols that can have it."""

    fault: Fault
    kind: str
    text: str
    protocols: tuple[str, ...] = HTTP


BROKEN = (
    Broken(closed_after_the_head, "stream_cut", ""),
    Broken(closed_between_events, "stream_cut", ""),
    Broken(closed_inside_an_event, "stream_cut", ""),
    Broken(closed_inside_a_chunk, "stream_cut", ""),
    Broken(reset_between_events, "stream_cut", ""),
    Broken(closed_before_the_last_chunk, "stream_cut", ""),
    Broken(without_done, "stream_no_end", "[DONE]", OPENAI),
    Broken(without_a_finish_reason, "stream_no_end", "finish_reason", OPENAI),
    Broken(ended_inside_an_event, "stream_no_end", ""),
    Broken(ended_by_its_connection, "stream_no_end", ""),
    Broken(error_at_once, "stream_error", "out of memory"),
    Broken(error_after_tokens, "stream_error", "out of memory"),
    Broken(error_and_done, "stream_error", "out of memory", OPENAI),
    Broken(an_error_page_as_json, "stream_error", "exactly 1 response"),
    Broken(no_content, "stream_empty", ""),
    Broken(only_empty_pieces, "stream_empty", ""),
    Broken(content_after_the_end_mark, "stream_repeated", "", OPENAI),
    Broken(content_after_the_finish_reason, "stream_repeated", "", OPENAI),
    Broken(said_twice, "stream_repeated", "", OPENAI),
    Broken(not_json, "stream_malformed", "{'id': None}"),
    Broken(json_of_another_shape, "stream_malformed", "[1, 2]"),
    Broken(a_page_instead, "stream_malformed", "Sign in"),
    Broken(invalid_utf8, "stream_encoding", ""),
    Broken(half_a_character_at_the_end, "stream_encoding", ""),
    Broken(fewer_tokens_than_were_asked_for, "stream_truncated", "3", OPENAI),
    Broken(no_tokens_by_the_usage, "stream_truncated", "0", OPENAI),
    Broken(silent_after_tokens, "stream_stalled", ""),
    Broken(trickling, "stream_stalled", ""),
    Broken(silent_before_the_head, "timeout", ""),
    Broken(of_another_request, "stream_wrong_request", "another"),
    Broken(refused_as_an_event, "http_400", "max_tokens must be at least 1"),
    Broken(overloaded, "http_429", "too many requests"),
    Broken(closed_before_the_head, "reset", ""),
)


# --- unusual, and whole -----------------------------------------------------------------------------------------------


def whole(answer: Answer, tokens: int = 4) -> bytes:
    """All events of an answer."""
    opening = answer.asked.role() if answer.is_openai else b""
    return opening + b"".join([*(answer.event(WORDS[index]) for index in range(tokens)), *answer.endings()])


async def byte_by_byte(answer: Answer) -> None:
    answer.start()
    for byte in b"".join(map(chunk, [answer.event(" 🍵"), *answer.endings()])) + LAST_CHUNK:
        answer.write(bytes([byte]))
        await asyncio.sleep(0)


async def chunks_across_events(answer: Answer) -> None:
    """Chunks of seven bytes, whatever they cut: events, and the tea in two."""
    answer.start()
    content = answer.event(" 🍵 é") * 3 + b"".join(answer.endings())
    for start in range(0, len(content), 7):
        answer.say(content[start : start + 7])
        if start % 3 == 0:
            await answer.drain()
    answer.write(LAST_CHUNK)


async def all_in_one_chunk(answer: Answer) -> None:
    answer.start()
    answer.write(chunk(whole(answer)) + LAST_CHUNK)


async def with_a_length(answer: Answer) -> None:
    content = whole(answer)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(content)
    answer.write(head + content)


async def lines_end_with_crlf(answer: Answer) -> None:
    answer.start()
    answer.write(chunk(whole(answer).replace(b"\n", b"\r\n")) + LAST_CHUNK)


async def no_space_after_the_colon(answer: Answer) -> None:
    answer.start()
    answer.write(chunk(whole(answer).replace(b"data: ", b"data:")) + LAST_CHUNK)


async def pings_and_other_fields(answer: Answer) -> None:
    answer.start()
    answer.say(b": ping\n\n")
    for index in range(4):
        answer.say(
            b"event: message\nid: %d\nretry: 1000\nnot-a-field: x\n" % index
            + answer.event(WORDS[index])
            + b": ping\n\n"
        )
    answer.end()


async def data_over_two_lines(answer: Answer) -> None:
    answer.start()
    for index in range(4):
        answer.say(answer.event(WORDS[index]).replace(b",", b",\ndata: ", 1))
    answer.end()


async def escaped_characters(answer: Answer) -> None:
    r"""Every character that is not ASCII as \u, in two halves where it needs them."""
    answer.start()
    answer.say(answer.event("TEA").replace(b"TEA", rb"caf\u00e9 \ud83c\udf75 \"\\"))
    answer.end()


async def a_character_split_between_events(answer: Answer) -> None:
    answer.start()
    for half in ("🍵".encode()[:2], "🍵".encode()[2:]):
        answer.say(answer.event("TEA").replace(b"TEA", half))
    answer.end()


async def empty_pieces_between(answer: Answer) -> None:
    answer.start()
    for text in ("", " one", "", " two", ""):
        answer.say(answer.event(text))
    answer.end()


async def several_tokens_a_piece(answer: Answer) -> None:
    answer.start()
    for text in (" the river", " bends at"):
        answer.say(answer.event(text))
    answer.end()


async def with_a_trailer(answer: Answer) -> None:
    answer.start(framing="Trailer: x-cost\r\nTransfer-Encoding: chunked")
    answer.write(chunk(whole(answer)) + b"0\r\nx-cost: 3\r\n\r\n")


async def connection_closes_afterwards(answer: Answer) -> None:
    answer.start(framing="Connection: close\r\nTransfer-Encoding: chunked")
    answer.tokens(4)
    answer.end()
    answer.close()


async def usage_in_every_piece(answer: Answer) -> None:
    """As vLLM's `continuous_usage_stats`, and null in others."""
    answer.start()
    for index in range(4):
        usage = (
            b'"usage":{"prompt_tokens":1,"completion_tokens":%d}}\n\n' % (index + 1) if index else b'"usage":null}\n\n'
        )
        answer.say(answer.event(WORDS[index]).removesuffix(b"}\n\n") + b"," + usage)
    answer.end()


UNUSUAL = (
    byte_by_byte, chunks_across_events, all_in_one_chunk, with_a_length, lines_end_with_crlf, no_space_after_the_colon,
    pings_and_other_fields, data_over_two_lines, escaped_characters, a_character_split_between_events,
    empty_pieces_between, several_tokens_a_piece, with_a_trailer, connection_closes_afterwards, usage_in_every_piece,
)  # fmt: skip
