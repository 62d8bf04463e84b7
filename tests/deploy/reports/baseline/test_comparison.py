"""Whether a run is slower than before: right about known truths, and honest where nothing can be known."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_reports import DATA, TARGET, make_point, make_report, make_sweep

from serve_deploy.errors import UsageError
from serve_deploy.reports.baseline.comparison import compare_with_baseline
from serve_deploy.reports.intervals import estimate_difference
from serve_deploy.reports.point import ErrorKind, Load, RequestData
from serve_deploy.reports.report import BaselineComparison, LoadTestReport

CLOSED = Load(mode="closed", concurrency=4)


def measure(
    random: np.random.Generator, *, repeats: int = 5, slower: float = 1.0, between_runs: float = 0.03, count: int = 400
) -> LoadTestReport:
    """A server of 20 ms whose runs differ by 3 %, optionally slower by a factor."""
    points = []
    for repeat in range(repeats):
        pace = slower * random.lognormal(0, between_runs)
        samples = 20_000 * pace * random.lognormal(0, 0.15, count)
        points.append(
            make_point(CLOSED, response_us=samples, repeat=repeat, duration_seconds=float(samples.sum()) / 4e6)
        )
    return make_report(*points)


def compare_many(runs: int, *, slower: float, repeats: int) -> list[BaselineComparison]:
    """Compare many pairs of independent runs."""
    random = np.random.default_rng(42)
    return [
        compare_with_baseline(
            measure(random, slower=slower, repeats=repeats), measure(random, repeats=repeats), "main.json"
        )
        for _ in range(runs)
    ]


def verdicts(comparison: BaselineComparison) -> dict[str, str]:
    """The verdict on each figure."""
    return {change.metric: change.verdict for change in comparison.changes}


@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_an_unchanged_server_is_hardly_ever_called_slower(repeats: int) -> None:
    """At 95 % confidence for all figures together, false alarms stay under 5 % of the comparisons."""
    alarms = sum(comparison.regressed for comparison in compare_many(60, slower=1.0, repeats=repeats))
    assert alarms <= 4


@pytest.mark.parametrize("noise", ["normal", "lognormal", "pareto"])
@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_equal_means_differ_no_more_often_than_promised(noise: str, repeats: int) -> None:
    """Under heavy-tailed noise too, 95 % intervals exclude no change at all in about 5 % of the cases, or less."""
    random = np.random.default_rng(repeats)
    draw = {"normal": random.standard_normal, "lognormal": lambda n: random.lognormal(0, 1, n),
            "pareto": lambda n: random.pareto(2.5, n)}[noise]  # fmt: skip
    differences = [estimate_difference(draw(repeats).tolist(), draw(repeats).tolist(), 0.95) for _ in range(2000)]
    assert sum(not each.low <= 0 <= each.high for each in differences) <= 0.065 * 2000


def test_a_fifth_slower_is_found() -> None:
    """20 % under 3 % of noise between runs is called from five repeats nearly always."""
    found = sum(comparison.regressed for comparison in compare_many(25, slower=1.2, repeats=5))
    assert found >= 23


def test_a_regression_says_by_how_much_and_how_sure() -> None:
    """The interval holds the true change, and the verdict names the repeats it comes from."""
    random = np.random.default_rng(1)
    comparison = compare_with_baseline(measure(random, slower=1.3), measure(random), "main.json")
    change = comparison.changes[0]
    assert comparison.regressed
    assert (change.verdict, change.method) == ("worse", "repeats")
    assert change.change_low is not None
    assert change.change_high is not None
    assert change.change_low < 0.3 < change.change_high
    assert "5 against 5 repeats" in change.explanation


def test_a_faster_server_is_better_not_worse() -> None:
    """Less latency and more throughput are improvements."""
    random = np.random.default_rng(2)
    comparison = compare_with_baseline(measure(random, slower=0.7), measure(random), "main.json")
    assert not comparison.regressed
    assert verdicts(comparison)["response_p50"] == verdicts(comparison)["throughput"] == "better"


def test_a_sure_but_small_change_is_let_pass() -> None:
    """2 % slower without noise is below the minimum effect; a smaller one asked for catches it."""
    random = np.random.default_rng(3)
    now, before = (
        measure(random, slower=slower, between_runs=0.0001, count=20_000, repeats=5) for slower in (1.02, 1.0)
    )
    assert verdicts(compare_with_baseline(now, before, "main.json"))["response_p50"] == "same"
    assert compare_with_baseline(now, before, "main.json", minimum_effect=0.01).regressed


def test_a_single_run_that_is_a_tenth_slower_decides_nothing() -> None:
    """Without repeats the noise between runs is unknown, and the comparison says so."""
    random = np.random.default_rng(4)
    comparison = compare_with_baseline(
        measure(random, slower=1.1, repeats=1, count=5000), measure(random, repeats=1, count=5000), "main.json"
    )
    assert not comparison.regressed
    assert set(list(verdicts(comparison).values())[:3]) == {"undecided"}
    assert "5 times" in comparison.notes[0]


def test_a_single_run_that_is_twice_as_slow_is_called() -> None:
    """Beyond the guard for unknown noise, the histogram's own precision is enough."""
    random = np.random.default_rng(5)
    comparison = compare_with_baseline(measure(random, slower=2, repeats=1), measure(random, repeats=1), "main.json")
    assert comparison.regressed
    assert comparison.changes[0].method == "single_run"


