"""Measure what `serve loadtest` costs its machine, beside other clients, in one run with one model and server.

    make bench          or          python benchmarks/loadtest.py [--rounds 5] [--seconds 2]

The figure is the client's CPU time a request: on a machine that is shared, rates say little and CPU time says most.
The contenders take turns; the median of the rounds counts, and the least stands beside it. wrk, h2load and
perf_analyzer take part where they are on PATH. The last is in tritonclient 2.46's wheel; it needs libb64 and CUDA's
runtime library. On a busy machine, a client that waits loses its core to others; as root, `chrt -r 1` before the
command gives this program and its server a core each.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve_deploy.arrivals.shapes import LoadShape
from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.connection import SERVICE
from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Sample, grpc_request, http_body
from serve_deploy.loadtest import ClosedLoop, ConstantRate, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.clients.grpc_messages import frame_message
from serve_deploy.reports.point import Point
from serve_deploy.tensors.types import DataType, TensorSpec
from serve_deploy.triton import ServerOptions, TritonServer, start_server

CONCURRENCY = 32
RATE_EACH = 1000
OVER_HTTP = ("ours_http", "wrk", "tritonclient_http")
OVER_GRPC = ("ours_grpc", "h2load", "perf_analyzer", "grpcio", "tritonclient_grpc")
PROGRAMS = ("wrk", "h2load", "perf_analyzer")
MODEL = Model("nothing", "1", "", (TensorSpec("IN", DataType.FP32, (-1, -1)),), (), 8, False, False, (), "", None)
SMALL, LARGE = 1, 150_000  # FP32 values: a body of about 150 bytes, and one of 600 KB
WRK_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.headers["Inference-Header-Content-Length"] = "{json_length}"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""
NOTHING = """
import numpy as np
import triton_python_backend_utils as pb_utils

ANSWER = np.zeros((1, 1), np.float32)


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", ANSWER)]) for _ in requests]
"""
NOTHING_CONFIG = """
backend: "python"
max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
dynamic_batching { }
"""
FIVE_MS = """
import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.005)
        tensors = [pb_utils.get_input_tensor_by_name(request, "IN") for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor.as_numpy())]) for tensor in tensors]
