"""TLS, mTLS, tokens and headers, over HTTPS and gRPC."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from fault_servers import make_certificates, reply, serve_faults, serve_grpc_faults

from serve_deploy.endpoint.address import TlsOptions, parse_endpoint
from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.loadtest import ClosedLoop, LoadTestOptions, run_loadtest
from serve_deploy.reports.report import LoadTestReport

Certificates = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def run(url: str, tls: TlsOptions, **endpoint: Any) -> LoadTestReport:
    return run_loadtest(
        LoadTestOptions(
            endpoint=parse_endpoint(url, tls=tls, **endpoint), model="faulty", loads=(ClosedLoop(2),), requests=10,
            duration_seconds=None, warmup_seconds=0, timeout_seconds=5,
        )
    )  # fmt: skip


def server_context(certificates: Certificates, *, mutual: bool) -> ssl.SSLContext:
    authority, certificate, key = certificates
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
    return context


async def answer(_number: int, writer: Any) -> None:
    writer.write(reply(b"{}"))


def grpc_answer(_request: Any, _context: Any) -> Any:
    from tritonclient.grpc import service_pb2

    return service_pb2.ModelInferResponse()


def grpc_credentials(certificates: Certificates, *, mutual: bool) -> Any:
    import grpc

    authority, certificate, key = (path.read_bytes() for path in certificates)
    return grpc.ssl_server_credentials([(key, certificate)], authority if mutual else None, mutual)


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_https(certificates: Certificates, mutual: bool) -> None:
    """A known authority is trusted; our own certificate is shown where it is asked for; headers arrive."""
    authority, certificate, key = certificates
    tls = TlsOptions(ca_file=authority, certificate_file=certificate if mutual else None, key_file=key)
    with serve_faults(answer, server_context(certificates, mutual=mutual)) as server:
        report = run(f"https://localhost:{server.port}", tls, headers=(("Authorization", "Bearer secret"),))
    assert report.points[0].succeeded == 10
    assert {headers["authorization"] for headers in server.headers} == {"Bearer secret"}
    assert "secret" not in report.model_dump_json()


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_grpcs(certificates: Certificates, mutual: bool) -> None:
    """The same over gRPC."""
    authority, certificate, key = certificates
    tls = TlsOptions(
        ca_file=authority, certificate_file=certificate if mutual else None, key_file=key if mutual else None
    )
    with serve_grpc_faults(grpc_answer, grpc_credentials(certificates, mutual=mutual)) as port:
        report = run(f"grpcs://localhost:{port}", tls, headers=(("Authorization", "Bearer secret"),))
    assert report.points[0].succeeded == 10


def test_refused_certificate_is_said_before_the_first_request(certificates: Certificates) -> None:
    """An unknown authority is refused by name, with the option that would help; --insecure accepts it."""
    with serve_faults(answer, server_context(certificates, mutual=False)) as server:
        with pytest.raises(EndpointError, match="certificate was refused") as caught:
            run(f"https://localhost:{server.port}", TlsOptions())
        assert "`ca_file`" in (caught.value.hint or "")
        assert run(f"https://localhost:{server.port}", TlsOptions(insecure=True)).points[0].succeeded == 10


def test_refused_certificate_over_grpc(certificates: Certificates) -> None:
    """gRPC refuses an unknown authority too."""
    with (
        serve_grpc_faults(grpc_answer, grpc_credentials(certificates, mutual=False)) as port,
        pytest.raises(EndpointError, match="cannot be reached"),
    ):
        run(f"grpcs://localhost:{port}", TlsOptions())


def test_missing_tls_files_are_named(tmp_path: Path) -> None:
    """A certificate file that is not there is a usage error with its path, for both protocols."""
    for url in ("https://localhost:1", "grpcs://localhost:1"):
        with pytest.raises(UsageError, match=r"nothing\.pem"):
            run(url, TlsOptions(ca_file=tmp_path / "nothing.pem"))
