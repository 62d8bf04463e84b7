"""Streamed answers of a language model over gRPC (ModelStreamInfer) that break, each in its own way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from http2_faults import HEAD, FaultConnection, Http2FaultServer, serve_http2_faults, trailers
from openai_server import WORDS

from serve_deploy.loadtest.clients import http2_frames as h2
from serve_deploy.loadtest.clients.grpc_messages import MessageReader, frame_message

ENDED = h2.END_HEADERS | h2.END_STREAM


class GrpcAnswer:
    """One answer, written message by message."""

    def __init__(self, connection: FaultConnection, stream: int, id: str) -> None:
        self._connection, self._stream, self.id = connection, stream, id
        self.has_begun = False

    def write(self, data: bytes) -> None:
        self._connection.write(data)

    def close(self) -> None:
        self._connection.close()

    def reset(self) -> None:
        self._connection.reset()

    def start(self) -> None:
        """The headers, which come once, however many requests the stream carries."""
        if not self.has_begun:
            self.write(h2.frame(h2.HEADERS, h2.END_HEADERS, self._stream, HEAD))

    def send(self, message: bytes) -> None:
        """A message in a frame of its own."""
        self.write(h2.frame(h2.DATA, 0, self._stream, frame_message(message)))

    def send_part(self, part: bytes) -> None:
        self.write(h2.frame(h2.DATA, 0, self._stream, part))

    def piece(self, text: str | bytes | None, *, is_final: bool = False, id: str | None = None) -> bytes:
        """A response with this text; None: without outputs."""
        from tritonclient.grpc import service_pb2

        reply = service_pb2.ModelInferResponse(model_name="llm", model_version="1", id=self.id if id is None else id)
        reply.parameters["triton_final_response"].bool_param = is_final
        if text is not None:
            content = text.encode() if isinstance(text, str) else text
            reply.outputs.add(name="text_output", datatype="BYTES", shape=[1])
            reply.raw_output_contents.append(len(content).to_bytes(4, "little") + content)
        message = service_pb2.ModelStreamInferResponse(infer_response=reply)
        return bytes(message.SerializeToString())

    def failure(self, text: str) -> bytes:
        """The response that says an error."""
        from tritonclient.grpc import service_pb2

        return bytes(service_pb2.ModelStreamInferResponse(error_message=text).SerializeToString())

    def tokens(self, count: int) -> None:
        for index in range(count):
            self.send(self.piece(WORDS[index]))

    def end(self, status: int = 0, message: str = "") -> None:
        """The trailers."""
        self.write(h2.frame(h2.HEADERS, ENDED, self._stream, trailers(status, message)))

    def reset_stream(self, code: int) -> None:
        self.write(h2.frame(h2.RST_STREAM, 0, self._stream, code.to_bytes(4, "big")))


GrpcFault = Callable[[GrpcAnswer], Awaitable[None]]


@contextmanager
def serve_grpc_streams(fault: GrpcFault) -> Iterator[Http2FaultServer]:
    """A gRPC server of the model `llm` that answers every stream's request as `fault` does."""
    from tritonclient.grpc import service_pb2

    async def behave(connection: FaultConnection, stream: int, number: int) -> None:
        key, payload = (id(connection), stream), connection.frames[-1][3]
        for message in readers.setdefault(key, MessageReader()).feed(payload):
            answer = GrpcAnswer(connection, stream, service_pb2.ModelInferRequest.FromString(message).id)
            answer.has_begun = key in begun
            begun.add(key)
            tasks.append(asyncio.create_task(fault(answer)))  # type: ignore[arg-type]

    readers: dict[tuple[int, int], MessageReader] = {}
    begun: set[tuple[int, int]] = set()
    tasks: list[asyncio.Task[Any]] = []
    with serve_http2_faults(behave, model="llm") as server:
        yield server


# --- broken -----------------------------------------------------------------------------------------------------------


