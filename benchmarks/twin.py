"""Compare the twin with a real Triton: throughput, p50 and p99, at closed loops and at Poisson arrivals.

    python benchmarks/twin.py [--seconds 8] [--only linear lock]
    python benchmarks/twin.py --repository MODELS [--seconds 8]

Each model is measured at a handful of batch sizes first: how much its times vary by requests of so many rows from one
user, or from as many as there are instances; their mean by Triton's own figures of batches of so many requests, which
cost more than the rows do. What a request costs outside of a model is measured on one that does nothing. That is all
that the twin is told; the loads that follow are predicted. Poisson arrivals go up to 80 % of the highest throughput
that was measured, and are the same ones in both. A difference beyond the limits is marked with an exclamation mark.

The models of a repository that clients call are swept, and their twins made of that, as `serve chart` does. So is the
ensemble, besides. Below a load for which the twin is off stands why, as far as the measurement tells.

It wants a machine that does nothing else. On a busy one `nice` alone helps little: where Linux shares the CPU between
sessions (/proc/sys/kernel/sched_autogroup_enabled is 1), it only counts within one. As root this puts a session first:

    setsid -w sh -c 'echo -20 > /proc/self/autogroup; exec python benchmarks/twin.py'

`chrt -f 1` is steadier, but only where cores stay free: Linux stops real-time programs that leave none for 50 ms of
each second, which becomes their p99, and idle threads of ONNX Runtime that spin keep the load generator waiting.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from serve_deploy.arrivals.shapes import LoadShape
from serve_deploy.calibration.accuracy import LIMITS
from serve_deploy.calibration.swept import build_twin, explain_load
from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.loadtest import LoadTestOptions, run_loadtest
from serve_deploy.reports.point import LatencySummary, Point
from serve_deploy.repository.model_folder import read_models, top_level
from serve_deploy.triton import ServerOptions, TritonServer, start_server
from serve_deploy.twin import (
    Batching,
    ClosedLoop,
    Ensemble,
    Outside,
    PoissonRate,
    ServedModel,
    ServerModel,
    ServiceTimes,
    Simulated,
    Step,
    Times,
    simulate,
)

USERS = (1, 2, 4, 8, 16, 32)
SHARES_OF_KNEE = (0.2, 0.4, 0.6, 0.8)
CODE = """
import fcntl
import mmap
import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.lock = open({lock!r}, "w+b")
        self.lock.truncate(64)
        self.at_work = mmap.mmap(self.lock.fileno(), 64)
        self.number = int(args["model_instance_name"].rpartition("_")[2])

    def work(self, seconds):
        # Where the instances share something, it goes the slower the more of them are at it.
        if not {shares}:
            time.sleep(seconds)
            return
        self.at_work[self.number] = 1
        while seconds > 0:
            begun, busy = time.monotonic(), sum(self.at_work[:])
            time.sleep(min(seconds * busy, 0.0005))
            seconds -= (time.monotonic() - begun) / busy
        self.at_work[self.number] = 0

    def execute(self, requests):
        tensors = [pb_utils.get_input_tensor_by_name(request, "IN") for request in requests]
        rows = sum(tensor.shape()[0] for tensor in tensors)
        if {locks}:
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.work({base} + {row} * rows)
        if {locks}:
            fcntl.flock(self.lock, fcntl.LOCK_UN)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor.as_numpy())]) for tensor in tensors]
