"""Load tests of language models: which server is asked, over what, and what is refused before the first request."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from broken_streams import HTTP, Answer, Fault, serve_streams
from fault_servers import make_certificates, reply, serve_faults
from openai_server import RunningServer, running_openai_server
from token_stream import read_streams
from web_server import served

from serve_deploy.endpoint.address import TlsOptions, parse_endpoint
from serve_deploy.errors import EndpointError, ServeError, UsageError
from serve_deploy.loadtest import ClosedLoop, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.live import LiveSnapshot
from serve_deploy.loadtest.options import GenerationOptions
from serve_deploy.prompts.options import PromptOptions
from serve_deploy.reports.report import LoadTestReport

FAST = (("ttft_ms", 5), ("itl_ms", 1))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that has OpenAI's protocol and no other."""
    with running_openai_server(tmp_path_factory.mktemp("generation") / "streams.jsonl") as running:
        yield running


def run(url: str, generate: Any = "auto", **options: Any) -> LoadTestReport:
    tls = options.pop("tls", TlsOptions())
    asked = GenerationOptions(generate=generate, max_tokens=4, parameters=FAST)
    chosen = {"model": "llm", "requests": 10, "warmup_seconds": 0.0, "timeout_seconds": 20.0, **options}
    endpoint = replace(parse_endpoint(url), tls=tls)
    return run_loadtest(LoadTestOptions(endpoint=endpoint, generation=asked, **chosen))


async def answer_in_full(answer: Answer) -> None:
    answer.start()
    answer.tokens(4)
    answer.end()


@contextmanager
def serve_refusing(status: str) -> Iterator[str]:
    """A server that answers everything so."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(reply(b'{"error": {"message": "Incorrect key"}}', status))

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Refusing)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("protocol", HTTP)
def test_streams_are_read_over_tls(tmp_path: Path, protocol: str) -> None:
    """As over plain connections."""
    authority, certificate, key = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with serve_streams(answer_in_full, context) as faults:
        report = run(f"https://localhost:{faults.port}", protocol, tls=TlsOptions(ca_file=authority))
    (point,) = report.points
    assert point.generation
    assert (point.succeeded, point.generation.output_tokens) == (10, 40)


def test_auto_finds_openais_protocol(server: RunningServer) -> None:
    """Where nothing answers in Triton's, which is then not asked for statistics."""
    report = run(server.url)
    assert report.points[0].generation
    assert report.points[0].generation.protocol == "chat"
    assert (report.target.model, report.target.server_version, report.notes) == ("llm", "", ())


def test_processes_share_the_streams(server: RunningServer) -> None:
    """And their tokens add up."""
    before = len(read_streams(server.log))
    point = run(server.url, "completions", loads=(ClosedLoop(4),), requests=20, processes=2).points[0]
    assert point.generation
    assert (point.succeeded, point.generation.output_tokens) == (20, 80)
    assert len({stream.id for stream in read_streams(server.log)[before:]}) == 20


def test_a_run_waits_for_an_openai_server(server: RunningServer) -> None:
    """It is ready when it lists the model."""
    assert run(server.url, "chat", wait_seconds=10).points[0].succeeded == 10
    with pytest.raises(EndpointError, match=r"other was not ready within 0\.3 s: .* serves no model 'other'"):
        run(server.url, "auto", wait_seconds=0.3, model="other")


def test_snapshots_count_tokens_as_they_come(server: RunningServer) -> None:
    """Also those of an answer that is not over."""
    told: list[LiveSnapshot] = []
    asked = GenerationOptions(generate="chat", max_tokens=60, parameters=(("ttft_ms", 5), ("itl_ms", 30)))
    options = LoadTestOptions(
        endpoint=parse_endpoint(server.url), model="llm", generation=asked, requests=1, warmup_seconds=0
    )
    run_loadtest(options, on_snapshot=told.append)
    during = [snapshot for snapshot in told if snapshot.succeeded == 0]
    assert any(snapshot.output_tokens_per_second for snapshot in during)
    assert all(snapshot.first_token_p50_us is None for snapshot in during)


