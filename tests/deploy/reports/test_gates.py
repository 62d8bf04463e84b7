"""What --slo accepts, how it judges, and how it says by how much a gate was missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_reports import make_point, make_report, make_stalled_point, make_sweep

from serve_deploy.errors import ThresholdError, UsageError
from serve_deploy.reports.gates import evaluate_gate, evaluate_gates, parse_gate
from serve_deploy.reports.judging import judge_report, require_passed
from serve_deploy.reports.point import ErrorKind, Load
from serve_deploy.reports.readers import read_percentile, read_queue_us
from serve_deploy.reports.report import LoadTestReport

TIMES = ("p50", "p90", "p99", "p99.9", "mean", "max", "service_p99", "response_p95", "service_mean", "queue", "slip")
SHARES = ("errors", "timeouts")
RATES = ("rate", "throughput")
NUMBERS = st.decimals(min_value=0, max_value=1_000_000, places=3, allow_nan=False).map(lambda number: f"{number:f}")
SPACES = st.sampled_from(("", " "))
EXPRESSIONS = st.tuples(
    st.one_of(
        st.tuples(st.sampled_from(TIMES), st.sampled_from(("us", "µs", "ms", "s"))),
        st.tuples(st.sampled_from(SHARES), st.just("%")),
        st.tuples(st.sampled_from(RATES), st.sampled_from(("", "/s"))),
    ),
    st.sampled_from(("<", "<=", ">", ">=")),
    NUMBERS,
    SPACES,
)


@given(EXPRESSIONS)
def test_every_figure_with_a_unit_of_its_own_is_a_gate(parts: tuple[tuple[str, str], str, str, str]) -> None:
    """Any figure, comparison, number and fitting unit parses, with or without spaces."""
    (figure, unit), comparison, number, space = parts
    gate = parse_gate(f"{figure}{space}{comparison}{space}{number}{space}{unit}")
    assert (gate.figure, gate.comparison, gate.threshold, gate.unit) == (figure, comparison, float(number), unit)


@given(st.text(max_size=30))
def test_any_text_is_a_gate_or_a_usage_error(text: str) -> None:
    """Nothing a user can type gets past the parser as any other error."""
    try:
        judged = evaluate_gate(parse_gate(text), make_point()).expression
    except UsageError as error:
        judged = error.hint or ""
    assert judged == text.strip() or "errors, timeouts" in judged


@given(EXPRESSIONS)
def test_a_gate_and_its_opposite_never_agree(parts: tuple[tuple[str, str], str, str, str]) -> None:
    """Of `<` and `>=` on one figure exactly one passes, whatever the threshold."""
    (figure, unit), _, number, _ = parts
    point = make_stalled_point()
    below = evaluate_gate(parse_gate(f"{figure}<{number}{unit}"), point)
    above = evaluate_gate(parse_gate(f"{figure}>={number}{unit}"), point)
    assert below.passed != above.passed


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("p99", "is not a gate"),
        ("p99<50", "the unit of p99 is us or µs or ms or s, and none was given"),
        ("p99<50%", "not '%'"),
        ("errors<0.1", "the unit of errors is %"),
        ("latency<50ms", "unknown figure 'latency'"),
        ("p100<50ms", "unknown figure 'p100'"),
        ("p99==50ms", "is not a gate"),
        ("p99<-5ms", "is not a gate"),
        ("", "is not a gate"),
    ],
)
def test_a_malformed_gate_is_refused_with_what_may_be_said(expression: str, says: str) -> None:
    """The message names the part that is wrong, the hint lists figures and units."""
    with pytest.raises(UsageError) as caught:
        parse_gate(expression)
    assert says in caught.value.message
    assert "service_p99" in (caught.value.hint or "")


def test_a_stall_misses_the_gate_on_response_time_but_not_on_service_time() -> None:
    """Half a second of stall at 200/s shows in p99 from the intended send and nowhere else."""
    results = evaluate_gates([parse_gate("p99<50ms"), parse_gate("service_p99<50ms")], [make_stalled_point()])
    assert [result.passed for result in results] == [False, True]
    assert results[0].measured == pytest.approx(405, rel=0.05)


def test_a_missed_gate_says_which_and_by_how_much() -> None:
    """The error of exit code 7 carries figure, load, value and distance."""
    slow = make_point(response_us=np.full(1000, 63_200.0))
    report = judge_report(make_report(slow), [parse_gate("p99<50ms"), parse_gate("errors<0.1%")])
    with pytest.raises(ThresholdError) as caught:
        require_passed(report)
    assert caught.value.message == (
        "1 of 2 gates missed: p99<50ms at 200/s: 63.2 ms, 13.2 ms (26 %) over the threshold"
    )
    assert caught.value.exit_code == 7


def test_gates_that_hold_raise_nothing() -> None:
    """A run that holds is no error, and neither is one without gates."""
    report = judge_report(make_report(), [parse_gate("p99<50ms"), parse_gate("throughput>=200/s")])
    require_passed(report)
    require_passed(make_report())
    assert all(result.passed and result.trusted for result in report.gates)


def test_errors_count_timeouts_and_timeouts_count_alone() -> None:
    """A request that timed out has failed for its caller, too."""
    errors = (ErrorKind(kind="http_503", count=10, example="busy"), ErrorKind(kind="timeout", count=30, example="1 s"))
    point = make_point(response_us=np.full(960, 5000.0), errors=errors)
    both = evaluate_gates([parse_gate("errors<=4%"), parse_gate("timeouts<3%")], [point])
    assert [(result.measured, result.passed) for result in both] == [(4.0, True), (3.0, False)]


@pytest.mark.parametrize("expression", ["p99<1s", "mean<1s", "service_p50>=0ms", "errors<1%", "queue<1s"])
def test_nothing_answered_misses_every_gate_on_it(expression: str) -> None:
    """A server that answers nothing never passes for a fast one."""
    result = evaluate_gate(parse_gate(expression), make_point(response_us=np.empty(0)))
    assert (result.passed, result.measured) == (False, None)
    assert "cannot be judged" in result.explanation


@pytest.mark.parametrize(
    ("expression", "passed", "trusted"),
    [
        ("p99<50ms", False, False),
        ("p99<1us", False, False),
        ("p99>1us", False, False),
        ("errors<1%", False, False),
        ("throughput>100", True, True),
        ("throughput>1000000", False, False),
        ("throughput<1000000", False, False),
        ("slip<1ms", True, True),
        ("slip<1us", False, True),
    ],
)
def test_a_client_bound_point_passes_only_what_it_can_show(expression: str, passed: bool, trusted: bool) -> None:
    """In a closed loop at the generator's limit only its slip and a rate that was reached are believed."""
    closed = Load(mode="closed", concurrency=4)
    bound = make_point(closed, client_bound=True, client_bound_reasons=("its CPU was 97 % busy",))
    result = evaluate_gate(parse_gate(expression), bound)
    assert (result.passed, result.trusted) == (passed, trusted)
    assert ("the load generator was the limit" in result.explanation) is not trusted


