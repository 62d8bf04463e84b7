"""The slot of a load test of a language model over gRPC: a stream that carries one request at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

from serve_deploy.generation import faults
from serve_deploy.generation.answer import Answer
from serve_deploy.generation.pieces import Piece
from serve_deploy.generation.response_shape import ResponseShape
from serve_deploy.loadtest.clients.exchange import Exchange
from serve_deploy.loadtest.clients.generation_exchange import PromptRequest
from serve_deploy.loadtest.clients.grpc_messages import Failure
from serve_deploy.loadtest.clients.grpc_slots import StreamSlot

_INPUT_TOKENS, _OUTPUT_TOKENS = "num_input_tokens", "num_output_tokens"


class AnswerStreamSlot(StreamSlot):
    """Takes the text out of every response, until the one that says that it is the last."""

    request: PromptRequest

    def __init__(self, exchange: Exchange, text_output: str) -> None:
        from google.protobuf.message import DecodeError

        super().__init__(exchange, None)
        self._unreadable = (DecodeError, ValueError, IndexError)
        self._text_output = text_output
        self._shape = ResponseShape()
        self._loop = asyncio.get_running_loop()
        self._is_over = False
        self.free_since = math.inf

    def send(self, intended: float) -> None:
        """Send the next request; `intended` is when that was meant to happen."""
        self._is_over = False
        super().send(intended)

    def on_message(self, message: bytes, received_at: float) -> None:
        """Called by the stream."""
        if not self.is_busy:
            return
        answer = self.request.answer
        answer.has_begun = True
        text = self._shape.read(message)
        if text and not self._is_over:
            answer.times.append(received_at)
            answer.parts.append(text)
            if self._shape.tokens:
                answer.output_tokens = (answer.output_tokens or 0) + self._shape.tokens
            return
        try:
            response = self._parse(message)
            reply = response.infer_response
            if reply.outputs:
                self._take_outputs(answer, reply, received_at, message)
        except self._unreadable as error:
            answer.blame(faults.MALFORMED, f"a response cannot be read: {error}")
            self._break_off(answer)
            return
        if response.error_message:
            answer.blame(faults.ERROR, response.error_message)
            self._break_off(answer)
        elif reply.id != answer.request_id:
            answer.blame(faults.WRONG_REQUEST, f"a piece of {reply.id} came in the answer to {answer.request_id}")
        if reply.parameters["triton_final_response"].bool_param and not self._is_over:
            self._is_over = True
            # What came together with it is still to be read.
            self._loop.call_soon(self._conclude, answer)

    def _take_outputs(self, answer: Answer, reply: Any, at: float, message: bytes) -> None:
        if self._is_over:
            answer.blame(faults.REPEATED, "a response came after the final one")
        content, said, read = b"", None, None
        for index, output in enumerate(reply.outputs):
            name = output.name
            if name == self._text_output:
                content = reply.raw_output_contents[index]
            elif name == _OUTPUT_TOKENS:
                said = _sum_counts(reply.raw_output_contents[index])
            elif name == _INPUT_TOKENS:
                read = _sum_counts(reply.raw_output_contents[index])
        text = _read_text(content)
        answer.add(Piece(input_tokens=read, tokens=said), text, at)
        if text and len(text) == len(content) - 4 and not reply.parameters["triton_final_response"].bool_param:
            self._shape.learn(message, content, said or 0)

    def _conclude(self, answer: Answer) -> None:
        if self.is_busy and self.request.answer is answer:
            self._finish(None)

    def _break_off(self, answer: Answer) -> None:
        """Whatever still comes of this request must not be taken for the next one's."""
        if self.is_busy:
            self._leave()
            self.is_busy = False
            self.exchange.fail(self, *(answer.fault or (faults.ERROR, "")))

    def on_end(self, failure: Failure | None) -> None:
        """Called by the stream."""
        if not failure and self.is_busy:
            failure = (faults.NO_END, "the server ended the stream without a final response")
        super().on_end(failure)


def _read_text(content: bytes) -> bytes:
    """The strings of a BYTES tensor, put together; ValueError where it is cut short."""
    return b"".join(_read_strings(content))


def _read_strings(content: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(content):
        start = position + 4
        position = start + int.from_bytes(content[position:start], "little")
        if position > len(content):
            raise ValueError("a string is longer than its tensor")
        yield content[start:position]


def _sum_counts(content: bytes) -> int:
    return sum(memoryview(content).cast("I"))
