"""A report as one self-contained HTML page: no script, no network, light and dark, phone and print."""

from __future__ import annotations

from collections.abc import Sequence

from serve_deploy.rendering import baseline_words, summary
from serve_deploy.rendering.charts.curve import PLAIN_AXES, TOKEN_AXES, Line, draw_comparison
from serve_deploy.rendering.charts.frame import Chart
from serve_deploy.rendering.charts.percentiles import Climb, draw_percentile_comparison
from serve_deploy.rendering.load_kinds import measures_tokens
from serve_deploy.rendering.page.content import build_view
from serve_deploy.rendering.template import render_template
from serve_deploy.reports.readers import ITL, TTFT, find_latency
from serve_deploy.reports.report import NamedReport

_STYLES = ("tail", "response", "answers", "service", "failure", "peak")
_CLOCKS = (("response time", "requests", "response"),)
_TOKEN_CLOCKS = (("time to first token", "requests", TTFT), ("inter-token latency", "gaps", ITL))


def render_html(reports: Sequence[NamedReport]) -> str:
    """Write the page; every figure carries its full value from the report beside the rounded one."""
    views = [build_view(named, str(number)) for number, named in enumerate(reports)]
    return render_template(
        "serve_deploy.rendering",
        "report.html.j2",
        title=_title(reports),
        several=len(reports) > 1,
        views=views,
        comparisons=_compare(reports) if len(reports) > 1 else [],
        change_columns=baseline_words.CHANGE_COLUMNS,
        tool_version=reports[0].report.tool_version,
    )


def _title(reports: Sequence[NamedReport]) -> str:
    models = " and ".join(dict.fromkeys(named.report.target.model for named in reports))
    return f"Load test of {models}" if len(reports) == 1 else f"{len(reports)} load tests of {models}"


def _compare(reports: Sequence[NamedReport]) -> list[Chart]:
    """Sweeps by throughput, single loads by percentile; nothing where nothing was answered."""
    answered = {
        named.name: tuple(load.pooled for load in summary.summarise_loads(named.report) if load.pooled.response.count)
        for named in reports
    }
    lines = [
        Line(name, points, _STYLES[number % len(_STYLES)])
        for number, (name, points) in enumerate(answered.items())
        if points
    ]
    if not lines:
        return []
    tokens = all(measures_tokens(named.report) for named in reports)
    clocks = _TOKEN_CLOCKS if tokens else _CLOCKS
    if all(len(line.points) == 1 for line in lines):
        return [
            draw_percentile_comparison(climbs, what, of, f"comparison-{number}")
            for number, (what, of, clock) in enumerate(clocks)
            if (climbs := _list_climbs(lines, clock))
        ]
    axes, latencies = (TOKEN_AXES, (1, 0)) if tokens else (PLAIN_AXES, (1,))
    return [draw_comparison(lines, axes, latency, f"comparison-{latency}") for latency in latencies]


def _list_climbs(lines: Sequence[Line], clock: str) -> list[Climb]:
    return [
        Climb(line.style, line.name, latency)
        for line in lines
        if (latency := find_latency(line.points[0], clock)) is not None
    ]