"""
CONFIG = """
backend: "python"
max_batch_size: {largest}
input [ {{ name: "IN" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] }} ]
instance_group [ {{ count: {instances} kind: KIND_CPU }} ]
{batching}
"""
ENSEMBLE = """
platform: "ensemble"
max_batch_size: {largest}
input [ {{ name: "IN" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] }} ]
ensemble_scheduling {{ step [
  {{ model_name: "{first}" model_version: -1
     input_map {{ key: "IN" value: "IN" }} output_map {{ key: "OUT" value: "between" }} }},
  {{ model_name: "{second}" model_version: -1
     input_map {{ key: "IN" value: "between" }} output_map {{ key: "OUT" value: "OUT" }} }}
] }}
"""


@dataclass(frozen=True)
class Sleeper:
    """A model that sleeps base + row × rows seconds, perhaps under a lock, or sharing its speed with them."""

    name: str
    base: float
    row: float
    largest: int = 8
    instances: int = 1
    batching: Batching | None = field(default_factory=Batching)
    locks: bool = False
    shares: bool = False

    def write(self, repository: Path) -> None:
        """Its folder, and that of its double without a delay, which the service times are measured on."""
        plain = None if self.largest == 1 else Batching()
        for name, batching in ((self.name, self.batching), (f"{self.name}_plain", plain)):
            folder = repository / name
            (folder / "1").mkdir(parents=True)
            lock = str(repository.parent / f"{name}.lock")
            code = CODE.format(lock=lock, locks=self.locks, shares=self.shares, base=self.base, row=self.row)
            (folder / "1" / "model.py").write_text(code)
            text = "" if batching is None else _batching_text(batching)
            config = CONFIG.format(largest=self.largest, instances=self.instances, batching=text)
            (folder / "config.pbtxt").write_text(config)


NOTHING = Sleeper("nothing", 0.0, 0.0, largest=1, batching=None)
SLEEPERS = (
    Sleeper("linear", 0.005, 0.001),
    Sleeper("no_gain", 0.0, 0.004),
    Sleeper("delayed", 0.010, 0.0005, batching=Batching(max_queue_delay_seconds=0.004)),
    Sleeper("preferred", 0.010, 0.0005, batching=Batching(preferred_sizes=(4, 8))),
    Sleeper("two", 0.010, 0.0005, instances=2, batching=Batching(max_queue_delay_seconds=0.002)),
    Sleeper("lock", 0.006, 0.0005, instances=2, locks=True),
    Sleeper("memory", 0.006, 0.001, instances=2, shares=True),
    Sleeper("first", 0.004, 0.0002, largest=8),
    Sleeper("second", 0.002, 0.0015, largest=4),
)
STEPS = ("first", "second")


def _batching_text(batching: Batching) -> str:
    sizes = f"preferred_batch_size: {list(batching.preferred_sizes)}" if batching.preferred_sizes else ""
    delay = round(batching.max_queue_delay_seconds * 1e6)
    return f"dynamic_batching {{ max_queue_delay_microseconds: {delay} {sizes} }}"


def measure(
    server: TritonServer, model: str, load: LoadShape, seconds: float, rows: int = 1, samples: Path | None = None
) -> Point:
    """One load on the real server; `samples` is the repository that they are kept in."""
    options = LoadTestOptions(
        endpoint=parse_endpoint(server.http_url), model=model, loads=(load,), duration_seconds=seconds,
        warmup_seconds=0.5, batch_size=rows, repository=samples,
    )  # fmt: skip
    (point,) = run_loadtest(options).points
    if point.unsuccessful:
        raise SystemExit(f"{model}: {point.errors}")
    return point


def times_of(summary: LatencySummary) -> Times:
    """A measured distribution."""
    bounds, counts = zip(*summary.histogram, strict=True)
    return Times.of([bound / 1e6 for bound in bounds], counts)


def calibrate(server: TritonServer, sleeper: Sleeper, seconds: float) -> ServedModel:
    """What the twin is told of a model: its service times at a handful of sizes."""
    name, measured = f"{sleeper.name}_plain", dict[tuple[int, int], Times]()
    dispatch: dict[tuple[int, int], float] = {}
    # Executions that wait for one lock are told apart by `exclusive`, and their times measured alone.
    levels = {1, 1 if sleeper.locks else sleeper.instances}
    for rows in sorted({1, sleeper.largest // 4, sleeper.largest // 2, sleeper.largest} - {0}):
        batched = 0.0 if sleeper.locks else batch_seconds(server, name, rows, sleeper.instances, seconds)
        for busy in levels:
            point = measure(server, name, ClosedLoop(busy), seconds, rows)
            inside = inside_seconds(point)
            spread = times_of(point.response).less(point.response.mean_us / 1e6 - inside)
            # Alone, instances that share their speed are quicker than the batches of all of them say.
            mean = inside if sleeper.shares and busy == 1 else batched or inside
            measured[rows, busy] = spread.times(mean / spread.mean)
            dispatch[rows, busy] = point.server[0].queue_us / 1e6
    return ServedModel(
        name=sleeper.name, service=ServiceTimes(measured), max_batch_size=sleeper.largest,
        instances=sleeper.instances, batching=sleeper.batching, exclusive=sleeper.locks,
        dispatch_seconds=dispatch[1, 1],
    )  # fmt: skip


def calibrate_outside(server: TritonServer, seconds: float) -> Outside:
    """What a request costs outside of a model."""
    point = measure(server, NOTHING.name, ClosedLoop(1), seconds)
    return Outside(times=times_of(point.response).less(inside_seconds(point) + point.server[0].queue_us / 1e6))


def inside_seconds(point: Point) -> float:
    """Mean time that a request was executed for, by the server's account."""
    (stats,) = point.server
    return (stats.compute_input_us + stats.compute_infer_us + stats.compute_output_us) / 1e6


