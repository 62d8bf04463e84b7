"""The gRPC hot loop against gRPC's own server: large bodies, connections that age, certificates."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from fault_servers import make_certificates, serve_grpc_faults

from serve_deploy.endpoint.address import Endpoint, TlsOptions
from serve_deploy.loadtest.clients.exchange import Exchange, Request
from serve_deploy.loadtest.clients.grpc_client import GrpcClient
from serve_deploy.loadtest.clients.grpc_messages import frame_message
from serve_deploy.loadtest.workers.closed_period import ClosedPeriod

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def carry_out(endpoint: Endpoint, message: bytes, *, requests: int, users: int) -> Exchange:
    """Send the message this often; returns what was recorded."""
    request = Request(frame_message(message))

    async def measure() -> Exchange:
        exchange = Exchange(lambda: lambda: request, 20)
        exchange.client = client = GrpcClient(endpoint, exchange)
        period = ClosedPeriod(exchange, users, end=time.monotonic() + 60, requests=requests)
        await exchange.open_slots(users)
        exchange.begin(period)
        await period.start()
        await period.done
        await client.close()
        return exchange

    return asyncio.run(measure())


def outcomes(exchange: Exchange) -> list[float]:
    return exchange.recorder.flat[3::4]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("scheme", ["grpc", "grpcs"])
@pytest.mark.parametrize("size", [10, 600_000, 5_000_000])
def test_bodies_of_any_size_arrive_and_come_back(certificates: Any, scheme: Any, size: int) -> None:
    """What is larger than frames, windows and sockets' buffers travels whole, in both directions."""
    import grpc
    from tritonclient.grpc import service_pb2

    wrong = []

    def echo(request: Any, context: Any) -> Any:
        if request.raw_input_contents != [b"x" * size]:
            wrong.append(len(request.raw_input_contents[0]))
        return service_pb2.ModelInferResponse(raw_output_contents=request.raw_input_contents)

    authority, certificate, key = certificates
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    message = service_pb2.ModelInferRequest(raw_input_contents=[b"x" * size]).SerializeToString()
    with serve_grpc_faults(echo, credentials if scheme == "grpcs" else None, UNLIMITED) as port:
        endpoint = Endpoint(scheme=scheme, host="localhost", port=port, tls=TlsOptions(ca_file=authority))
        recorded = carry_out(endpoint, message, requests=12, users=4)
    assert (outcomes(recorded), wrong, recorded.recorder.kinds) == ([0.0] * 12, [], {})


def test_connections_that_age_lose_no_request() -> None:
    """A server that ends each connection after a tenth of a second, as gRPC's maximum age does, loses nothing."""
    from tritonclient.grpc import service_pb2

    peers = set()

    def answer(request: Any, context: Any) -> Any:
        peers.add(context.peer())
        return service_pb2.ModelInferResponse()

    with serve_grpc_faults(answer, options=(("grpc.max_connection_age_ms", 100),)) as port:
        recorded = carry_out(Endpoint(scheme="grpc", host="127.0.0.1", port=port), b"", requests=1000, users=4)
    assert (outcomes(recorded), recorded.recorder.kinds) == ([0.0] * 1000, {})
    assert len(peers) > 1
