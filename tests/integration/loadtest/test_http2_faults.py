"""HTTP/2 as bad as servers and gateways can make it: each fault is what it is, nothing is lost, nothing hangs."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from typing import Any

import pytest
from http2_faults import HEAD, FaultConnection, answer, headers, serve_http2_faults, trailers

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.loadtest import ClosedLoop, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.clients import http2_frames as h2
from serve_deploy.loadtest.clients.grpc_messages import frame_message
from serve_deploy.loadtest.workers.pool import Workers
from serve_deploy.reports.point import Point

ENDED = h2.END_HEADERS | h2.END_STREAM


Run = Callable[..., Point]


@pytest.fixture
def run(generator: Workers) -> Run:
    """Send twenty requests; each ends in one way."""

    def measure(server: Any, **options: Any) -> Point:
        chosen = {"loads": (ClosedLoop(2),), "requests": 20, "timeout_seconds": 20.0, **options}
        endpoint = parse_endpoint(f"grpc://127.0.0.1:{server.port}")
        asked = LoadTestOptions(endpoint=endpoint, model="faulty", duration_seconds=None, warmup_seconds=0.0, **chosen)
        (point,) = run_loadtest(asked, workers=generator).points
        assert point.sent == point.succeeded + point.failed + point.timed_out + point.in_flight_at_end
        return point

    return measure


def kinds(point: Point) -> dict[str, int]:
    return {error.kind: error.count for error in point.errors}


async def succeed(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(answer(stream))


async def byte_by_byte(connection: FaultConnection, stream: int, number: int) -> None:
    await connection.drip(answer(stream))


async def padded(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(answer(stream, padding=bytes(100)))


async def chatty(connection: FaultConnection, stream: int, number: int) -> None:
    """Among the frames of the reply: an unknown frame, a PING, settings, windows, a priority, a push of nothing."""
    whole = answer(stream)
    cut = 9 + len(HEAD)
    more_settings = h2.frame(h2.SETTINGS, 0, 0, h2.SETTING.pack(h2.INITIAL_WINDOW_SIZE, 1000 + number))
    noise = h2.frame(99, 0xFF, stream, b"unknown") + h2.frame(h2.PING, 0, 0, b"12345678") + more_settings
    noise += h2.window_update(0, 1) + h2.window_update(stream, 1) + h2.frame(2, 0, stream, bytes(5))
    connection.write(whole[:cut] + noise + whole[cut:])


async def continued(connection: FaultConnection, stream: int, number: int) -> None:
    """Headers in several frames."""
    block, whole = headers((":status", "200"), ("x-long", "x" * 20_000)), answer(stream)
    connection.write(h2.frame(h2.HEADERS, 0, stream, block[:10]) + h2.frame(h2.CONTINUATION, 0, stream, block[10:9000]))
    connection.write(h2.frame(h2.CONTINUATION, h2.END_HEADERS, stream, block[9000:]) + whole[9 + len(HEAD) :])


async def cut_into_small_frames(connection: FaultConnection, stream: int, number: int) -> None:
    """A message in frames that are shorter than its prefix, and one that is empty."""
    connection.write(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, HEAD))
    for piece in (b"\0\0", b"", b"\0\0", b"\3a", b"bc"):
        connection.write(h2.frame(h2.DATA, 0, stream, piece))
    connection.write(h2.frame(h2.HEADERS, ENDED, stream, trailers()))


async def informed(connection: FaultConnection, stream: int, number: int) -> None:
    """A 103 before the headers proper."""
    connection.write(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, headers((":status", "103"))) + answer(stream))


async def large(connection: FaultConnection, stream: int, number: int) -> None:
    """A reply of a megabyte."""
    connection.write(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, HEAD))
    message = struct.pack(">BL", 0, 1 << 20) + bytes(1 << 20)
    for start in range(0, len(message), 16_384):
        connection.write(h2.frame(h2.DATA, 0, stream, message[start : start + 16_384]))
    connection.write(h2.frame(h2.HEADERS, ENDED, stream, trailers()))


@pytest.mark.parametrize(
    "behaviour",
    [succeed, byte_by_byte, padded, chatty, continued, cut_into_small_frames, informed, large],
)
def test_legitimate_replies_succeed(run: Run, behaviour: Any) -> None:
    """However a reply is cut, padded or mixed with other frames, it is a success."""
    with serve_http2_faults(behaviour) as server:
        point = run(server)
    assert (point.succeeded, point.errors, server.requests) == (20, (), 20)
    assert len(server.busy_connections) == 1


def test_pings_are_answered(run: Run) -> None:
    """Each PING comes back with its content: servers close connections that do not."""
    with serve_http2_faults(chatty) as server:
        run(server)
    assert server.frames.count((h2.PING, h2.ACK, 0, b"12345678")) >= 19


async def trailers_only(connection: FaultConnection, stream: int, number: int) -> None:
    block = headers((":status", "200"), ("grpc-status", "5"), ("grpc-message", "no%20such m%C3%B6del"))
    connection.write(h2.frame(h2.HEADERS, ENDED, stream, block))


async def unknown_status(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.HEADERS, ENDED, stream, headers((":status", "200"), ("grpc-status", "99"))))


async def http_error(connection: FaultConnection, stream: int, number: int) -> None:
    block = headers((":status", "503"), ("content-type", "text/html"))
    connection.write(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, block))
    connection.write(h2.frame(h2.DATA, h2.END_STREAM, stream, b"<html>no healthy upstream</html>"))


async def no_status(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(answer(stream)[: 9 + len(HEAD)] + h2.frame(h2.DATA, h2.END_STREAM, stream, bytes(5)))


async def too_short(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(answer(stream)[: 9 + len(HEAD)] + h2.frame(h2.DATA, 0, stream, struct.pack(">BL", 0, 9) + b"abc"))
    connection.write(h2.frame(h2.HEADERS, ENDED, stream, trailers()))


async def two_messages(connection: FaultConnection, stream: int, number: int) -> None:
    whole, more = answer(stream), h2.frame(h2.DATA, 0, stream, frame_message(b""))
    connection.write(whole[: 9 + len(HEAD)] + more + whole[9 + len(HEAD) :])


async def no_message(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.HEADERS, ENDED, stream, HEAD + trailers()))


async def reset_internal(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.RST_STREAM, 0, stream, (2).to_bytes(4, "big")))


async def reset_refused(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.RST_STREAM, 0, stream, h2.REFUSED_STREAM.to_bytes(4, "big")))


async def reset_half_way(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(answer(stream)[: 9 + len(HEAD)] + h2.frame(h2.RST_STREAM, 0, stream, h2.CANCEL.to_bytes(4, "big")))


async def close(connection: FaultConnection, stream: int, number: int) -> None:
    connection.close()


async def close_half_way(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(answer(stream)[:-5])
    connection.close()


async def reset_connection(connection: FaultConnection, stream: int, number: int) -> None:
    connection.reset()


async def complain(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.GOAWAY, 0, 0, struct.pack(">LL", stream, 11) + b"too_many_pings"))
    connection.close()


async def garbage(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def endless_headers(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.HEADERS, 0, stream, HEAD))
    for _ in range(40):
        connection.write(h2.frame(h2.CONTINUATION, 0, stream, bytes(16_000)))


async def interrupted_headers(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.HEADERS, 0, stream, HEAD) + h2.frame(h2.PING, 0, 0, bytes(8)))


async def table_of_its_own(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, b"\xbe"))


async def all_padding(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.DATA, h2.PADDED, stream, b"\x05abc"))


@pytest.mark.parametrize(
    ("behaviour", "kind", "text"),
    [
        (trailers_only, "grpc_not_found", "no such mödel"),
        (unknown_status, "grpc_unknown", ""),
        (http_error, "grpc_unavailable", "HTTP 503"),
        (no_status, "grpc_unknown", "without a status"),
        (too_short, "protocol", "8 bytes and says 14"),
        (two_messages, "protocol", "10 bytes and says 5"),
        (no_message, "protocol", "0 bytes"),
        (reset_internal, "grpc_internal", "HTTP/2 error 2"),
        (reset_refused, "grpc_unavailable", "HTTP/2 error 7"),
        (reset_half_way, "grpc_cancelled", "HTTP/2 error 8"),
        (close, "reset", "before it replied"),
        (close_half_way, "reset", "in the middle of its reply"),
        (reset_connection, "reset", "reset"),
        (complain, "reset", "too_many_pings"),
        (garbage, "protocol", "a frame of"),
        (endless_headers, "protocol", "headers of more than"),
        (interrupted_headers, "protocol", "without its end"),
        (table_of_its_own, "protocol", "headers cannot be read"),
        (all_padding, "protocol", "all padding"),
    ],
)
def test_faults_are_failures_of_their_kind(run: Run, behaviour: Any, kind: str, text: str) -> None:
    """What is no whole, successful reply is a failure with an example, and never a fast success."""
    with serve_http2_faults(behaviour) as server:
        # One at a time: a connection that ends would take the other's call along.
        point = run(server, loads=(ClosedLoop(1),))
    assert (point.sent, point.succeeded, kinds(point)) == (20, 0, {kind: 20})
    assert text in point.errors[0].example


def test_graceful_end_of_a_connection_loses_nothing(run: Run) -> None:
    """A server that retires its connections: calls under way end there, further ones go to a new connection."""

    async def retire(connection: FaultConnection, stream: int, number: int) -> None:
        if number % 5 == 4:
            connection.write(h2.frame(h2.GOAWAY, 0, 0, struct.pack(">LL", h2.LARGEST, 0)))
        connection.write(answer(stream))

    with serve_http2_faults(retire) as server:
        point = run(server, requests=40, loads=(ClosedLoop(4),))
    assert (point.succeeded, point.errors, server.requests) == (40, (), 40)
    assert len(server.busy_connections) >= 5


def test_calls_that_a_leaving_server_did_not_take_are_sent_again(run: Run) -> None:
    """GOAWAY names the last call that the server looked at; those after it succeed on a new connection."""

    async def leave(connection: FaultConnection, stream: int, number: int) -> None:
        if connection.requests < 3:
            connection.write(answer(stream))
        else:
            connection.write(h2.frame(h2.GOAWAY, 0, 0, struct.pack(">LL", stream - 2, 0)))

    with serve_http2_faults(leave) as server:
        point = run(server, requests=10, loads=(ClosedLoop(1),))
    assert (point.sent, point.succeeded, point.errors) == (10, 10, ())
    assert server.requests > 10


def test_a_call_is_sent_again_only_once(run: Run) -> None:
    """A server that takes no call at all ends each of them as a failure, not as an endless repetition."""

    async def refuse_all(connection: FaultConnection, stream: int, number: int) -> None:
        connection.write(h2.frame(h2.GOAWAY, 0, 0, struct.pack(">LL", 0, 0)))

    with serve_http2_faults(refuse_all) as server:
        point = run(server, requests=4, loads=(ClosedLoop(1),))
        assert server.requests == 8
    assert kinds(point) == {"reset": 4}


def test_server_that_leaves_without_a_word_is_found_again(run: Run) -> None:
    """Idle connections that were closed in between are replaced; only calls under way then have failed."""

    async def close_each_tenth(connection: FaultConnection, stream: int, number: int) -> None:
        connection.write(answer(stream))
        if number % 10 == 9:
            connection.close()

    with serve_http2_faults(close_each_tenth) as server:
        point = run(server, requests=40, loads=(ClosedLoop(1),))
    assert point.succeeded >= 36
    assert set(kinds(point)) <= {"reset"}


def test_silence_times_out_and_late_replies_are_ignored(run: Run) -> None:
    """A call without an answer is given up and cancelled; its late answer is not taken for another's."""

    async def late(connection: FaultConnection, stream: int, number: int) -> None:
        if number % 2:
            connection.write(answer(stream - 2) + answer(stream))

    with serve_http2_faults(late) as server:
        point = run(server, requests=4, loads=(ClosedLoop(1),), timeout_seconds=1.5)
    assert (point.succeeded, kinds(point)) == (2, {"timeout": 2})
    assert len(server.busy_connections) == 1
    assert sum(kind == h2.RST_STREAM for kind, *_ in server.frames) == 2