def batch_seconds(server: TritonServer, model: str, size: int, instances: int, seconds: float) -> float:
    """Mean time of an execution of so many requests while all instances are busy; 0 where there was none."""
    before = _batches(server, model, size)
    measure(server, model, ClosedLoop(2 * size * instances), seconds)
    executions, spent = (now - then for now, then in zip(_batches(server, model, size), before, strict=True))
    return spent / executions if executions else 0.0


def _batches(server: TritonServer, model: str, size: int) -> tuple[float, float]:
    with urllib.request.urlopen(f"{server.http_url}/v2/models/{model}/stats") as reply:
        (stats,) = json.load(reply)["model_stats"]
    for each in stats["batch_stats"]:
        if int(each["batch_size"]) == size:
            parts = [each[part] for part in ("compute_input", "compute_infer", "compute_output")]
            return float(parts[1]["count"]), sum(float(part["ns"]) for part in parts) / 1e9
    return 0.0, 0.0


@dataclass(frozen=True)
class Figures:
    """Throughput in requests/s, p50 and p99 in ms, and the mean batch."""

    throughput: float
    p50: float
    p99: float
    batch: float

    @classmethod
    def measured(cls, point: Point) -> Figures:
        """Of the real server."""
        batch = point.server[0].average_batch_size if len(point.server) == 1 else 0.0
        return cls(point.throughput, point.response.p50_us / 1e3, point.response.p99_us / 1e3, batch)

    @classmethod
    def predicted(cls, found: Simulated) -> Figures:
        """Of the twin; over the period from the start to the last end, as the load test counts."""
        stream = found.stream
        lasted = max(found.end_seconds, float(stream.presence.went[-1]))
        response = stream.response
        batch = found.models[0].mean_batch_size if len(found.models) == 1 else 0.0
        return cls(stream.succeeded / lasted, response.percentile(50) * 1e3, response.percentile(99) * 1e3, batch)


def sweep_twin(server: TritonServer, model: str, seconds: float, samples: Path | None = None) -> ServerModel:
    """The twin that is made of a sweep."""
    options = LoadTestOptions(
        endpoint=parse_endpoint(server.http_url), model=model, loads=tuple(map(ClosedLoop, (*USERS, 64))),
        duration_seconds=seconds, warmup_seconds=0.5, repository=samples,
    )  # fmt: skip
    twin = build_twin(run_loadtest(options))
    if isinstance(twin, str):
        raise SystemExit(f"{model}: {twin}")
    outside = twin.outside.times.mean + twin.outside.latency_seconds
    for each in twin.models:
        means = ", ".join(f"{key}: {time.mean * 1e3:.3f}" for key, time in sorted(each.service.measured.items()))
        print(f"\n{each.name}, swept: ms by (rows, busy) {means}; outside {outside * 1e3:.3f} ms")
    return twin


def compare_repository(repository: Path, seconds: float) -> list[tuple[int, int]]:
    """Sweep each model that clients call, and compare its twin."""
    counts = []
    with start_server(ServerOptions(repository=repository)) as server:
        for name in top_level(read_models(repository)):
            twin = sweep_twin(server, name, seconds, repository)
            counts.append(compare(server, name, twin, seconds, repository))
    return counts


