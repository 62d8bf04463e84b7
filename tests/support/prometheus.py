"""A real Prometheus for tests: filled from OpenMetrics text, or scraping; ended by its own handle."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port


def tool(name: str) -> str:
    """The path of prometheus or promtool; skips the test where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: apt install prometheus)")
    return path


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, asked through its HTTP interface."""

    url: str

    def instant(self, query: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series at a time."""
        answer = self._get("query", query=query, **({} if at is None else {"time": at}))
        return [(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def range(
        self, query: str, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Labels and (time, value) pairs of each series."""
        answer = self._get("query_range", query=query, start=start, end=end, step=step)
        return [
            (each["metric"], [(float(at), float(value)) for at, value in each["values"]]) for each in answer["result"]
        ]

    def _get(self, method: str, **parameters: Any) -> Any:
        url = f"{self.url}/api/v1/{method}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=120) as reply:
            return json.load(reply)["data"]


@contextmanager
def running_prometheus(folder: Path, config: dict[str, Any] | None = None) -> Iterator[Prometheus]:
    """Run Prometheus on `folder`/data, with this configuration, on a free port of the loopback interface."""
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config or {}))
    port = free_port()
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                "--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/-/ready", folder / "prometheus.log")
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=300)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    pause = 0.02
    for _ in range(6000):
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(pause)  # polling a process that tells us in no other way
        else:
            return
    raise AssertionError(f"Prometheus did not become ready: {log.read_text()[-2000:]}")


def load_openmetrics(folder: Path, text: str) -> None:
    """Put samples with their times into `folder`/data as blocks."""
    source = folder / "samples.om"
    source.write_text(text)
    subprocess.run(
        [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(source), str(folder / "data")],
        check=True, capture_output=True,
    )  # fmt: skip
