"""A real Pushgateway for tests; ended by its own handle."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ports import free_port


@contextmanager
def running_pushgateway() -> Iterator[str]:
    """Run a Pushgateway on a free port and give its address; skips the test where there is none."""
    program = shutil.which("prometheus-pushgateway")
    if program is None:
        pytest.skip("prometheus-pushgateway is not installed: make tools")
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [program, f"--web.listen-address={url.removeprefix('http://')}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        read_when_up(f"{url}/-/ready", process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=300)


def read_when_up(url: str, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> str:
    """Read an address of a process as soon as it answers; AssertionError where the process ends before."""
    for _ in range(6000):
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return str(reply.read().decode())
        except (urllib.error.URLError, ConnectionError):
            try:
                process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
            break
    raise AssertionError(f"{url} does not answer")
