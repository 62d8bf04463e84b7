"""Whether streams are slower than before: first token, gaps, tokens a second and goodput, by the same statistics."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_reports import make_point, make_report
from synthetic_streams import Streams, make_streams, make_token_point, make_token_report

from serve_deploy.errors import UsageError
from serve_deploy.rendering import render
from serve_deploy.reports.baseline.comparison import compare_with_baseline
from serve_deploy.reports.generation import CountedBy
from serve_deploy.reports.point import Load
from serve_deploy.reports.report import BaselineComparison, LoadTestReport

CLOSED = Load(mode="closed", concurrency=8)
TOKEN_FIGURES = ["ttft_p50", "ttft_p99", "itl_p99", "output_tokens", "goodput"]


def measure(
    random: np.random.Generator,
    *,
    repeats: int = 5,
    first: float = 1.0,
    gap: float = 1.0,
    spoiled: float = 0.0,
    objectives: tuple[str, ...] = ("ttft<200ms", "itl_max<100ms"),
    counted_by: CountedBy = "usage",
) -> LoadTestReport:
    """Runs that differ by 3 %; optionally with later first tokens, longer gaps, or a share of spoiled requests."""
    points = []
    for repeat in range(repeats):
        pace = random.lognormal(0, 0.03)
        plain = make_streams(8, seconds=2.0, seed=int(random.integers(1 << 30)))
        gaps = plain.gaps * gap * pace
        gaps[random.random(plain.starts.size) < spoiled, 4] = 0.15
        streams = Streams(plain.starts, plain.first * first * pace, gaps)
        seconds = float(streams.response.sum()) / 8
        points.append(
            make_token_point(
                streams, CLOSED, objectives=objectives, counted_by=counted_by, duration_seconds=seconds, repeat=repeat
            )
        )
    return make_token_report(*points)


def verdicts(comparison: BaselineComparison) -> dict[str, str]:
    """The verdict on each figure."""
    return {change.metric: change.verdict for change in comparison.changes}


def test_unchanged_streams_are_hardly_ever_called_slower() -> None:
    """Nine figures share the confidence of one comparison."""
    random = np.random.default_rng(1)
    alarms = sum(compare_with_baseline(measure(random), measure(random), "main.json").regressed for _ in range(30))
    assert alarms <= 3


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        ({"first": 1.3}, {"ttft_p50", "ttft_p99"}),
        ({"gap": 1.3}, {"itl_p99", "output_tokens"}),
        ({"spoiled": 0.3}, {"goodput"}),
    ],
)
def test_what_became_slower_is_named(change: dict[str, float], worse: set[str]) -> None:
    """A later first token, longer gaps, more requests that miss an objective: each under its own name."""
    random = np.random.default_rng(2)
    found = verdicts(compare_with_baseline(measure(random, **change), measure(random), "main.json"))  # type: ignore[arg-type]
    assert worse <= {metric for metric, verdict in found.items() if verdict == "worse"}
    others = {"ttft_p50", "itl_p99", "goodput"} - worse
    assert not {metric for metric in others if found[metric] == "worse"}


def test_goodput_changes_by_points() -> None:
    """From all requests to seven in ten is 30 points less."""
    random = np.random.default_rng(3)
    comparison = compare_with_baseline(measure(random, spoiled=0.3), measure(random), "main.json")
    (goodput,) = [change for change in comparison.changes if change.metric == "goodput"]
    assert (goodput.before, goodput.method) == (1.0, "repeats")
    assert goodput.change == pytest.approx(-0.3, abs=0.06)
    assert goodput.now == pytest.approx(0.7, abs=0.06)


def test_single_runs_decide_only_what_is_far_beyond_chance() -> None:
    """Twice the gap is called, a tenth more is not."""
    random = np.random.default_rng(4)
    before = measure(random, repeats=1)
    twice = compare_with_baseline(measure(random, repeats=1, gap=2.0), before, "main.json")
    tenth = compare_with_baseline(measure(random, repeats=1, gap=1.1), before, "main.json")
    assert verdicts(twice)["itl_p99"] == "worse"
    assert {verdicts(tenth)[metric] for metric in TOKEN_FIGURES} == {"undecided"}


def test_without_objectives_goodput_is_not_among_the_figures() -> None:
    """On neither side was it asked for."""
    random = np.random.default_rng(5)
    sides = [measure(random, objectives=(), repeats=2) for _ in range(2)]
    assert "goodput" not in verdicts(compare_with_baseline(*sides, "main.json"))


@pytest.mark.parametrize(
    ("now", "metric", "reason"),
    [
        ({"objectives": ("ttft<1s",)}, "goodput", "the runs had other objectives"),
        ({"counted_by": "chunks"}, "output_tokens", "the tokens were counted in another way"),
    ],
)
def test_what_was_measured_otherwise_is_not_compared(now: dict[str, object], metric: str, reason: str) -> None:
    """The other figures are."""
    random = np.random.default_rng(6)
    comparison = compare_with_baseline(measure(random, **now), measure(random), "main.json")  # type: ignore[arg-type]
    missing = {change.metric: change.explanation for change in comparison.changes if change.verdict == "not_compared"}
    assert missing == {metric: reason}


def test_answers_of_one_token_have_no_gaps_to_compare() -> None:
    """The comparison says so rather than call them the same."""
    streams = make_streams()
    point = make_token_point(Streams(streams.starts, streams.first, np.empty((streams.starts.size, 0))))
    comparison = compare_with_baseline(make_token_report(point), make_token_report(point), "main.json")
    reasons = {change.metric: change.explanation for change in comparison.changes}
    assert reasons["itl_p99"] == "one of the runs got no second token"


def test_streams_are_not_compared_with_whole_answers() -> None:
    """Nor those of one protocol with those of another."""
    plain = make_report(make_point(CLOSED))
    streams = measure(np.random.default_rng(7), repeats=1)
    before = plain.model_copy(update={"target": streams.target})
    with pytest.raises(UsageError, match="measured whole answers, this run token streams"):
        compare_with_baseline(streams, before, "main.json")


def test_every_rendering_knows_the_figures_of_streams() -> None:
    """The baseline's table, JUnit cases and chart name them in the words of the field."""
    random = np.random.default_rng(8)
    now = measure(random, gap=1.4)
    report = now.model_copy(update={"baseline": compare_with_baseline(now, measure(random), "main.json")})
    table, junit, page = (render(report, name) for name in ("table", "junit", "html"))
    for text in (table, junit, page):
        assert "ITL p99" in text
    assert "output tokens/s" in table or "tokens/s" in table
    assert 'name="TTFT p99 at concurrency 8 against the baseline"' in junit
