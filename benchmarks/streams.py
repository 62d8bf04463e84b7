"""Measure what `serve loadtest --generate` says of token streams beside the truth, and what a token costs it.

    make bench          or          python benchmarks/streams.py [--rounds 3] [--aiperf PROGRAM --tokenizer FOLDER]

The truth is the server's own log of when each token left, by the clock that the client reads too. The servers are
examples/token_stream on a real Triton, and the OpenAI-compatible server of the tests.

The cost is CPU time a token, of the whole program, by the difference between a long and a short run: what it costs to
start does not count. Beside it stand a reader that only reads and timestamps, and AIPerf where `--aiperf` names its
program; that needs a tokenizer's folder. The contenders take turns; the median of the rounds counts.

On a busy machine tokens wait for a core, in the server, the client or between: as root, `chrt -r 1` before the command
gives them theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.loadtest import ClosedLoop, ConstantRate, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.options import GenerationOptions
from serve_deploy.loadtest.options.loads import LoadShape
from serve_deploy.prompts.lengths import TokenLengths
from serve_deploy.prompts.options import PromptOptions
from serve_deploy.reports.generation import Generation
from serve_deploy.triton import ServerOptions, start_server

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from openai_server import running_openai_server
from token_stream import SentStream, read_streams, write_token_stream

PROTOCOLS = ("triton", "grpc", "chat", "completions")
PATHS = {
    "triton": "/v2/models/llm/generate_stream", "chat": "/v1/chat/completions", "completions": "/v1/completions",
}  # fmt: skip
STREAMS = (1, 8, 64)
TOKENS = 40
CLOCK = {"ttft_ms": 100, "itl_ms": 30, "jitter_seed": 7}
# How long a stream lasts on that clock. Requests leave evenly: none waits where the server's log does not see it.
STREAM_SECONDS = 0.1 + 0.03 * (TOKENS - 1)
CONCURRENCY = 32
COST_TOKENS = 100
FEW, MANY = 64, 320
TEMPLATE = (
    '{"text_input": {{ text|tojson }}, "stream": true, '
    f'"sampling_parameters": "{{\\"max_tokens\\": {COST_TOKENS}}}"}}'
)
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Server:
    """Where a protocol is spoken, and the log of the server."""

    url: str
    log: Path


@contextmanager
def running_servers(folder: Path) -> Iterator[dict[str, Server]]:
    """Both servers, by protocol."""
    with ExitStack() as servers:
        log = write_token_stream(folder / "models")
        triton = servers.enter_context(start_server(ServerOptions(repository=folder / "models")))
        openai = servers.enter_context(running_openai_server(folder / "openai.jsonl"))
        yield {
            "triton": Server(triton.http_url, log),
            "grpc": Server(triton.grpc_url, log),
            "chat": Server(openai.url, openai.log),
            "completions": Server(openai.url, openai.log),
        }


# --- accuracy ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One figure as it was reported, and as it was; in ms."""

    name: str
    reported: float
    truth: float

    @property
    def holds(self) -> bool:
        """Within 3 % or 1 ms."""
        return abs(self.reported - self.truth) <= max(0.03 * self.truth, 1.0)


def measure(
    protocol: str,
    server: Server,
    load: LoadShape,
    requests: int,
    *,
    prompts: Path | None = None,
    warmup_seconds: float = 0.0,
    **parameters: Any,
) -> tuple[Generation, list[SentStream]]:
    """One load test, and what the server sent after its warm-up."""
    server.log.write_text("")
    generation = GenerationOptions(
        generate="auto" if protocol == "grpc" else protocol,
        max_tokens=TOKENS,
        parameters=tuple({**CLOCK, **parameters}.items()),
        prompts=PromptOptions(prompts=prompts) if prompts else PromptOptions(input_tokens=TokenLengths(16)),
    )
    options = LoadTestOptions(
        endpoint=parse_endpoint(server.url), model="llm", loads=(load,), requests=requests, duration_seconds=None,
        warmup_seconds=warmup_seconds, generation=generation,
    )  # fmt: skip
    (point,) = run_loadtest(options).points
    if point.succeeded != requests or point.generation is None:
        raise SystemExit(f"{protocol}: {point.succeeded} of {requests} succeeded: {point.errors}")
    return point.generation, read_streams(server.log)[-requests:]


