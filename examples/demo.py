"""The main job on the example, each step a command that you can type yourself: `make demo`.

Package a model, start a real Triton on it, ask it, load-test it, and write a chart from what was measured. Everything
happens in a temporary folder, and is gone at the end; `--keep FOLDER` keeps it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DIGITS = Path(__file__).resolve().parent / "digits"
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def show(*command: object) -> list[str]:
    """Print a command as it would be typed."""
    words = [str(word) for word in command]
    print(f"\n$ {shlex.join(words)}", flush=True)
    return words


def run(folder: Path, *command: object) -> None:
    """Run one command to its end, and end the demo where it fails."""
    code = subprocess.run(show(*command), cwd=folder, env=ENVIRONMENT, check=False).returncode
    if code:
        sys.exit(code)


def find_free_ports(count: int) -> list[int]:
    """Ask the system for ports that nobody uses, so that the demo runs beside anything else."""
    with_sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in with_sockets]
    for opened in with_sockets:
        opened.close()
    return ports


@contextmanager
def triton(folder: Path) -> Iterator[str]:
    """Run `serve run` until the block ends; yields its HTTP address once its models are ready."""
    http, grpc, metrics = find_free_ports(3)
    command = ["serve", "run", "models", "--http-port", http, "--grpc-port", grpc, "--metrics-port", metrics]
    server = subprocess.Popen(
        [*show(*command)], cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        # Its table of models comes once they have loaded.
        for line in server.stdout:
            print(line, end="", flush=True)
            if "READY" in line:
                break
        yield f"http://127.0.0.1:{http}"
    finally:
        server.terminate()  # as Ctrl-C, which a shell's background jobs ignore
        server.communicate(timeout=60)


def demo(folder: Path) -> None:
    """Go from the model file to the chart."""
    shutil.copytree(DIGITS, folder / "digits", dirs_exist_ok=True)
    run(folder, "serve", "package", "digits/digits.onnx", "-o", "models", "--samples", "digits/samples.npz")
    with triton(folder) as url:
        run(folder, "serve", "infer", url, "-m", "digits", "--input", "image=@digits/images/7.png")
        sweep = ["-c", "1..8", "--duration", "2", "--slo", "p99<500ms", "-o", "sweep.json"]
        run(folder, "serve", "loadtest", url, "-m", "digits", *sweep)
    run(folder, "serve", "chart", "models", "--capacity", "sweep.json", "--slo", "p99<500ms", "-o", "deploy-chart")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this folder and leave it")
    keep = parser.parse_args().keep
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="serve-demo-") as folder:
            demo(Path(folder))
    else:
        keep.mkdir(parents=True, exist_ok=True)
        demo(keep)


if __name__ == "__main__":
    main()
