"""A report as CSV: one row a measurement (every repeat of every load), in full precision, units in the names."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import get_args

from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.generation import CountedBy, Generation
from serve_deploy.reports.point import Point
from serve_deploy.reports.readers import read_error_rate, read_goodput, read_queue_us
from serve_deploy.reports.report import NamedReport

_LOAD = ("mode", "concurrency", "request_rate", "distribution", "batch_size")
_COUNTS = ("sent", "succeeded", "failed", "timed_out", "in_flight_at_end", "never_sent")
_CLIENT = ("cpu_fraction", "cpu_us_per_request", "slip_p50_us", "slip_p99_us", "slip_max_us")
_LATENCY = tuple(name for name in LatencySummary.model_fields if name != "histogram")

_TOKEN_CLOCKS = {"ttft": "time_to_first_token", "itl": "inter_token", "tpot": "time_per_output_token"}
_TOKENS = (
    "input_tokens", "output_tokens", "output_tokens_of_failures", "pieces", "input_tokens_per_second",
    "output_tokens_per_second",
)  # fmt: skip


def render_csv(reports: Sequence[NamedReport]) -> str:
    """Write a header and one line a point, with the report's name where there are several."""
    text = io.StringIO()
    rows = [
        {**({"report": named.name} if len(reports) > 1 else {}), "model": named.report.target.model, **_row(point)}
        for named in reports
        for point in named.report.points
    ]
    columns = list(dict.fromkeys(column for row in rows for column in row)) or ["model"]
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(point: Point) -> dict[str, object]:
    return {
        **{f"load_{name}": getattr(point.load, name) for name in _LOAD},
        "repeat": point.repeat,
        "started_at": point.started_at,
        "duration_seconds": point.duration_seconds,
        **{name: getattr(point, name) for name in _COUNTS},
        "error_rate": read_error_rate(point),
        "requests_per_second": point.request_rate,
        "inferences_per_second": point.throughput,
        "mean_in_flight": point.mean_in_flight,
        **{f"response_{name}": getattr(point.response, name) for name in _LATENCY},
        **{f"service_{name}": getattr(point.service, name) for name in _LATENCY},
        "queue_us": read_queue_us(point),
        **{f"client_{name}": getattr(point.client, name) for name in _CLIENT},
        "client_bound": str(point.client_bound).lower(),
        **(_token_columns(point, point.generation) if point.generation else {}),
    }


def _token_columns(point: Point, generation: Generation) -> dict[str, object]:
    gap = generation.longest_gap
    return {
        "generation_protocol": generation.protocol,
        **{
            f"{name}_{figure}": getattr(getattr(generation, clock), figure)
            for name, clock in _TOKEN_CLOCKS.items()
            for figure in _LATENCY
        },
        **{name: getattr(generation, name) for name in _TOKENS},
        **{f"output_counted_by_{kind}": generation.output_counted_by.get(kind, 0) for kind in get_args(CountedBy)},
        "good": generation.good,
        "goodput": read_goodput(point),
        "longest_gap_us": gap and gap.gap_us,
        "longest_gap_request": gap and gap.request,
    }