def compare(
    server: TritonServer, name: str, twin: ServerModel, seconds: float, samples: Path | None = None
) -> tuple[int, int]:
    """Print both for every load; how many figures are within their limits, of how many."""
    print(f"\n{name}   measured | twin | difference")
    print(f"{'load':<14}{'requests/s':>26}{'p50 ms':>28}{'p99 ms':>28}{'mean batch':>16}")
    within = total = 0
    knee = 0.0
    loads: list[LoadShape] = [ClosedLoop(users) for users in USERS]
    for load in loads:
        point = measure(server, name, load, seconds, samples=samples)
        knee = max(knee, point.throughput)
        good = show(f"{load.concurrency} users", point, simulate(twin, load, seconds=seconds), twin)
        within, total = within + good, total + 3
    for share in SHARES_OF_KNEE:
        load = PoissonRate(round(share * knee, 1))
        point = measure(server, name, load, seconds, samples=samples)
        good = show(f"Poisson {share:.0%}", point, simulate(twin, load, seconds=seconds), twin)
        within, total = within + good, total + 3
    return within, total


def show(label: str, point: Point, found: Simulated, twin: ServerModel) -> int:
    """Print a line, and the reasons where it is off; how many of its three figures are within their limits."""
    real, simulated = Figures.measured(point), Figures.predicted(found)
    cells, good = [], 0
    for figure, limit in LIMITS.items():
        one, other = getattr(real, figure), getattr(simulated, figure)
        off = other / one - 1
        good += abs(off) <= limit
        cells.append(f"{one:>9.1f} {other:>9.1f} {off:>+7.1%}{' ' if abs(off) <= limit else '!'}")
    print(f"{label:<14}" + "".join(cells) + f"{real.batch:>8.2f} {simulated.batch:.2f}", flush=True)
    if good < len(LIMITS):
        print(f"{'':<14}because {'; '.join(explain_load(twin, point, found))}", flush=True)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--repository", type=Path)
    arguments = parser.parse_args()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{cores} cores, which server and load generator share; load average {load:.1f} at the start")
    counts = compare_repository(arguments.repository, arguments.seconds) if arguments.repository else []
    every = set() if arguments.repository else {sleeper.name for sleeper in SLEEPERS} - set(STEPS) | {"ensemble"}
    wanted = set(arguments.only) or every
    needed = wanted | (set(STEPS) if "ensemble" in wanted else set())
    sleepers = [sleeper for sleeper in SLEEPERS if sleeper.name in needed]
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        for sleeper in (NOTHING, *sleepers):
            sleeper.write(repository)
        if "ensemble" in wanted:
            (repository / "ensemble" / "1").mkdir(parents=True)
            text = ENSEMBLE.format(largest=4, first=STEPS[0], second=STEPS[1])
            (repository / "ensemble" / "config.pbtxt").write_text(text)
        with start_server(ServerOptions(repository=repository)) as server:
            sum_up([*counts, *run(server, sleepers, wanted, arguments.seconds)])


def run(server: TritonServer, sleepers: list[Sleeper], wanted: set[str], seconds: float) -> list[tuple[int, int]]:
    """Calibrate each, and compare."""
    models: dict[str, ServedModel] = {}
    counts = []
    for sleeper in sleepers:
        model = models[sleeper.name] = calibrate(server, sleeper, max(0.7, seconds / 8))
        # Again for each, as the machine may have become busier.
        outside = calibrate_outside(server, max(1.0, seconds / 4))
        means = ", ".join(f"{key}: {each.mean * 1e3:.2f}" for key, each in sorted(model.service.measured.items()))
        print(f"\n{sleeper.name}: ms by (rows, busy) {means}; outside {outside.times.mean * 1e3:.2f} ms")
        if sleeper.name in wanted:
            counts.append(compare(server, sleeper.name, ServerModel(models=(model,), outside=outside), seconds))
    if "ensemble" in wanted:
        steps = (Step(STEPS[0]), Step(STEPS[1], (0,)))
        members = tuple(models[step] for step in STEPS)
        twin = ServerModel(models=members, ensembles=(Ensemble("ensemble", steps),), outside=outside)
        counts.append(compare(server, "ensemble", twin, seconds))
        counts.append(compare(server, "ensemble", sweep_twin(server, "ensemble", seconds), seconds))
    return counts


def sum_up(counts: list[tuple[int, int]]) -> None:
    """Print how many figures were within their limits."""
    good, total = (sum(column) for column in zip(*counts, strict=True))
    limits = ", ".join(f"{figure} {limit:.0%}" for figure, limit in LIMITS.items())
    print(f"\n{good} of {total} figures are within the limits ({limits})")


if __name__ == "__main__":
    main()
