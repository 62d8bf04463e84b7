"""One real Triton with Python models whose behaviour is known, for all load-test suites."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai_server import running_openai_server
from token_stream import SentStream, read_streams, write_token_stream

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.loadtest import ClosedLoop, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.options import GenerationOptions
from serve_deploy.loadtest.workers.pool import Workers, start_workers
from serve_deploy.reports.generation import Generation
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.triton import TritonServer

REPOSITORY = Path(__file__).parent / "repository"
Measure = Callable[..., LoadTestReport]


@pytest.fixture(scope="session")
def loadtest_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, copied to where a server may look at them."""
    repository = tmp_path_factory.mktemp("loadtest") / "repository"
    shutil.copytree(REPOSITORY, repository)
    return repository


@pytest.fixture(scope="session")
def triton(triton_server: Callable[..., TritonServer], loadtest_repository: Path) -> TritonServer:
    """The server, with all models loaded."""
    return triton_server(loadtest_repository, explicit=True, models=("*",))


@pytest.fixture(scope="module")
def generator() -> Iterator[Workers]:
    """One generator process for all runs of a module, whatever became of the run before."""
    with start_workers(1) as (kept,):
        yield kept


@pytest.fixture
def measure(triton: TritonServer) -> Measure:
    """Run a short load test of a model over `protocol`, without warm-up unless asked for."""

    def run(model: str, protocol: str = "http", **options: Any) -> LoadTestReport:
        url = triton.grpc_url if protocol == "grpc" else triton.http_url
        endpoint = replace(parse_endpoint(url), **options.pop("endpoint_options", {}))
        chosen = {"warmup_seconds": 0.0, "duration_seconds": None, "timeout_seconds": 20.0, **options}
        kept = chosen.pop("workers", None)
        return run_loadtest(LoadTestOptions(endpoint=endpoint, model=model, **chosen), workers=kept)

    return run


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as a .npz of samples, one after the other."""

    def write(**arrays: Any) -> Path:
        path = tmp_path / "data.npz"
        np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
        return path

    return write


@dataclass(frozen=True)
class StreamServer:
    """Where a language model streams, and the log of what it sent."""

    url: str
    log: Path

    def sent(self, requests: int) -> list[SentStream]:
        """What it sent; a request's line comes a moment after its last token."""
        end = time.monotonic() + 300
        while len(streams := read_streams(self.log)) < requests and time.monotonic() < end:
            time.sleep(0.01)
        assert len(streams) == requests
        return streams


@dataclass(frozen=True)
class Streamed:
    """One load test of token streams, and what the server sent meanwhile."""

    report: LoadTestReport
    sent: list[SentStream]

    @property
    def point(self) -> Point:
        (point,) = self.report.points
        return point

    @property
    def generation(self) -> Generation:
        assert self.point.generation
        return self.point.generation


@pytest.fixture(scope="session")
def stream_servers(
    triton_server: Callable[..., TritonServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, StreamServer]]:
    """The simulated language model by protocol: on a real Triton, and behind an OpenAI-compatible server."""
    folder = tmp_path_factory.mktemp("streams")
    log = write_token_stream(folder / "models")
    triton = triton_server(folder / "models")
    with running_openai_server(folder / "openai.jsonl") as openai:
        yield {
            "triton": StreamServer(triton.http_url, log),
            "grpc": StreamServer(triton.grpc_url, log),
            "chat": StreamServer(openai.url, openai.log),
            "completions": StreamServer(openai.url, openai.log),
        }


@pytest.fixture
def measure_streams(stream_servers: dict[str, StreamServer], generator: Workers) -> Callable[..., Streamed]:
    """Measure so many streams at once over a protocol; `parameters` go into each request, and set its clock."""

    def run(
        protocol: str, streams: int, requests: int, *, generation: dict[str, Any] | None = None, **options: Any
    ) -> Streamed:
        server = stream_servers[protocol]
        server.log.write_text("")
        asked = {"generate": "auto" if protocol == "grpc" else protocol, "max_tokens": 12, **(generation or {})}
        chosen = {"loads": (ClosedLoop(streams),), "duration_seconds": None, "warmup_seconds": 0.0, **options}
        listener, endpoint = chosen.pop("on_snapshot", None), parse_endpoint(server.url)
        report = run_loadtest(
            LoadTestOptions(
                endpoint=endpoint, model="llm", requests=requests, generation=GenerationOptions(**asked), **chosen
            ),
            on_snapshot=listener,
            workers=generator,
        )
        return Streamed(report, server.sent(report.points[0].sent))

    return run
