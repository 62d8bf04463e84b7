"""Measure what `serve loadtest` costs its machine, beside wrk and tritonclient, in one run with one model and server.

    make bench          or          python benchmarks/loadtest.py [--rounds 5] [--seconds 2]

The figure is the client's CPU time a request: on a machine that is shared, rates say little and CPU time says most.
The contenders take turns; the median of the rounds counts, and the least stands beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Sample, http_body
from serve_deploy.loadtest import ClosedLoop, ConstantRate, LoadTestOptions, run_loadtest
from serve_deploy.loadtest.loads import LoadShape
from serve_deploy.reports.point import Point
from serve_deploy.tensors.types import DataType, TensorSpec
from serve_deploy.triton import ServerOptions, TritonServer, start_server

CONCURRENCY = 32
RATE_EACH = 1000
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
Contender = Callable[[int], float]


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
    """Each returns the CPU µs that a request cost its client."""

    def __init__(self, server: TritonServer, folder: Path, seconds: float) -> None:
        self._server = server
        self._folder = folder
        self._seconds = seconds

    def ours_http(self, size: int) -> float:
        return self._ours(self._server.http_url, size).client.cpu_us_per_request

    def ours_grpc(self, size: int) -> float:
        return self._ours(self._server.grpc_url, size).client.cpu_us_per_request

    def _ours(self, url: str, size: int) -> Point:
        return measure(url, ClosedLoop(CONCURRENCY), self._seconds, size=size)

    def wrk(self, size: int) -> float:
        """wrk with the same bytes in its body."""
        tensor = TensorSpec("IN", DataType.FP32, (-1, -1))
        model = Model("nothing", "1", "", (tensor,), (), 8, False, False, (), "", None)
        body, json_length = http_body(model, Sample({"IN": np.zeros((1, size), np.float32)}))
        (self._folder / "body").write_bytes(body)
        script = self._folder / "wrk.lua"
        script.write_text(WRK_SCRIPT.format(json_length=json_length, body=self._folder / "body"))
        url = f"{self._server.http_url}/v2/models/nothing/infer"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["wrk", "-t1", f"-c{CONCURRENCY}", f"-d{max(round(self._seconds), 1)}s", "-s", str(script), url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = re.search(r"(\d+) requests in", output)
        if not found or "Non-2xx" in output:
            raise SystemExit(output)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return spent / int(found[1]) * 1e6

    def tritonclient_http(self, size: int) -> float:
        return self._library("http", self._server.http_url, size)

    def tritonclient_grpc(self, size: int) -> float:
        return self._library("grpc", self._server.grpc_url, size)

    def _library(self, protocol: str, url: str, size: int) -> float:
        command = [sys.executable, __file__, "--library", protocol, url.split("://")[1], str(size), str(self._seconds)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def run_library(protocol: str, address: str, size: int, seconds: float) -> float:
    """CPU µs a request of tritonclient in threads: in HTTP each with its own client, as it is not thread-safe."""
    import importlib

    library = importlib.import_module(f"tritonclient.{protocol}")
    array = np.zeros((1, size), np.float32)
    counts: list[int] = []
    shared = library.InferenceServerClient(address) if protocol == "grpc" else None
    end = time.monotonic() + seconds

    def loop() -> None:
        client = shared or library.InferenceServerClient(address)
        done = 0
        while time.monotonic() < end:
            tensor = library.InferInput("IN", list(array.shape), "FP32")
            tensor.set_data_from_numpy(array)
            client.infer("nothing", [tensor])
            done += 1
        counts.append(done)

    before = time.process_time()
    threads = [threading.Thread(target=loop) for _ in range(CONCURRENCY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.process_time() - before) / sum(counts) * 1e6


def compare(contenders: Contenders, rounds: int, size: int) -> None:
    """Print a table of CPU µs a request, and the ratio of ours to each."""
    names = ["ours_http", "ours_grpc", "tritonclient_http", "tritonclient_grpc"]
    if shutil.which("wrk"):
        names.insert(0, "wrk")
    figures: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name in names:
            figures[name].append(getattr(contenders, name)(size))
    ours = statistics.median(figures["ours_http"])
    print(f"\nCPU µs a request, concurrency {CONCURRENCY}, {size * 4:,} bytes of input, {rounds} rounds")
    print(f"{'client':<22}{'median':>9}{'least':>9}   ours over HTTP : it")
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"{name:<22}{median:>9.1f}{min(values):>9.1f}   {ours / median:.2f}")


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
        print(run_library(protocol, address, int(size), float(seconds)))
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
                compare(contenders, arguments.rounds, size)
            os.sched_setaffinity(0, cores)
            show_processes(server, arguments.rounds, arguments.seconds)
            show_precision(server, arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
