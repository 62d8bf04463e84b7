"""What a load test is asked to do; the same for the command and for Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.loadtest.schedule import ClosedLoop, LoadShape


@dataclass(frozen=True, kw_only=True)
class LoadTestOptions:
    """One point is measured for each of `loads`, `repeat` times.

    The period ends after `duration_seconds`, or with the `requests`-th request if that comes first; a request that
    is still open `timeout_seconds` after its send has timed out.
    """

    endpoint: Endpoint
    model: str
    model_version: str = ""
    loads: tuple[LoadShape, ...] = (ClosedLoop(1),)
    duration_seconds: float | None = 10.0
    requests: int | None = None
    warmup_seconds: float = 1.0
    repeat: int = 1
    timeout_seconds: float = 30.0
    batch_size: int = 1
    processes: int = 1
    connections: int = 1000
    data: Path | None = None
    expected: Path | None = None
    repository: Path | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    seed: int = 0
    string_length: int = 16
    validate: bool = False
    shared_memory: Literal["none", "system"] = "none"
    streaming: bool = False
    sequence_length: int = 20
    metrics_url: str | None = None
