"""The charts of one load of token streams: what came when, and how first tokens and gaps are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serve_deploy.rendering.charts.frame import Chart
from serve_deploy.rendering.charts.histogram import Distribution, Layer, draw_distribution
from serve_deploy.rendering.charts.percentiles import Climb, Threshold, draw_climbs
from serve_deploy.rendering.charts.timeline import draw_timeline
from serve_deploy.rendering.charts.token_timeline import draw_token_timeline
from serve_deploy.rendering.token_words import describe_place
from serve_deploy.reports.document import LatencySummary
from serve_deploy.reports.figures import format_count, format_time_us
from serve_deploy.reports.generation import Generation
from serve_deploy.reports.point import Point
from serve_deploy.reports.pooling import pool_repeats


def draw_token_charts(
    repeats: Sequence[Point], generation: Generation, anchor: str, thresholds: Sequence[Threshold]
) -> list[Chart | None]:
    """The charts of one load, its repeats pooled in `generation`; None stands for what was not recorded."""
    return [
        draw_token_timeline(repeats, f"tokens-{anchor}"),
        _draw_first_tokens(generation.time_to_first_token, f"first-tokens-{anchor}"),
        _draw_gaps(generation, f"gaps-{anchor}"),
        _draw_percentiles(pool_repeats(repeats), generation, f"percentiles-{anchor}", thresholds),
        _draw_requests(repeats, f"timeline-{anchor}"),
    ]


def _draw_requests(repeats: Sequence[Point], identifier: str) -> Chart | None:
    chart = draw_timeline(repeats, identifier)
    slowest = format_time_us(max(point.response.max_us for point in repeats))
    return chart and replace(chart, title="Requests over time", lead=f"The slowest whole answer took {slowest}.")


def _draw_first_tokens(latency: LatencySummary, identifier: str) -> Chart | None:
    return _draw_rare(
        "Time to first token",
        f"{format_count(latency.count)} requests by when the first token came. {_describe_tail(latency)}",
        "time to first token (requests on a logarithmic scale)",
        Layer("response", "time to first token, from the intended send", "requests", latency),
        identifier,
    )


def _draw_gaps(generation: Generation, identifier: str) -> Chart | None:
    latency, longest = generation.inter_token, generation.longest_gap
    where = f" The longest was {describe_place(longest)}." if longest else ""
    return _draw_rare(
        "Inter-token latency",
        f"Every one of the {format_count(latency.count)} gaps. {_describe_tail(latency)}{where}",
        "gap (gaps on a logarithmic scale)",
        Layer("answers", "gaps between two pieces of one answer", "gaps", latency),
        identifier,
    )


def _draw_rare(title: str, lead: str, axis: str, layer: Layer, identifier: str) -> Chart | None:
    if not layer.latency.histogram:
        return None
    return draw_distribution(Distribution(title, lead, layer.column, axis, (layer,), shows_rare=True), identifier)


def _draw_percentiles(
    point: Point, generation: Generation, identifier: str, thresholds: Sequence[Threshold]
) -> Chart | None:
    climbs = [
        Climb("response", "e2e", point.response, "e2e: response time"),
        Climb("tail", "TTFT", generation.time_to_first_token, "TTFT: time to first token"),
        Climb("answers", "ITL", generation.inter_token, "ITL: inter-token latency, of gaps"),
    ]
    measured = [climb for climb in climbs if climb.latency.histogram]
    if not measured:
        return None
    lead = "Of requests, and of gaps: the slowest of each is at the right end."
    return draw_climbs(measured, measured, "percentile", identifier, thresholds, lead)


def _describe_tail(latency: LatencySummary) -> str:
    half, slow = format_time_us(latency.p50_us), format_time_us(latency.p99_us)
    return f"Half took {half} or less, one in a hundred {slow} or longer."