def test_stalled_window_times_out(run: Run) -> None:
    """A server that takes no more bodies times out, and holds nobody up."""

    async def stall(connection: FaultConnection, stream: int, number: int) -> None:
        connection.write(h2.frame(h2.SETTINGS, 0, 0, h2.SETTING.pack(h2.INITIAL_WINDOW_SIZE, 0)) + answer(stream))

    with serve_http2_faults(stall) as server:
        point = run(server, requests=3, loads=(ClosedLoop(1),), timeout_seconds=1.5)
        assert server.requests == 1
    assert (point.succeeded, kinds(point)) == (1, {"timeout": 2})


def test_server_that_allows_one_call_a_connection_gets_more_connections(run: Run) -> None:
    """The server's limit of streams is kept."""
    with serve_http2_faults(succeed, (h2.MAX_CONCURRENT_STREAMS, 1)) as server:
        point = run(server, loads=(ClosedLoop(4),))
    assert (point.succeeded, len(server.busy_connections)) == (20, 4)


@pytest.mark.parametrize("size", [0, 4096])
def test_headers_arrive_with_and_without_a_table(run: Run, size: int) -> None:
    """Every call has all its headers, those of ours included, whether they travel whole or as pointers."""
    with serve_http2_faults(succeed, (h2.HEADER_TABLE_SIZE, size)) as server:
        point = run(server)
    assert point.succeeded == 20
    wanted = {
        ":method": "POST", ":scheme": "http", ":path": "/inference.GRPCInferenceService/ModelInfer",
        ":authority": f"127.0.0.1:{server.port}", "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    assert server.calls == [wanted] * 20
    (connection,) = server.busy_connections
    first, second, *_ = [len(payload) for kind, _, _, payload in connection.frames if kind == h2.HEADERS]
    assert (first == second) == (size == 0)


def test_compressed_replies_are_read(run: Run) -> None:
    """A server may compress where it was told that it can."""

    async def compress(connection: FaultConnection, stream: int, number: int) -> None:
        body = gzip.compress(b"")
        whole = answer(stream)
        framed = b"\1" + len(body).to_bytes(4, "big") + body
        connection.write(whole[: 9 + len(HEAD)] + h2.frame(h2.DATA, 0, stream, framed))
        connection.write(h2.frame(h2.HEADERS, ENDED, stream, trailers()))

    with serve_http2_faults(compress) as server:
        assert run(server).succeeded == 20


def streamed(stream: int, *, is_final: bool = True, error: str = "") -> bytes:
    """One response of a stream, in a DATA frame."""
    from tritonclient.grpc import service_pb2

    response = service_pb2.ModelStreamInferResponse(error_message=error)
    response.infer_response.outputs.add(name="OUT")
    response.infer_response.parameters["triton_final_response"].bool_param = is_final
    return h2.frame(h2.DATA, 0, stream, frame_message(response.SerializeToString()))


async def stream_twice(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(streamed(stream, is_final=False) + streamed(stream))


async def stream_error(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(streamed(stream, error="out of tokens"))


async def stream_status(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(streamed(stream, is_final=False))
    connection.write(h2.frame(h2.HEADERS, ENDED, stream, trailers(13, "crashed")))


async def stream_end(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(streamed(stream, is_final=False) + h2.frame(h2.HEADERS, ENDED, stream, trailers()))


async def stream_close(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(streamed(stream, is_final=False))
    connection.close()


async def stream_silence(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(streamed(stream, is_final=False))


async def stream_and_retire(connection: FaultConnection, stream: int, number: int) -> None:
    connection.write(h2.frame(h2.GOAWAY, 0, 0, struct.pack(">LL", h2.LARGEST, 0)) + streamed(stream))


@pytest.mark.parametrize(
    ("behaviour", "kind", "text"),
    [
        (stream_error, "grpc_stream_error", "out of tokens"),
        (stream_status, "grpc_internal", "crashed"),
        (stream_end, "reset", "the server ended the stream"),
        (stream_close, "reset", "the server closed the connection"),
        (reset_internal, "grpc_internal", "HTTP/2 error 2"),
        (stream_silence, "timeout", ""),
    ],
)
def test_streams_fail_by_their_kind(run: Run, behaviour: Any, kind: str, text: str) -> None:
    """A stream that ends before its final response has failed, and the next request has another stream."""
    with serve_http2_faults(behaviour) as server:
        # Where nothing comes, it is waited for.
        requests, timeout_seconds = (2, 1.5) if kind == "timeout" else (6, 20)
        point = run(server, streaming=True, requests=requests, loads=(ClosedLoop(1),), timeout_seconds=timeout_seconds)
    assert (point.succeeded, kinds(point)) == (0, {kind: requests})
    assert text in point.errors[0].example


@pytest.mark.parametrize("behaviour", [stream_twice, stream_and_retire])
def test_streams_succeed(run: Run, behaviour: Any) -> None:
    """Requests end with their final response, also where the server retires a connection in between."""
    with serve_http2_faults(behaviour) as server:
        point = run(server, streaming=True, requests=10)
    assert (point.succeeded, point.errors, server.requests) == (10, (), 10)


def test_streams_leave_a_connection_that_is_retired(run: Run) -> None:
    """After the request that was under way, a stream goes on over another connection."""
    with serve_http2_faults(stream_and_retire) as server:
        run(server, streaming=True, requests=6, loads=(ClosedLoop(1),))
    assert len(server.busy_connections) == 6