def test_two_against_two_repeats_decide_only_what_is_large() -> None:
    """Three times as slow is beyond the chance in two repeats a side, a fifth is not, and the interval shows why."""
    random = np.random.default_rng(6)
    large, small = (
        compare_with_baseline(measure(random, slower=slower, repeats=2), measure(random, repeats=2), "main.json")
        for slower in (3.0, 1.2)
    )
    assert verdicts(large)["response_p50"] == "worse"
    assert verdicts(small)["response_p50"] == "undecided"
    assert "2 against 2 repeats" in small.changes[0].explanation


def test_failing_faster_is_a_regression() -> None:
    """Errors count against a run, whatever its latency."""
    errors = (ErrorKind(kind="http_503", count=100, example="busy"),)
    now = make_report(make_point(response_us=np.full(1900, 3000.0), errors=errors))
    comparison = compare_with_baseline(now, make_report(), "main.json")
    assert verdicts(comparison)["error_rate"] == "worse"


def test_a_server_that_answers_nothing_is_a_regression() -> None:
    """Where no latency is left to compare, the errors decide."""
    errors = (ErrorKind(kind="connect", count=2000, example="refused"),)
    now = make_report(make_point(response_us=np.empty(0), errors=errors))
    assert compare_with_baseline(now, make_report(), "main.json").regressed


def test_client_bound_points_are_not_compared() -> None:
    """A generator's limit is no property of the server; each load is judged for itself."""
    comparison = compare_with_baseline(make_report(*make_sweep(seed=1)), make_report(*make_sweep(seed=2)), "main.json")
    last = [change for change in comparison.changes if change.load.concurrency == 16]
    assert {change.method for change in last} == {"none", "requests"}
    assert not comparison.regressed


def test_the_verdict_is_the_same_every_time() -> None:
    """The bootstraps of counts and histograms are seeded."""
    random = np.random.default_rng(7)
    now, before = measure(random, slower=1.07), measure(random)
    assert compare_with_baseline(now, before, "a") == compare_with_baseline(now, before, "a")


@pytest.mark.parametrize(("field", "value"), [("model", "other"), ("protocol", "grpc")])
def test_another_target_is_refused(field: str, value: str) -> None:
    """Runs of different models or protocols are not compared."""
    other = make_report(target=TARGET.model_copy(update={field: value}))
    with pytest.raises(UsageError, match="cannot be compared"):
        compare_with_baseline(make_report(), other, "main.json")


def test_another_load_is_refused() -> None:
    """Runs without a load in common are not compared, and both loads are named."""
    with pytest.raises(UsageError, match="measured at concurrency 4, this run at 200/s"):
        compare_with_baseline(make_report(), measure(np.random.default_rng(8)), "main.json")


def test_another_version_or_configuration_is_compared_and_noted() -> None:
    """To compare versions is what a baseline is for."""
    other = make_report(target=TARGET.model_copy(update={"model_version": "2", "model_config_sha256": "ab"}))
    notes = " ".join(compare_with_baseline(make_report(), other, "main.json").notes)
    assert "model version differs" in notes
    assert "model configuration differs" in notes


@pytest.mark.parametrize(
    ("data", "noted"),
    [(DATA.model_copy(update={"path": "elsewhere/samples.npz"}), False),
     (RequestData(origin="random", samples=1, seed=0), True)],
)  # fmt: skip
def test_other_data_is_noted_but_not_another_folder(data: RequestData, noted: bool) -> None:
    """Samples against random values is another measurement; the same samples elsewhere are not."""
    notes = " ".join(compare_with_baseline(make_report(), make_report(data=data), "main.json").notes)
    assert ("The data differs from the baseline's (random values" in notes) is noted