def figures(said: Generation, sent: list[SentStream]) -> Iterator[Figure]:
    """TTFT and ITL at p50 and p99."""
    first = np.array([stream.first_token_seconds for stream in sent]) * 1e3
    gaps = np.concatenate([stream.gaps_seconds for stream in sent]) * 1e3
    for name, summary, truth in (("TTFT", said.time_to_first_token, first), ("ITL", said.inter_token, gaps)):
        for percent in (50, 99):
            reported = getattr(summary, f"p{percent}_us") / 1e3
            yield Figure(f"{name} p{percent}", reported, float(np.percentile(truth, percent, method="inverted_cdf")))


def show_accuracy(servers: dict[str, Server]) -> bool:
    """Print what was said and what was, for every protocol and number of streams; whether all of it holds."""
    print("\nReported and true, ms; within 3 % or 1 ms?")
    print(
        f"{'protocol':<13}{'streams':>7}  "
        + "".join(f"{name:^26}" for name in ("TTFT p50", "TTFT p99", "ITL p50", "ITL p99"))
    )
    holds = True
    for protocol in PROTOCOLS:
        for streams in STREAMS:
            load = ConstantRate(streams / STREAM_SECONDS)
            said, sent = measure(protocol, servers[protocol], load, max(streams * 4, 16), warmup_seconds=1.0)
            row = list(figures(said, sent))
            cells = [f"{item.reported:9.2f} {item.truth:9.2f} {'yes' if item.holds else 'NO':<6}" for item in row]
            tokens = sum(len(stream.sent) for stream in sent)
            counted = "" if said.output_tokens == tokens else f" TOKENS {said.output_tokens} of {tokens}"
            print(f"{protocol:<13}{streams:>7}  " + "".join(cells) + counted, flush=True)
            holds &= not counted and all(item.holds for item in row)
    return holds


def show_planted_gap(servers: dict[str, Server], folder: Path) -> bool:
    """Print the longest gap that was reported where one stream of 64 stalls for 400 ms."""
    prompts = folder / "prompts.txt"
    prompts.write_text("".join(f"prompt {'needle' if index == 40 else index}\n" for index in range(64)))
    holds = True
    print("\nOne gap of 400 ms and the usual one in one stream of 64, ms: reported, true")
    for protocol in PROTOCOLS:
        stall = {"stall_at": 20, "stall_ms": 400, "stall_prompt": "needle"}
        said, sent = measure(protocol, servers[protocol], ClosedLoop(64), 64, prompts=prompts, **stall)
        truth = max(gap for stream in sent for gap in stream.gaps_seconds) * 1e3
        found = Figure("longest gap", said.longest_gap.gap_us / 1e3 if said.longest_gap else 0.0, truth)
        print(f"{protocol:<13}{found.reported:9.2f} {found.truth:9.2f} {said.longest_gap}")
        holds &= found.holds
    return holds


# --- cost -------------------------------------------------------------------------------------------------------------