@pytest.mark.parametrize(
    ("expression", "passed"),
    [
        ("p99<50ms", True),
        ("errors<1%", True),
        ("p99<1ms", False),
        ("service_p99<50ms", False),
        ("queue<50ms", False),
    ],
)
def test_a_late_generator_only_makes_an_open_loop_look_slower(expression: str, passed: bool) -> None:
    """Response times include the generator's own delay: an upper bound on them that held does hold."""
    result = evaluate_gate(parse_gate(expression), make_point(client_bound=True))
    assert (result.passed, result.trusted) == (passed, passed)


def test_requests_without_an_answer_spoil_a_late_generators_gate() -> None:
    """What was cut short at the end is in no latency, so that nothing can be concluded from those that are."""
    result = evaluate_gate(parse_gate("p99<50ms"), make_point(client_bound=True, in_flight_at_end=3))
    assert (result.passed, result.trusted) == (False, False)


def test_a_sweep_is_judged_load_by_load_over_pooled_repeats() -> None:
    """One result for every load and gate, from the requests of all repeats together."""
    points = make_sweep()
    results = evaluate_gates([parse_gate("p50<1s"), parse_gate("rate>1")], points)
    assert len(results) == 2 * 5
    assert [result.load.concurrency for result in results if result.load][::2] == [1, 2, 4, 8, 16]
    assert not results[-2].trusted


