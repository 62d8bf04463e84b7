"""What could not be judged or compared does not pass, says why, and looks the same in every format."""

from __future__ import annotations

import re
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from synthetic_reports import make_point, make_report, make_sweep

from serve_deploy.errors import ThresholdError, UsageError
from serve_deploy.loadtest import require_slo
from serve_deploy.rendering import render
from serve_deploy.reports.gates import parse_gate
from serve_deploy.reports.judging import Baseline, check_comparable, judge_report, require_passed
from serve_deploy.reports.point import Load
from serve_deploy.reports.report import LoadTestReport, SearchResult

GATE = parse_gate("p99<1s")
SLOW, FAST = (Load(mode="open", request_rate=rate, distribution="constant") for rate in (100.0, 200.0))
RATES = (SLOW, FAST)
BOUND = {"client_bound": True, "client_bound_reasons": ("its CPU was 97 % busy",)}


def make_partial(**changes: object) -> LoadTestReport:
    """One load that was measured, and a run that was interrupted after it."""
    return make_report(complete=False, interrupted_reason="interrupted while warming up", **changes)


def compare(now: LoadTestReport, before: LoadTestReport, *, allow_partial: bool = False) -> LoadTestReport:
    """Judge a report by a baseline."""
    return judge_report(now, [], Baseline("main.json", before), allow_partial=allow_partial)


def not_comparable() -> LoadTestReport:
    """A run at its generator's limit, compared with a sound one that failed nothing."""
    return compare(make_report(make_point(**BOUND, sent=0, succeeded=0)), make_report())


def compared_in_part(*, allow_partial: bool = False) -> LoadTestReport:
    """Two loads, of which the baseline measured one, five times a side."""
    steady = [make_point(SLOW, response_us=np.full(1000, 5000.0), repeat=repeat) for repeat in range(5)]
    return compare(make_report(*steady, make_point(FAST)), make_report(*steady), allow_partial=allow_partial)


def test_a_partial_report_does_not_pass_its_gates() -> None:
    """A run that was cut short did not show that every load holds; the error has the reason and the way out."""
    with pytest.raises(ThresholdError, match="the run is partial: interrupted while warming up") as caught:
        require_slo(make_partial(), "p99<1s")
    assert caught.value.hint == "`allow_partial` judges by what was measured"


def test_a_partial_report_passes_where_that_is_allowed() -> None:
    """What was measured held its gate, and the user asked for no more."""
    report = judge_report(make_partial(), [GATE], allow_partial=True)
    require_passed(report)
    assert "✅" in render(report, "markdown")


def test_an_allowed_partial_report_still_misses_its_gates() -> None:
    """To allow what is missing is not to allow what was missed."""
    with pytest.raises(ThresholdError, match="1 of 1 gate missed"):
        require_passed(judge_report(make_partial(), [parse_gate("p99<1ms")], allow_partial=True))


def test_gates_of_a_run_without_measurements_are_missed() -> None:
    """A gate that was asked for never vanishes."""
    (gate,) = judge_report(make_partial().model_copy(update={"points": ()}), [GATE]).gates
    assert (gate.passed, gate.explanation) == (False, "cannot be judged: no load was measured to the end")


def test_what_could_not_be_compared_at_all_never_passes() -> None:
    """Nothing is green that was not measured, whatever is allowed; the error names figures, load and reason."""
    reason = "not compared with the baseline: p50, p99 and throughput at 200/s: the load generator was the limit"
    for allow in (False, True):
        report = not_comparable().model_copy(update={"allow_partial": allow})
        with pytest.raises(ThresholdError, match=reason):
            require_passed(report)


def test_a_load_that_the_baseline_lacks_does_not_pass() -> None:
    """Compared in part is said with the load that was not, unless the user allows it."""
    with pytest.raises(
        ThresholdError, match="only in part: p50, p99, throughput and errors at 200/s: the baseline did"
    ):
        require_passed(compared_in_part())
    require_passed(compared_in_part(allow_partial=True))


@pytest.mark.parametrize("make", [not_comparable, compared_in_part])
def test_every_format_says_what_was_not_compared(make) -> None:  # type: ignore[no-untyped-def]
    """Text, Markdown, page, JUnit and JSON agree that the comparison failed, and where."""
    report = make()
    words = [render(report, name) for name in ("table", "markdown", "html", "json")]
    for text in words:
        assert re.search("Not compared: .*at 200/s: ", text)
        assert "ot slower than" not in text
    assert report.baseline.compared != "in full"
    assert "### ❌" in words[1]
    assert '<span class="outcome bad">' in words[2]
    suite = xml.fromstring(render(report, "junit"))
    assert int(suite.get("errors", 0)) >= 3


def test_junit_skips_what_is_allowed_to_be_missing() -> None:
    """A CI system then shows the gap, but does not fail the build for it."""
    suite = xml.fromstring(render(compared_in_part(allow_partial=True), "junit"))
    assert (suite.get("errors"), len(suite.findall(".//skipped"))) == ("0", 4)


def test_an_undecided_comparison_is_not_called_equal() -> None:
    """A single run on each side decides nothing: that passes, but is not "not slower"."""
    report = compare(make_report(), make_report())
    require_passed(report)
    assert "not shown to be slower than the baseline" in render(report, "markdown")


def test_an_interrupted_run_is_told_apart_from_its_baseline() -> None:
    """A run that ended before the first load of its baseline says that nothing was compared."""
    report = compare(make_partial().model_copy(update={"points": ()}), make_report())
    with pytest.raises(ThresholdError, match="not compared with the baseline: no load was measured"):
        require_passed(report)
    assert "the run ended before any load was measured" in render(report, "table")
    assert xml.fromstring(render(report, "junit")).get("errors") == "2"


def test_a_baseline_that_lacks_a_load_is_refused_before_the_run() -> None:
    """No minute is spent on a comparison that cannot pass; the hint says how to go on without that load."""
    baseline = Baseline("main.json", make_report(make_point(SLOW)))
    with pytest.raises(UsageError, match=r"was measured at 100/s, not at 200/s") as caught:
        check_comparable(baseline, "digits", "http", RATES)
    assert "`allow_partial`" in (caught.value.hint or "")
    check_comparable(baseline, "digits", "http", RATES, allow_partial=True)


def test_an_interrupted_search_is_judged_by_what_it_judged() -> None:
    """A load that was cut short neither passes nor misses a gate that the search did not come to."""
    held, cut = make_point(SLOW), make_point(FAST)
    search = SearchResult(
        variable="rate", highest=None, lowest_missed=None, stopped_by="interrupted", explanation="", judged_points=0
    )
    (gate,) = judge_report(make_partial(search=search, points=(cut,)), [GATE]).gates
    assert (gate.passed, gate.measured) == (False, None)
    search = search.model_copy(update={"highest": 100.0, "judged_points": 1})
    (gate,) = judge_report(make_partial(search=search, points=(held, cut)), [GATE]).gates
    assert (gate.passed, gate.load) == (True, SLOW)


def test_a_client_bound_load_fails_the_comparison_of_its_sweep() -> None:
    """As it fails a gate: the generator's limit says nothing of the server."""
    sweeps = [make_report(*make_sweep(seed)) for seed in (1, 2)]
    with pytest.raises(ThresholdError, match="at concurrency 16: the load generator was the limit"):
        require_passed(compare(*sweeps))
    require_passed(compare(*sweeps, allow_partial=True))
