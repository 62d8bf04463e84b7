"""Text is taken out of gRPC responses as if they were parsed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from serve_deploy.generation.response_shape import ResponseShape


def respond(text: bytes, *, id: str = "7", count: int | None = None, is_final: bool = False) -> tuple[bytes, bytes]:
    """A response, and its tensor of text."""
    reply: Any = service_pb2.ModelInferResponse(model_name="llm", model_version="1", id=id)
    reply.parameters["triton_final_response"].bool_param = is_final
    content = len(text).to_bytes(4, "little") + text
    reply.outputs.add(name="text_output", datatype="BYTES", shape=[1])
    reply.raw_output_contents.append(content)
    if count is not None:
        reply.outputs.add(name="num_output_tokens", datatype="UINT32", shape=[1])
        reply.raw_output_contents.append(count.to_bytes(4, "little"))
    return service_pb2.ModelStreamInferResponse(infer_response=reply).SerializeToString(), content


def learned(text: bytes, **options: Any) -> ResponseShape:
    shape = ResponseShape()
    shape.learn(*respond(text, **options), options.get("count") or 0)
    return shape


texts = st.binary(min_size=1, max_size=200)


@given(texts, texts, st.sampled_from([None, 1, 3]))
def test_a_like_response_is_read_as_it_would_be_parsed(first: bytes, second: bytes, count: int | None) -> None:
    """Or left to the parser."""
    assert learned(first, count=count).read(respond(second, count=count)[0]) in (second, None)


def test_short_texts_are_read() -> None:
    """Of any length that a token has, whatever the length of the learned one."""
    shape = learned(b"a", count=1)
    assert [shape.read(respond(b"x" * size, count=1)[0]) for size in (1, 9, 120)] == [b"x", b"x" * 9, b"x" * 120]


def test_other_responses_are_left_to_the_parser() -> None:
    """Another request's, another count, the final one, an error, what is cut short, nothing."""
    shape = learned(b"a", count=1)
    error = service_pb2.ModelStreamInferResponse(error_message="no memory" * 20).SerializeToString()
    cut = respond(b"abc", count=1)[0].replace(b"\x03\0\0\0abc", b"\x09\0\0\0abc")
    others = (
        respond(b"b", count=1, id="8")[0], respond(b"b", count=2)[0], respond(b"b", count=1, is_final=True)[0], error,
        cut, b"",
    )  # fmt: skip
    assert [shape.read(other) for other in others] == [None] * 6


@given(texts, st.binary(max_size=300))
def test_nothing_is_read_out_of_other_bytes(text: bytes, message: bytes) -> None:
    """And nothing fails."""
    assert learned(text).read(message) is None