def test_any_percentile_is_read_from_the_histogram() -> None:
    """p99.5 is not among the fixed figures, but the histogram has it within its precision."""
    samples = np.random.default_rng(0).lognormal(8.5, 0.4, 50_000)
    result = evaluate_gate(parse_gate("p99.5<1000ms"), make_point(response_us=samples))
    assert result.measured == pytest.approx(np.quantile(samples, 0.995) / 1000, rel=0.02)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("p99<50ms", "5.00 ms, 45.0 ms (90 %) under the threshold"),
        ("p99<4ms", "5.00 ms, 1.00 ms (25 %) over the threshold"),
        ("p99<5.5ms", "5.00 ms, 500 µs (9.1 %) under the threshold"),
        ("p99<=5ms", "5.00 ms, exactly the threshold"),
        ("p99>0us", "5.00 ms, 5.00 ms over the threshold"),
        ("rate>160/s", "200/s, 40.0/s (25 %) over the threshold"),
        ("errors<5%", "0 %, 5.00 points (100 %) under the threshold"),
    ],
)
def test_a_result_says_its_distance_from_the_threshold(expression: str, words: str) -> None:
    """In the figure's own unit, and as a share of the threshold where there is one."""
    assert evaluate_gate(parse_gate(expression), make_point()).explanation == words


@pytest.mark.parametrize(("unit", "measured"), [("us", 5000.0), ("µs", 5000.0), ("ms", 5.0), ("s", 0.005)])
def test_a_time_is_measured_in_the_unit_of_its_gate(unit: str, measured: float) -> None:
    """As the threshold is."""
    assert evaluate_gate(parse_gate(f"mean<9{unit}"), make_point()).measured == pytest.approx(measured, rel=1e-9)


def test_the_time_in_the_queue_is_a_requests_over_all_models() -> None:
    """An ensemble's request waits once for each request that it makes."""
    (one,) = make_point().server
    models = [
        one.model_copy(update={"requests": count, "queue_us": wait}) for count, wait in ((100, 50.0), (200, 10.0))
    ]
    point = make_point(server=tuple(models))
    assert read_queue_us(point) == pytest.approx((100 * 50 + 200 * 10) / 100)
    assert read_queue_us(make_point(server=())) is None


@pytest.mark.parametrize(
    ("expression", "reason"), [("queue<1s", "the server gave no statistics"), ("p99<1s", "no request was answered")]
)
def test_what_cannot_be_judged_says_why(expression: str, reason: str) -> None:
    """The queue is the server's figure, the others are ours."""
    result = evaluate_gate(parse_gate(expression), make_point(response_us=np.empty(0), server=()))
    assert result.explanation == f"cannot be judged: {reason}"


def test_the_percentiles_of_a_report_need_no_histogram() -> None:
    """Those between them do."""
    samples = np.random.default_rng(0).lognormal(8.5, 0.4, 5_000)
    latency = make_point(response_us=samples).response.model_copy(update={"histogram": ()})
    known = [read_percentile(latency, percent) for percent in (50, 90, 95, 99, 99.9)]
    assert known == [latency.p50_us, latency.p90_us, latency.p95_us, latency.p99_us, latency.p999_us]
    assert read_percentile(latency, 99.5) is None


def test_requests_that_were_never_sent_spoil_a_late_generators_gate() -> None:
    """They are late beyond all bounds."""
    point = make_point(client_bound=True, never_sent=3)
    assert not evaluate_gate(parse_gate("p99<50ms"), point).passed
    assert not evaluate_gate(parse_gate("timeouts<1%"), make_point(client_bound=True, in_flight_at_end=1)).passed


def test_without_a_load_every_gate_is_missed() -> None:
    """What was not measured is not fast."""
    (result,) = evaluate_gates([parse_gate("p99<50ms")], [])
    assert (result.passed, result.measured, result.threshold) == (False, None, 50)
    assert "no load was measured" in result.explanation


def test_results_survive_the_report() -> None:
    """A report with gates reads back as it was written."""
    point = make_point()
    report = make_report(point, gates=evaluate_gates([parse_gate("p99<50ms")], [point]))
    assert LoadTestReport.model_validate_json(report.model_dump_json()) == report


def test_a_threshold_beyond_all_numbers_is_refused() -> None:
    """A gate that anything would meet is no gate."""
    with pytest.raises(UsageError, match="not a finite number"):
        parse_gate(f"p99<{'9' * 400}ms")