def read_bare(url: str, path: str, body: str, streams: int, requests: int) -> None:
    """Send requests and read their answers: one buffer, the time of each read, and whether the body ended with it."""
    address = url.partition("://")[2]
    host, _, port = address.partition(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
    request, buffer, poll = (head + body).encode(), bytearray(1 << 18), select.epoll()
    sockets = {}
    for _ in range(streams):
        connection = socket.create_connection((host, int(port)))
        connection.setblocking(False)
        sockets[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
        connection.send(request)
    unsent, times = requests - streams, []
    while sockets:
        for number, _ in poll.poll():
            count = sockets[number].recv_into(buffer)
            times.append(monotonic())
            if not buffer.startswith(LAST_CHUNK, count - len(LAST_CHUNK)):
                continue
            if unsent:
                unsent -= 1
                sockets[number].send(request)
            else:
                poll.unregister(number)
                sockets.pop(number).close()


def run_program(*command: object) -> float:
    """Run a program, and return the CPU seconds that it and all that it started took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "COLUMNS": "150"}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True)
class Contenders:
    """Each sends so many requests of a protocol, and returns its CPU seconds."""

    servers: dict[str, Server]
    folder: Path
    aiperf: Path | None
    tokenizer: Path | None

    def ours(self, protocol: str, requests: int) -> float:
        kind = "auto" if protocol == "grpc" else protocol
        return run_program(
            sys.executable, "-m", "serve_cli", "loadtest", self.servers[protocol].url, "-m", "llm", "--generate", kind,
            "-c", CONCURRENCY, "--requests", requests, "--warmup", 0, "--max-tokens", COST_TOKENS, "--input-tokens", 16,
            "--json",
        )  # fmt: skip

    def reader(self, protocol: str, requests: int) -> float:
        """Over gRPC's server, generate_stream: HTTP/2 cannot be read bare."""
        spoken = "triton" if protocol == "grpc" else protocol
        asked: dict[str, Any] = {"model": "llm", "stream": True, "max_tokens": COST_TOKENS}
        if spoken == "triton":
            asked = {
                "text_input": "a b",
                "stream": True,
                "sampling_parameters": json.dumps({"max_tokens": COST_TOKENS}),
            }
        elif spoken == "chat":
            asked["messages"] = [{"role": "user", "content": "a b"}]
        else:
            asked["prompt"] = "a b"
        server = self.servers[spoken]
        return run_program(
            sys.executable, __file__, "--read", server.url, PATHS[spoken], json.dumps(asked), CONCURRENCY, requests
        )

    def peer(self, protocol: str, requests: int) -> float:
        """AIPerf, with what the server says of tokens, and without what it would fetch besides."""
        server = self.servers[protocol]
        kinds = {
            "chat": ["--endpoint-type", "chat", "--use-server-token-count"],
            "completions": ["--endpoint-type", "completions", "--use-server-token-count"],
            "triton": ["--endpoint-type", "template", "--custom-endpoint", PATHS["triton"], "--extra-inputs",
                       json.dumps({"payload_template": TEMPLATE, "response_field": "text_output"})],
        }  # fmt: skip
        return run_program(
            self.aiperf, "profile", "-m", "llm", "--url", server.url, "--streaming", *kinds[protocol],
            "--concurrency", CONCURRENCY, "--request-count", requests, "--tokenizer", self.tokenizer,
            "--isl", 16, "--osl", COST_TOKENS, "--no-gpu-telemetry", "--no-server-metrics", "--ui", "none",
            "--artifact-dir", self.folder / "aiperf",
        )  # fmt: skip


def cost_us(run: Callable[[str, int], float], protocol: str) -> float:
    """CPU µs a token, of the tokens that a long run has more than a short one."""
    few, many = run(protocol, FEW), run(protocol, MANY)
    return (many - few) / ((MANY - FEW) * COST_TOKENS) * 1e6


def show_costs(contenders: Contenders, rounds: int) -> None:
    """Print what a token costs each client, and the ratio of ours to it."""
    print(f"\nCPU µs a token, {CONCURRENCY} streams, 10 ms between tokens, {rounds} rounds: median, least")
    for protocol in PROTOCOLS:
        runs: dict[str, Callable[[str, int], float]] = {"serve": contenders.ours, "bare reader": contenders.reader}
        if contenders.aiperf and protocol != "grpc":
            runs["aiperf"] = contenders.peer
        costs: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for name, run in runs.items():
                costs[name].append(cost_us(run, protocol))
        ours = statistics.median(costs["serve"])
        for name, measured in costs.items():
            median = statistics.median(measured)
            print(
                f"{protocol:<13}{name:<12}{median:8.1f}{min(measured):8.1f}   ours : it {ours / median:.2f}", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--aiperf", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--skip-costs", action="store_true")
    parser.add_argument("--read", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        url, path, body, streams, requests = arguments.read
        read_bare(url, path, body, int(streams), int(requests))
        return
    with tempfile.TemporaryDirectory() as name, running_servers(Path(name)) as servers:
        holds = [show_accuracy(servers), show_planted_gap(servers, Path(name))]
        if not arguments.skip_costs:
            show_costs(Contenders(servers, Path(name), arguments.aiperf, arguments.tokenizer), arguments.rounds)
    if not all(holds):
        raise SystemExit("some figures are further from the truth than 3 % and 1 ms")


if __name__ == "__main__":
    main()
