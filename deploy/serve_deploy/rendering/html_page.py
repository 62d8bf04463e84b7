"""A report as one self-contained HTML page: no script, no network, light and dark, phone and print."""

from __future__ import annotations

from collections.abc import Sequence

from serve_deploy.rendering import summary
from serve_deploy.rendering.charts.curve import Line, draw_comparison
from serve_deploy.rendering.charts.distribution import draw_percentile_comparison
from serve_deploy.rendering.charts.frame import Chart
from serve_deploy.rendering.page_content import build_view
from serve_deploy.rendering.page_figures import LOAD_KINDS
from serve_deploy.reports.report import NamedReport

_STYLES = ("tail", "response", "answers", "service", "failure", "peak")


def render_html(reports: Sequence[NamedReport]) -> str:
    """Write the page; every figure carries its full value from the report beside the rounded one."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("serve_deploy.rendering", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    views = [build_view(named, str(number)) for number, named in enumerate(reports)]
    page = environment.get_template("report.html.j2").render(
        title=_title(reports),
        several=len(reports) > 1,
        views=views,
        comparison=_compare(reports) if len(reports) > 1 else None,
        change_columns=summary.CHANGE_COLUMNS,
        load_labels=[kind.label for kind in LOAD_KINDS],
        tool_version=reports[0].report.tool_version,
    )
    return page.rstrip() + "\n"


def _title(reports: Sequence[NamedReport]) -> str:
    models = " and ".join(dict.fromkeys(named.report.target.model for named in reports))
    return f"Load test of {models}" if len(reports) == 1 else f"{len(reports)} load tests of {models}"


def _compare(reports: Sequence[NamedReport]) -> Chart | None:
    """Sweeps by throughput, single loads by percentile; None where nothing was answered."""
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
        return None
    if all(len(line.points) == 1 for line in lines):
        latencies = [(line.style, line.name, line.points[0].response) for line in lines]
        return draw_percentile_comparison(latencies, "comparison")
    return draw_comparison(lines, "comparison")