async def connection_closed(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(3)
    answer.close()


async def connection_reset(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(3)
    await asyncio.sleep(0.01)
    answer.reset()


async def closed_inside_a_message(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(2)
    answer.send_part(frame_message(answer.piece(WORDS[2]))[:-4])
    answer.close()


async def call_reset(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(3)
    answer.reset_stream(2)


async def ended_without_the_final_flag(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(4)
    answer.end()


async def ended_inside_a_message(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(2)
    answer.send_part(frame_message(answer.piece(WORDS[2], is_final=True))[:-4])
    answer.end()


async def error_at_once(answer: GrpcAnswer) -> None:
    answer.start()
    answer.send(answer.failure("out of memory"))


async def error_after_tokens(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(3)
    answer.send(answer.failure("out of memory"))


async def only_the_final_flag(answer: GrpcAnswer) -> None:
    answer.start()
    answer.send(answer.piece(None, is_final=True))


async def only_empty_pieces(answer: GrpcAnswer) -> None:
    answer.start()
    for is_final in (False, False, True):
        answer.send(answer.piece("", is_final=is_final))


async def content_after_the_final_flag(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(3)
    final, late = answer.piece(WORDS[3], is_final=True), answer.piece(WORDS[4])
    answer.send_part(frame_message(final) + frame_message(late))


async def no_protobuf(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(2)
    answer.send(b"\xff\xff\xff\xff")


async def strings_cut_short(answer: GrpcAnswer) -> None:
    """The bytes of the text's tensor say that they are longer than they are."""
    answer.start()
    answer.tokens(2)
    whole = answer.piece("river")
    answer.send(whole.replace(b"\x05\0\0\0river", b"\x09\0\0\0river"))
    answer.send(answer.piece(WORDS[3], is_final=True))


async def invalid_utf8(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(2)
    answer.send(answer.piece(b"caf\xe9", is_final=True))


async def silent_after_tokens(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(3)


async def silent_at_once(answer: GrpcAnswer) -> None:
    """Not even headers."""


async def of_another_request(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(2)
    answer.send(answer.piece(WORDS[2], id="another"))
    answer.send(answer.piece(WORDS[3], is_final=True))


async def status_after_tokens(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(3)
    answer.end(14, "draining")


async def refused(answer: GrpcAnswer) -> None:
    answer.start()
    answer.end(8, "too many requests")


@dataclass(frozen=True)
class BrokenGrpc:
    """A fault, the kind that the report calls it, and what the example says."""

    fault: GrpcFault
    kind: str
    text: str = ""


BROKEN = (
    BrokenGrpc(connection_closed, "stream_cut"),
    BrokenGrpc(connection_reset, "stream_cut"),
    BrokenGrpc(closed_inside_a_message, "stream_cut"),
    BrokenGrpc(call_reset, "grpc_internal"),
    BrokenGrpc(ended_without_the_final_flag, "stream_no_end"),
    BrokenGrpc(ended_inside_a_message, "stream_no_end"),
    BrokenGrpc(error_at_once, "stream_error", "out of memory"),
    BrokenGrpc(error_after_tokens, "stream_error", "out of memory"),
    BrokenGrpc(only_the_final_flag, "stream_empty"),
    BrokenGrpc(only_empty_pieces, "stream_empty"),
    BrokenGrpc(content_after_the_final_flag, "stream_repeated"),
    BrokenGrpc(no_protobuf, "stream_malformed"),
    BrokenGrpc(strings_cut_short, "stream_malformed"),
    BrokenGrpc(invalid_utf8, "stream_encoding"),
    BrokenGrpc(silent_after_tokens, "stream_stalled"),
    BrokenGrpc(silent_at_once, "timeout"),
    BrokenGrpc(of_another_request, "stream_wrong_request", "another"),
    BrokenGrpc(status_after_tokens, "grpc_unavailable", "draining"),
    BrokenGrpc(refused, "grpc_resource_exhausted", "too many requests"),
)


# --- unusual, and whole -----------------------------------------------------------------------------------------------


async def final_flag_with_the_last_token(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(3)
    answer.send(answer.piece(WORDS[3], is_final=True))


async def final_flag_alone(answer: GrpcAnswer) -> None:
    answer.start()
    answer.tokens(4)
    answer.send(answer.piece(None, is_final=True))


async def messages_across_frames(answer: GrpcAnswer) -> None:
    """Frames of seven bytes."""
    answer.start()
    content = b"".join(frame_message(answer.piece(" 🍵", is_final=index == 3)) for index in range(4))
    for start in range(0, len(content), 7):
        answer.send_part(content[start : start + 7])
        await asyncio.sleep(0)


async def all_in_one_frame(answer: GrpcAnswer) -> None:
    answer.start()
    answer.send_part(b"".join(frame_message(answer.piece(WORDS[index], is_final=index == 3)) for index in range(4)))


async def a_character_split_between_messages(answer: GrpcAnswer) -> None:
    answer.start()
    answer.send(answer.piece("🍵".encode()[:2]))
    answer.send(answer.piece("🍵".encode()[2:], is_final=True))


async def empty_pieces_between(answer: GrpcAnswer) -> None:
    answer.start()
    for text in ("", " one", "", " two"):
        answer.send(answer.piece(text))
    answer.send(answer.piece("", is_final=True))


UNUSUAL = (
    final_flag_with_the_last_token, final_flag_alone, messages_across_frames, all_in_one_frame,
    a_character_split_between_messages, empty_pieces_between,
)  # fmt: skip
