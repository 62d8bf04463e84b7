"""What the drawings show: no stall where the period ends within a slice, no name on a line."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from synthetic_reports import make_point, make_report

from serve_deploy.rendering import render
from serve_deploy.rendering.charts.changes import draw_changes
from serve_deploy.rendering.charts.curve import PLAIN_AXES, draw_curve
from serve_deploy.rendering.charts.percentiles import draw_percentiles
from serve_deploy.rendering.charts.slices import cut_timeline
from serve_deploy.reports.judging import Baseline, judge_report
from serve_deploy.reports.point import Load, Point, TimelineBucket
from serve_deploy.reports.report import BaselineComparison, MetricChange


def make_steady_point(seconds: float) -> Point:
    """100 answers a second, evenly, in slices of 0.1 s, the last of which the period may end in."""
    counts = np.bincount(np.arange(round(seconds * 100)) // 10)
    buckets = [
        TimelineBucket(
            start_seconds=round(index * 0.1, 6), duration_seconds=0.1, succeeded=int(count), failed=0, in_flight=0,
            response_p50_us=900, response_p99_us=1500, response_max_us=2000,
        )
        for index, count in enumerate(counts)
    ]  # fmt: skip
    return make_point(duration_seconds=seconds, timeline=tuple(buckets))


@pytest.mark.parametrize("seconds", [2.0, 2.03, 2.07, 0.03])
def test_a_period_that_ends_within_a_slice_shows_no_stall(seconds: float) -> None:
    """Every slice of an even load has its rate, the last one too."""
    point = make_steady_point(seconds)
    buckets = cut_timeline(point)
    assert [bucket.succeeded / bucket.duration_seconds for bucket in buckets] == pytest.approx([100] * len(buckets))
    assert sum(bucket.succeeded for bucket in buckets) == sum(bucket.succeeded for bucket in point.timeline)


def test_a_percentile_lies_on_its_line() -> None:
    """Of few requests too: the line goes in the steps that percentiles do."""
    times = np.array([1000.0] * 80 + [8000.0] * 8 + [30_000.0] * 7 + [118_000.0] * 3)
    svg = draw_percentiles(make_point(response_us=times), "percentiles", []).wide
    line = re.search(r'<polyline points="([^"]*)" class="line response"', svg)
    assert line is not None
    corners = [tuple(map(float, corner.split(","))) for corner in line[1].split()]
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="3.5" class="dot response">', svg)
    assert len(dots) == 5
    for x, y in ((float(x), float(y)) for x, y in dots):
        steps = [(left, right, top) for (left, top), (right, bottom) in pairwise(corners) if abs(top - bottom) < 0.2]
        assert any(left - 0.2 <= x <= right + 0.2 and abs(top - y) < 2 for left, right, top in steps)


def read_names(svg: str) -> list[tuple[float, float, float]]:
    """(Left, right, baseline) of each point's name, at seven pixels a letter."""
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="start" class="point-name">([^<]*)<', svg)
    return [(float(x), float(x) + 7 * len(name), float(y)) for x, y, name in found]


@pytest.mark.parametrize("p99_ms", [(50, 40, 30), (30, 40, 50), (40, 40, 40), (30, 50, 30)])
def test_no_name_of_a_load_lies_on_the_line(p99_ms: tuple[int, ...]) -> None:
    """Whichever way the curve goes, each name stands beside it."""
    points = [
        make_point(Load(mode="closed", concurrency=2**index), response_us=np.full(500 + 400 * index, time_ms * 1000.0))
        for index, time_ms in enumerate(p99_ms)
    ]
    svg = draw_curve(points, PLAIN_AXES, "curve").wide
    line = re.search(r'<polyline points="([^"]*)" class="line tail"', svg)
    assert line is not None
    corners = [tuple(map(float, corner.split(","))) for corner in line[1].split()]
    names = read_names(svg)
    assert len(names) == 3
    for (x1, y1), (x2, y2) in pairwise(corners):
        for step in range(101):
            x, y = x1 + (x2 - x1) * step / 100, y1 + (y2 - y1) * step / 100
            assert not any(left < x < right and base - 9 < y < base for left, right, base in names)


def test_no_name_of_a_change_lies_on_the_axis() -> None:
    """On a phone names reach across the axis, which is interrupted for them."""
    change = MetricChange(
        load=Load(mode="closed", concurrency=16), metric="throughput", before=100, now=90,
        change=-0.1, change_low=-0.12, change_high=-0.08, verdict="worse", method="repeats", explanation="",
    )  # fmt: skip
    comparison = BaselineComparison(
        baseline="main.json", baseline_started_at="", confidence=0.95, minimum_effect=0.05, regressed=True,
        changes=(change, change),
    )  # fmt: skip
    chart = draw_changes(comparison, "changes")
    assert chart is not None
    bases = [float(y) for y in re.findall(r'<text x="14" y="([\d.]+)"', chart.narrow)]
    axes = re.findall(r'<line x1="176" y1="([\d.]+)" x2="176" y2="([\d.]+)" class="axis"', chart.narrow)
    assert len(bases) == 2
    for top, bottom in ((float(top), float(bottom)) for top, bottom in axes):
        assert not any(top < base and base - 9 < bottom for base in bases)


def test_a_comparison_without_figures_has_words_in_place_of_a_chart() -> None:
    """No empty axes, but the verdict, the figures of both sides and the reason."""
    bound = make_point(client_bound=True, sent=0, succeeded=0)
    page = render(judge_report(make_report(bound), [], Baseline("main.json", make_report())), "html")
    card = page.split("<h2>Against the baseline</h2>")[1].split("</section>")[0]
    assert "<svg" not in card
    assert "Not compared with main.json" in card
    assert "the load generator was the limit" in card
    assert ">not compared</td>" in card