def test_another_model_is_refused_with_those_that_there_are(server: RunningServer) -> None:
    """Before anything is sent."""
    with pytest.raises(EndpointError, match="serves no model 'other'") as refused:
        run(server.url, "chat", model="other")
    assert refused.value.hint == "it serves llm"


def test_a_server_without_tritons_protocol_has_no_generate_stream(server: RunningServer) -> None:
    """The server's own words say why."""
    with pytest.raises(EndpointError, match="Not Found") as refused:
        run(server.url, "triton")
    assert refused.value.hint
    assert "`generate=chat`" in refused.value.hint


def test_a_server_that_wants_a_key_is_not_called_a_wrong_address() -> None:
    """The hint says how to give one."""
    with serve_refusing("401 Unauthorized") as url, pytest.raises(EndpointError, match="Incorrect key") as refused:
        run(url, "auto")
    assert refused.value.hint
    assert "`token_file`" in refused.value.hint


def test_a_model_without_text_is_no_language_model() -> None:
    """Its tensors are named."""

    async def answer(_number: int, writer: Any) -> None:
        writer.write(reply(b"{}"))

    with (
        serve_faults(answer) as faults,
        pytest.raises(UsageError, match="has no input 'text_input' of text") as refused,
    ):
        run(f"http://127.0.0.1:{faults.port}", "triton", model="faulty")
    assert refused.value.hint
    assert "IN" in refused.value.hint


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://host", {"generation": {"max_tokens": 5}}, "`max_tokens` is about token streams"),
        (
            "http://host",
            {"generation": {"prompts": PromptOptions(prompts=Path("questions.txt"))}},
            "`prompts` is about token streams",
        ),
        ("http://host", {"generation": {"generate": "chat"}, "batch_size": 2}, "`batch_size` and `generate` exclude"),
        ("http://host", {"generation": {"generate": "chat"}, "validate": True}, "`validate` and `generate` exclude"),
        ("http://host", {"generation": {"generate": "chat"}, "model_version": "1"}, "has no versions"),
        ("grpc://host", {"generation": {"generate": "chat"}}, "`generate=chat` is a protocol over HTTP"),
        *(
            ("http://host", {"generation": {"generate": "auto", "parameters": ((name, value),)}}, f"={name}=…` would")
            for name, value in [("max_tokens", 5), ("stream", False), ("text_input", "hi"), ("model", "m"), ("n", 2)]
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(url: str, options: dict[str, Any], message: str) -> None:
    """Before the server is asked anything."""
    generation = GenerationOptions(**options.pop("generation"))
    with pytest.raises(ServeError, match=message):
        run_loadtest(LoadTestOptions(endpoint=parse_endpoint(url), model="llm", generation=generation, **options))


def answering_once() -> Fault:
    """Answer the first request of each connection, and close it with the second."""
    answered: set[Any] = set()

    async def answer_or_close(answer: Answer) -> None:
        if answer.connection in answered:
            answer.close()
        else:
            answered.add(answer.connection)
            await answer_in_full(answer)

    return answer_or_close


def test_a_request_that_crosses_with_the_end_of_an_idle_connection_is_sent_again() -> None:
    """Over another one; the server took it once."""
    generation = GenerationOptions(generate="chat", prompts=PromptOptions(turns=2, think_time_seconds=1.1))
    with serve_streams(answering_once()) as faults:
        endpoint = parse_endpoint(f"http://127.0.0.1:{faults.port}")
        options = LoadTestOptions(
            endpoint=endpoint, model="llm", generation=generation, requests=2, warmup_seconds=0, timeout_seconds=10
        )
        point = run_loadtest(options).points[0]
    assert (point.succeeded, point.errors, faults.requests) == (2, (), 3)


def test_a_request_that_a_busy_connection_loses_has_failed() -> None:
    """It may have been taken."""
    with serve_streams(answering_once()) as faults:
        point = run(f"http://127.0.0.1:{faults.port}", "chat", requests=2).points[0]
    assert (point.succeeded, [error.kind for error in point.errors]) == (1, ["reset"])
