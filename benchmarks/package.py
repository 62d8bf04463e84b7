"""Measure `serve --help` and `serve package` beside their lower bounds, taken in the same run.

    make bench          or          python benchmarks/package.py [--repeats 5]

Times are of whole processes, the best of the repeats, so that a busy machine matters little; memory is the peak
resident size of the largest process.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "digits.onnx"
SERVE = [str(Path(sys.executable).parent / "serve")]
BIG_MODEL_BYTES = 1_500_000_000
MIB = 1024 * 1024

IMPORT_TYPER = "import typer"
LOWER_BOUND = """
import hashlib, sys
import onnx, onnxruntime
model = onnx.load(sys.argv[1])
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()
"""
# Reading the graph alone, and hashing the data in pieces: what any tool that copies such a model has to do.
BIG_LOWER_BOUND = """
import hashlib, sys
import onnx
onnx.load(sys.argv[1], load_external_data=False)
hashlib.file_digest(open(sys.argv[1] + ".data", "rb"), "sha256").hexdigest()
"""
# A process's peak memory is never below that of the process it was forked from: this one is small and does nothing.
LAUNCHER = """
import os, sys, time
started = time.perf_counter()
null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
START_TRITON = """
import sys
from pathlib import Path
from serve_deploy.triton import ServerOptions, start_server
with start_server(ServerOptions(repository=Path(sys.argv[1]), auto_complete=False)):
    pass
"""


@dataclass(frozen=True)
class Measurement:
    """The best of several runs of one command."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Row:
    """One figure, the lower bound it stands beside, and the command that gave it."""

    what: str
    figure: str
    bound: str
    ratio: str
    command: str


def run_once(command: list[str]) -> Measurement:
    """Run a command to its end; raises CalledProcessError where it fails."""
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launcher, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak_kib = done.stdout.split()
    return Measurement(float(seconds), int(peak_kib) * 1024)


def measure(repeats: int, *commands: list[str]) -> list[Measurement]:
    """Run the commands in turn, once to warm the disk cache and `repeats` times more; the best of each."""
    runs = [[run_once(command) for command in commands] for _ in range(repeats + 1)][1:]
    return [
        Measurement(min(run.seconds for run in own), min(run.peak_bytes for run in own))
        for own in zip(*runs, strict=True)
    ]


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def time_row(what: str, ours: Measurement, bound: Measurement, bound_is: str, command: list[str]) -> Row:
    return Row(
        what,
        f"{ours.seconds:.2f} s",
        f"{bound.seconds:.2f} s ({bound_is})",
        f"{ours.seconds / bound.seconds:.2f}",
        shlex.join(command),
    )


def memory_row(what: str, ours: Measurement, bound: Measurement, bound_is: str, command: list[str]) -> Row:
    return Row(
        what,
        f"{ours.peak_bytes / MIB:.0f} MiB",
        f"{bound.peak_bytes / MIB:.0f} MiB ({bound_is})",
        f"{ours.peak_bytes / bound.peak_bytes:.2f}",
        shlex.join(command),
    )


def write_big_model(path: Path, size_bytes: int) -> None:
    """Write a linear layer whose weights are external data; the file is sparse, so it costs no disk."""
    import onnx
    from onnx import TensorProto, helper

    columns = 20_000
    rows = size_bytes // (4 * columns)
    weight = TensorProto(
        name="weight", data_type=TensorProto.FLOAT, dims=[rows, columns], data_location=TensorProto.EXTERNAL
    )
    weight.external_data.add(key="location", value=f"{path.name}.data")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "big",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", columns])],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with path.with_name(f"{path.name}.data").open("wb") as data:
        data.truncate(rows * columns * 4)


def measure_help(repeats: int) -> list[Row]:
    command = [*SERVE, "--help"]
    ours, bound = measure(repeats, command, python(IMPORT_TYPER))
    return [time_row("help", ours, bound, IMPORT_TYPER, command)]


def measure_example(repeats: int, folder: Path) -> list[Row]:
    """Package the example with and without verification, each beside what nobody can leave out."""
    fast = [*SERVE, "package", str(DIGITS), "-o", str(folder / "fast"), "--force", "--no-verify"]
    full = [*SERVE, "package", str(DIGITS), "-o", str(folder / "full"), "--force"]
    start_triton = python(START_TRITON, folder / "full")
    quick, verified, libraries, triton = measure(repeats, fast, full, python(LOWER_BOUND, DIGITS), start_triton)
    both = Measurement(libraries.seconds + triton.seconds, 0)
    return [
        time_row("package, no verification", quick, libraries, "imports, session, hash", fast),
        time_row("package, verified", verified, both, "the same + Triton start and stop", full),
    ]


def measure_big(repeats: int, folder: Path) -> list[Row]:
    """Package a 1.5 GB model; its data must never be in memory as a whole."""
    model = folder / "big.onnx"
    write_big_model(model, BIG_MODEL_BYTES)
    command = [*SERVE, "package", str(model), "-o", str(folder / "big"), "--no-verify", "--max-batch-size", "8"]
    ours, bound = measure(repeats, [*command, "--force"], python(BIG_LOWER_BOUND, model))
    bound_is = "read the graph, hash the data"
    return [
        time_row("package 1.5 GB, time", ours, bound, bound_is, command),
        memory_row("package 1.5 GB, memory", ours, bound, bound_is, command),
    ]


def main() -> None:
    """Print one table; the rightmost column is the command behind the figure."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    table = Table("what", "serve", "lower bound", "ratio", "command", box=None, pad_edge=False)
    with tempfile.TemporaryDirectory(prefix="serve-bench-") as name:
        folder = Path(name)
        for row in [*measure_help(repeats), *measure_example(repeats, folder), *measure_big(min(repeats, 2), folder)]:
            command = row.command.replace(f"{folder}/", "").replace(f"{SERVE[0]}", "serve")
            table.add_row(row.what, row.figure, row.bound, row.ratio, command.replace(f"{DIGITS}", "digits.onnx"))
    Console(soft_wrap=True, width=200).print(table)


if __name__ == "__main__":
    main()
