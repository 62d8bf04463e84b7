"""What the server's gauges said over a period, in words: its GPU, its CPU, and the requests that waited."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.reports.figures import format_number, format_share
from serve_deploy.reports.point import Point

_GIB = 1 << 30
_GAUGES = (
    ("nv_gpu_utilization", "GPU {}", format_share),
    ("nv_gpu_memory_used_bytes", "GPU memory {}", lambda value: f"{format_number(value / _GIB)} GiB"),
    ("nv_gpu_power_usage", "GPU power {}", lambda value: f"{format_number(value)} W"),
    ("nv_cpu_utilization", "CPU {}", format_share),
    ("nv_cpu_memory_used_bytes", "memory {}", lambda value: f"{format_number(value / _GIB)} GiB"),
)


@dataclass(frozen=True)
class Gauge:
    """A mean over the period: where the point has it, its value there, and how it is written."""

    key: str
    value: float
    text: str


def describe_gauges(point: Point) -> list[Gauge]:
    """What is known of the machine that the server runs on; little without --metrics-url where it is not this one."""
    metrics = point.server_metrics
    gauges = [
        Gauge(f"server_metrics.{name}", metrics[name], words.format(write(metrics[name])))
        for name, words, write in _GAUGES
        if name in metrics
    ]
    if point.server_cpu_cores is not None:
        text = f"server CPU {format_number(point.server_cpu_cores)} cores"
        gauges.append(Gauge("server_cpu_cores", point.server_cpu_cores, text))
    if point.pending is not None:
        gauges.append(Gauge("pending", point.pending, f"{format_number(point.pending)} requests waiting"))
    return gauges