"""
FIVE_MS_CONFIG = """
backend: "python"
max_batch_size: 0
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { count: 8 kind: KIND_CPU } ]
"""


@dataclass(frozen=True)
class Cost:
    """What a client needed: CPU µs a request, at so many requests a second."""

    cpu_us: float
    rate: float


def write_repository(folder: Path) -> Path:
    """Two models: one that does nothing, one that takes 5 ms."""
    for name, code, config in (("nothing", NOTHING, NOTHING_CONFIG), ("five_ms", FIVE_MS, FIVE_MS_CONFIG)):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.py").write_text(code)
        (folder / name / "config.pbtxt").write_text(config)
    return folder


def measure(
    url: str, load: LoadShape, seconds: float, *, model: str = "nothing", size: int = SMALL, processes: int = 1
) -> Point:
    """One short load test of ours."""
    options = LoadTestOptions(
        endpoint=parse_endpoint(url), model=model, loads=(load,), duration_seconds=seconds, warmup_seconds=0.2,
        shapes=(("IN", (size,)),), processes=processes,
    )  # fmt: skip
    (point,) = run_loadtest(options).points
    if point.failed or point.timed_out:
        raise SystemExit(f"{url}: {point.errors}")
    return point


class Contenders:
    """Each measures one client with `size` values in each request."""

    def __init__(self, server: TritonServer, folder: Path, seconds: float) -> None:
        self._server = server
        self._folder = folder
        self._seconds = seconds

    def ours_http(self, size: int) -> Cost:
        return self._ours(self._server.http_url, size)

    def ours_grpc(self, size: int) -> Cost:
        return self._ours(self._server.grpc_url, size)

    def _ours(self, url: str, size: int) -> Cost:
        point = measure(url, ClosedLoop(CONCURRENCY), self._seconds, size=size)
        return Cost(point.client.cpu_us_per_request, point.succeeded / point.duration_seconds)

    def wrk(self, size: int) -> Cost:
        """wrk with the same bytes in its body."""
        body, json_length = http_body(MODEL, Sample({"IN": np.zeros((1, size), np.float32)}))
        (self._folder / "body").write_bytes(body)
        script = self._folder / "wrk.lua"
        script.write_text(WRK_SCRIPT.format(json_length=json_length, body=self._folder / "body"))
        url = f"{self._server.http_url}/v2/models/nothing/infer"
        return self._program("wrk", "-t1", f"-c{CONCURRENCY}", f"-d{self._whole_seconds}s", "-s", script, url)

    def h2load(self, size: int) -> Cost:
        """h2load with the same bytes in its body, over one connection as ours."""
        body = self._folder / "body"
        body.write_bytes(frame_message(grpc_request(MODEL, "", Sample({"IN": np.zeros((1, size), np.float32)}))))
        url = self._server.grpc_url.replace("grpc", "http", 1) + f"/{SERVICE}/ModelInfer"
        many = ["-D", self._whole_seconds, "--warm-up-time=0", "-c1", "-t1", "-m", CONCURRENCY]
        return self._program("h2load", *many, "-d", body, "-H", "content-type: application/grpc",
                             "-H", "te: trailers", url)  # fmt: skip

    def perf_analyzer(self, size: int) -> Cost:
        """perf_analyzer with asynchronous calls, its cheapest way."""
        address = self._server.grpc_url.split("://")[1]
        window = int(self._seconds * 1000 / 3)
        return self._program("perf_analyzer", "-m", "nothing", "-u", address, "-i", "grpc", "--async",
                             "--concurrency-range", CONCURRENCY, "--shape", f"IN:{size}", "--input-data", "zero",
                             "-p", window, "-s", 99, "-r", 3)  # fmt: skip

    @property
    def _whole_seconds(self) -> int:
        return max(round(self._seconds), 1)

    def _program(self, *command: object) -> Cost:
        """Run a program, and ask the server how many requests it sent."""
        before, usage = self._requests_served(), resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        output = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout
        seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if "Non-2xx" in output:
            raise SystemExit(output)
        spent = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
        requests = self._requests_served() - before
        return Cost(spent / requests * 1e6, requests / seconds)

    def _requests_served(self) -> int:
        with urllib.request.urlopen(f"{self._server.http_url}/v2/models/nothing/stats") as reply:
            (model,) = json.load(reply)["model_stats"]
        return int(model["inference_count"])

    def tritonclient_http(self, size: int) -> Cost:
        return self._library("http", self._server.http_url, size)

    def tritonclient_grpc(self, size: int) -> Cost:
        return self._library("grpc", self._server.grpc_url, size)

    def grpcio(self, size: int) -> Cost:
        """grpcio's asynchronous calls with bytes made once."""
        return self._library("grpcio", self._server.grpc_url, size)

    def _library(self, protocol: str, url: str, size: int) -> Cost:
        command = [sys.executable, __file__, "--library", protocol, url.split("://")[1], str(size), str(self._seconds)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return Cost(*map(float, output.split()))


def run_library(protocol: str, address: str, size: int, seconds: float) -> Cost:
    """Measure this process as the client."""
    array = np.zeros((1, size), np.float32)
    before, start = time.process_time(), time.monotonic()
    if protocol == "grpcio":
        requests = asyncio.run(call_with_grpcio(address, array, start + seconds))
    else:
        requests = call_with_tritonclient(protocol, address, array, start + seconds)
    return Cost((time.process_time() - before) / requests * 1e6, requests / (time.monotonic() - start))


async def call_with_grpcio(address: str, array: NDArray[np.float32], end: float) -> int:
    """Requests of grpc.aio's generic calls."""
    import grpc

    request, done = grpc_request(MODEL, "", Sample({"IN": array})), 0
    async with grpc.aio.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        invoke = channel.unary_unary(f"/{SERVICE}/ModelInfer")

        async def loop() -> None:
            nonlocal done
            while time.monotonic() < end:
                await invoke(request)
                done += 1

        await asyncio.gather(*(loop() for _ in range(CONCURRENCY)))
    return done


def call_with_tritonclient(protocol: str, address: str, array: NDArray[np.float32], end: float) -> int:
    """Requests of tritonclient in threads: over HTTP each with its own client, as that is not thread-safe."""
    library = importlib.import_module(f"tritonclient.{protocol}")
    counts: list[int] = []
    shared = library.InferenceServerClient(address) if protocol == "grpc" else None

    def loop() -> None:
        client = shared or library.InferenceServerClient(address)
        done = 0
        while time.monotonic() < end:
            tensor = library.InferInput("IN", list(array.shape), "FP32")
            tensor.set_data_from_numpy(array)
            client.infer("nothing", [tensor])
            done += 1
        counts.append(done)

    threads = [threading.Thread(target=loop) for _ in range(CONCURRENCY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def compare(contenders: Contenders, rounds: int, size: int, names: tuple[str, ...]) -> None:
    """Print a table of what a request costs, and the ratio of ours, which comes first, to each."""
    names = tuple(name for name in names if name not in PROGRAMS or shutil.which(name))
    figures: dict[str, list[Cost]] = defaultdict(list)
    for _ in range(rounds):
        for name in names:
            figures[name].append(getattr(contenders, name)(size))
    ours = statistics.median(cost.cpu_us for cost in figures[names[0]])
    print(f"\nCPU µs a request, concurrency {CONCURRENCY}, {size * 4:,} bytes of input, {rounds} rounds")
    print(f"{'client':<22}{'median':>9}{'least':>9}{'requests/s':>12}   ours : it")
    for name, costs in figures.items():
        median = statistics.median(cost.cpu_us for cost in costs)
        rate = statistics.median(cost.rate for cost in costs)
        print(f"{name:<22}{median:>9.1f}{min(cost.cpu_us for cost in costs):>9.1f}{rate:>12,.0f}   {ours / median:.2f}")


def show_processes(server: TritonServer, rounds: int, seconds: float) -> None:
    """Print what a request costs in one process, and in two that have as much to do each."""
    figures: dict[int, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for processes in (1, 2):
            load = ConstantRate(RATE_EACH * processes)
            point = measure(server.http_url, load, seconds, processes=processes)
            figures[processes].append(point.client.cpu_us_per_request)
    one, two = (statistics.median(figures[processes]) for processes in (1, 2))
    print(f"\nCPU µs a request at {RATE_EACH}/s in each process: one {one:.1f}, two {two:.1f}, ratio {two / one:.2f}")


def show_precision(server: TritonServer, rounds: int, seconds: float) -> None:
    """Print how late requests leave at 1000/s against a model that takes 5 ms."""
    print("\nSchedule slip at 1000/s on a model that takes 5 ms, µs")
    for _ in range(rounds):
        point = measure(server.http_url, ConstantRate(1000), seconds, model="five_ms")
        client = point.client
        print(
            f"p50 {client.slip_p50_us:.0f}, p99 {client.slip_p99_us:.0f}, max {client.slip_max_us:.0f}; "
            f"response p99 {point.response.p99_us / 1e3:.1f} ms; CPU {client.cpu_us_per_request:.0f} µs a request"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--library", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.library:
        protocol, address, size, seconds = arguments.library
        cost = run_library(protocol, address, int(size), float(seconds))
        print(cost.cpu_us, cost.rate)
        return
    with tempfile.TemporaryDirectory() as name:
        repository = write_repository(Path(name) / "repository")
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[-1:])
        with start_server(ServerOptions(repository=repository)) as server:
            # Server and client each have a core, so that neither's caches are the other's.
            os.sched_setaffinity(0, cores[:1])
            contenders = Contenders(server, Path(name), arguments.seconds)
            for size in (SMALL, LARGE):
                for names in (OVER_HTTP, OVER_GRPC):
                    compare(contenders, arguments.rounds, size, names)
            os.sched_setaffinity(0, cores)
            show_processes(server, arguments.rounds, arguments.seconds)
            show_precision(server, arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
