"""What the HTML page says of one report: its parts in order, each figure with the value it was rounded from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.errors import UsageError
from serve_deploy.rendering import baseline_words, summary, token_words
from serve_deploy.rendering.charts.changes import draw_changes
from serve_deploy.rendering.charts.curve import PLAIN_AXES, TOKEN_AXES, draw_curve
from serve_deploy.rendering.charts.frame import Chart
from serve_deploy.rendering.charts.histogram import draw_histogram
from serve_deploy.rendering.charts.percentiles import Threshold, draw_percentiles
from serve_deploy.rendering.charts.share import MODEL_COLUMNS, draw_share, model_rows
from serve_deploy.rendering.charts.timeline import draw_timeline
from serve_deploy.rendering.charts.token_charts import draw_token_charts
from serve_deploy.rendering.load_kinds import GOODPUT, Kind, kinds_of, measures_tokens
from serve_deploy.rendering.page.figures import Figure, make_facts, make_row, make_tiles
from serve_deploy.reports.figures import describe_data, format_load, format_moment, format_number
from serve_deploy.reports.gates import parse_gate
from serve_deploy.reports.point import GateResult, Point
from serve_deploy.reports.report import LoadTestReport, NamedReport

_CLOCKS = ("", "response")
_TOKEN_CLOCKS = (*_CLOCKS, "e2e", "ttft", "itl")


@dataclass(frozen=True)
class LoadView:
    """One load: its figures, charts, errors and the models behind it."""

    name: str
    is_open: bool
    client_bound: bool
    figures: tuple[Figure | None, ...]
    facts: tuple[tuple[str, tuple[Figure, ...]], ...]
    charts: tuple[Chart, ...]
    model_columns: tuple[str, ...]
    model_rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ReportView:
    """One report, ready for the template."""

    anchor: str
    name: str
    model: str
    failed: bool
    outcome: str
    target: tuple[tuple[str, str], ...]
    headline: str
    tiles: tuple[tuple[str, Figure], ...]
    warnings: tuple[str, ...]
    gates: tuple[tuple[GateResult, str], ...]
    search: str
    baseline: Chart | None
    baseline_words: str
    baseline_rows: tuple[tuple[str, ...], ...]
    baseline_notes: tuple[str, ...]
    overview: tuple[Chart, ...]
    errors: tuple[tuple[str, ...], ...]
    load_labels: tuple[str, ...]
    loads: tuple[LoadView, ...]
    meanings: tuple[tuple[str, str], ...]


def build_view(named: NamedReport, anchor: str) -> ReportView:
    """Gather the parts of one report; `anchor` makes its identifiers unique on the page."""
    report = named.report
    loads = summary.summarise_loads(report)
    pooled = [load.pooled for load in loads]
    headline = pick_headline(report, loads)
    several = len(loads) > 1
    kinds = [
        kind
        for kind in kinds_of([report])
        if kind is not GOODPUT or any(GOODPUT.read(point) is not None for point in pooled)
    ]
    tokens = measures_tokens(report)
    share = None if tokens else draw_share(pooled, f"share-{anchor}")
    is_curve = several and any(point.response.count for point in pooled)
    curve = draw_curve(pooled, TOKEN_AXES if tokens else PLAIN_AXES, f"curve-{anchor}") if is_curve else None
    return ReportView(
        anchor=anchor,
        name=named.name,
        model=report.target.model,
        failed=summary.has_failed(report),
        outcome=summary.describe_outcome(report),
        target=_describe_target(report),
        headline=format_load(headline.pooled.load) if headline else "",
        tiles=make_tiles(headline, anchor) if headline else (),
        warnings=tuple(summary.list_warnings(report)),
        gates=tuple((gate, format_load(gate.load) if gate.load else "whole run") for gate in report.gates),
        search=report.search.explanation if report.search else "",
        baseline=draw_changes(report.baseline, f"changes-{anchor}") if report.baseline else None,
        baseline_words=baseline_words.describe_baseline(report.baseline) if report.baseline else "",
        baseline_rows=tuple(baseline_words.change_rows(report.baseline)) if report.baseline else (),
        baseline_notes=report.baseline.notes if report.baseline else (),
        overview=tuple(chart for chart in (curve, share if several else None) if chart),
        errors=tuple(summary.error_rows(report)),
        load_labels=tuple(kind.label for kind in kinds),
        loads=tuple(
            _build_load(report, load, f"{anchor}-{number}", kinds, is_open=load is headline, alone=not several)
            for number, load in enumerate(loads)
        ),
        meanings=token_words.explain_figures(pooled) if tokens else (),
    )


def pick_headline(report: LoadTestReport, loads: tuple[summary.LoadSummary, ...]) -> summary.LoadSummary | None:
    """The load to speak of first: what a search found (its lowest, where none held), else the most that was done."""
    found = report.search.highest if report.search else None
    for load in loads:
        if found is not None and found in (load.pooled.load.request_rate, load.pooled.load.concurrency):
            return load
    if report.search is not None and loads:
        return loads[0]
    trusted = [load for load in loads if not load.pooled.client_bound] or list(loads)
    return max(trusted, key=lambda load: load.pooled.throughput, default=None)


def _describe_target(report: LoadTestReport) -> tuple[tuple[str, str], ...]:
    target, streams = report.target, token_words.describe_protocol(report.points)
    triton = f"Triton {target.server_version}" if target.server_version else ""
    seconds = sum(point.duration_seconds for point in report.points)
    facts = (
        ("model", ", version ".join(filter(None, (target.model, target.model_version)))),
        ("endpoint", f"{target.url} ({streams or target.protocol})"),
        ("server", ", ".join(filter(None, (triton, target.platform)))),
        ("largest batch", "" if streams else str(target.max_batch_size or "no batching")),
        ("inputs", ", ".join(target.inputs)),
        ("outputs", ", ".join(target.outputs)),
        ("data", describe_data(report.data) if report.data else ""),
        (
            "measured",
            f"{format_number(seconds)} s in {summary.plural(len(report.points), 'measurement')}",
        ),
        ("started", format_moment(report.points[0].started_at) if report.points else "–"),
        ("merged from", ", ".join(report.merged_from)),
    )
    return tuple((name, fact) for name, fact in facts if fact)


def _build_load(
    report: LoadTestReport,
    load: summary.LoadSummary,
    anchor: str,
    kinds: Sequence[Kind],
    *,
    is_open: bool,
    alone: bool,
) -> LoadView:
    point = load.pooled
    number = anchor.split("-", maxsplit=1)[0]
    if point.generation:
        charts = draw_token_charts(load.repeats, point.generation, anchor, _thresholds(report, point, _TOKEN_CLOCKS))
    else:
        charts = _draw_charts(load, anchor, _thresholds(report, point, _CLOCKS), alone=alone)
    return LoadView(
        name=format_load(point.load),
        is_open=is_open or alone,
        client_bound=point.client_bound,
        figures=make_row(load, kinds, number),
        facts=make_facts(load, number),
        charts=tuple(chart for chart in charts if chart),
        model_columns=MODEL_COLUMNS,
        model_rows=() if point.generation else tuple(model_rows(point)),
    )


def _draw_charts(
    load: summary.LoadSummary, anchor: str, thresholds: Sequence[Threshold], *, alone: bool
) -> list[Chart | None]:
    point = load.pooled
    charts = [draw_timeline(load.repeats, f"timeline-{anchor}")]
    if point.response.histogram:
        charts.append(draw_percentiles(point, f"percentiles-{anchor}", thresholds))
        charts.append(draw_histogram(point, f"histogram-{anchor}"))
    return [*charts, draw_share([point], f"share-{anchor}")] if alone else charts


def _thresholds(report: LoadTestReport, point: Point, clocks: Sequence[str]) -> list[Threshold]:
    """Gates on percentiles of these clocks at this load, as (fraction, µs, expression)."""
    found = []
    for result in report.gates:
        try:
            gate = parse_gate(result.expression)
        except UsageError:
            continue
        clock, _, name = gate.figure.rpartition("_")
        is_percentile = name[0] == "p" and name[1:2].isdigit()
        if result.load in (None, point.load) and clock in clocks and is_percentile:
            found.append((float(name[1:]) / 100, gate.threshold * gate.factor, result.expression))
    return found
