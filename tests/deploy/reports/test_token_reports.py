"""Token figures judged, pooled and merged: the same as if one generator had seen every token of every repeat."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from synthetic_reports import make_point, make_report
from synthetic_streams import (
    Streams,
    make_streams,
    make_token_point,
    make_token_report,
    make_token_sweep,
    plant_gap,
)

from serve_deploy.errors import ThresholdError, UsageError
from serve_deploy.loadtest import require_slo
from serve_deploy.reports.gates import evaluate_gate, parse_gate
from serve_deploy.reports.generation import Generation
from serve_deploy.reports.judging import judge_report
from serve_deploy.reports.merging import merge_reports
from serve_deploy.reports.point import Load, Point
from serve_deploy.reports.pooling import pool_repeats

OPEN = Load(mode="open", request_rate=400.0, distribution="constant")
LATENCIES = ("time_to_first_token", "inter_token", "time_per_output_token")


def get_tokens(point: Point) -> Generation:
    """The token figures, which are there."""
    assert point.generation is not None
    return point.generation


@pytest.mark.parametrize(
    ("expression", "passed", "says"),
    [
        ("ttft_p99<200ms", True, "under the threshold"),
        ("ttft_p50>=40ms", True, "over the threshold"),
        ("itl_p99<50ms", True, "under the threshold"),
        ("itl_max<300ms", False, "400 ms, 100 ms (33 %) over the threshold"),
        ("itl_p99.9<50ms", True, "under the threshold"),
        ("tpot_p90<12ms", True, "under the threshold"),
        ("e2e_p99<100ms", False, "over the threshold"),
        ("output_tokens>1000", True, "tokens/s, "),
        ("output_tokens>9999999/s", False, "tokens/s (100 %) under the threshold"),
        ("input_tokens>1", True, "tokens/s"),
        ("goodput>=99.9%", False, "under the threshold"),
        ("goodput>95%", True, "over the threshold"),
        ("goodput>10/s", True, "/s"),
    ],
)
def test_every_token_figure_is_a_gate(expression: str, passed: bool, says: str) -> None:
    """On a measurement in which one gap of 400 ms spoils one request's goodput."""
    result = evaluate_gate(parse_gate(expression), make_token_point())
    assert (result.passed, result.trusted) == (passed, True)
    assert says in result.explanation


def test_end_to_end_is_the_response_time() -> None:
    """By another name."""
    point = make_token_point()
    one, other = (evaluate_gate(parse_gate(f"{name}<1s"), point) for name in ("e2e_p99", "p99"))
    assert one.measured == other.measured


def test_goodput_without_its_unit_is_refused() -> None:
    """95 of a hundred and 95 a second are not the same."""
    with pytest.raises(UsageError, match="the unit of goodput is % or /s, and none was given"):
        parse_gate("goodput>95")


def test_goodput_counts_every_request_that_was_due() -> None:
    """A request that failed or was never sent is not good."""
    point = make_token_point()
    ended, good = point.ended, get_tokens(point).good
    assert good is not None
    result = evaluate_gate(parse_gate("goodput>1%"), point.model_copy(update={"failed": 30, "never_sent": 10}))
    assert result.measured == pytest.approx(100 * good / (ended + 40))


@pytest.mark.parametrize(
    ("changes", "expression", "reason"),
    [
        ({"generation": None}, "ttft_p99<1s", "no token streams were measured"),
        ({"generation": None}, "goodput>1%", "no token streams were measured"),
        ({"succeeded": 0, "response": make_point(response_us=np.empty(0)).response}, "ttft_p99<1s", "was answered"),
    ],
)
def test_what_was_not_measured_by_token_misses_its_gates(
    changes: dict[str, object], expression: str, reason: str
) -> None:
    """And says why."""
    empty = make_token_point().model_copy(update=changes)
    if "succeeded" in changes:
        empty = empty.model_copy(update={"generation": None})
    result = evaluate_gate(parse_gate(expression), empty)
    assert (result.passed, result.measured) == (False, None)
    assert reason in result.explanation


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("itl_p99<1s", "no answer had a second token"),
        ("tpot_mean<1s", "no answer had a second token"),
        ("input_tokens>1", "neither the server nor a tokenizer counted the input tokens"),
        ("goodput>1%", "no objective says which requests are good"),
    ],
)
def test_a_figure_that_no_answer_has_misses_its_gate(expression: str, reason: str) -> None:
    """Answers of one token, and nobody who counted the input."""
    streams = make_streams()
    point = make_token_point(Streams(streams.starts, streams.first, np.empty((streams.starts.size, 0))), objectives=())
    unknown = get_tokens(point).model_copy(update={"input_tokens": None, "input_tokens_per_second": None})
    result = evaluate_gate(parse_gate(expression), point.model_copy(update={"generation": unknown}))
    assert result.explanation == f"cannot be judged: {reason}"


@pytest.mark.parametrize(
    ("expression", "passed"),
    [
        ("ttft_p99<1s", True),
        ("e2e_p99<5s", True),
        ("itl_p99<1s", False),
        ("tpot_p99<1s", False),
        ("goodput>1%", False),
        ("goodput>1/s", False),
        ("output_tokens>10", True),
        ("output_tokens<999999", False),
    ],
)
def test_a_late_generator_is_believed_only_where_it_makes_the_server_look_worse(expression: str, passed: bool) -> None:
    """It adds to times from the intended send; gaps between pieces that it reads at once look too short."""
    bound = make_token_point(load=OPEN, client_bound=True, client_bound_reasons=("its CPU was 97 % busy",))
    result = evaluate_gate(parse_gate(expression), bound)
    assert (result.passed, result.trusted) == (passed, passed)


def test_goodput_of_a_report_without_objectives_is_a_usage_error() -> None:
    """A saved report does not hold each request's own figures any more, so it has to be measured again."""
    report = make_token_report(make_token_point(objectives=()))
    with pytest.raises(UsageError, match="does not say which requests were good") as caught:
        judge_report(report, [parse_gate("goodput>95%")])
    assert "--objective 'ttft<500ms'" in (caught.value.hint or "")


def test_token_gates_work_in_python() -> None:
    """As those of any load test do."""
    require_slo(make_token_report(), "ttft_p99<1s", "goodput>95%")
    with pytest.raises(ThresholdError, match="itl_max<300ms at concurrency 64: 400 ms"):
        require_slo(make_token_report(), "itl_max<300ms")


def test_repeats_pool_as_one_measurement_of_all_their_requests() -> None:
    """Every gap, token and request counts once; the longest gap of all is named."""
    streams = [make_streams(seed=1), plant_gap(make_streams(seed=2), 7, 3, 0.9), make_streams(seed=3)]
    pooled = get_tokens(pool_repeats([make_token_point(each) for each in streams]))
    whole = make_token_point(
        Streams(*(np.concatenate([getattr(each, name) for each in streams]) for name in ("starts", "first", "gaps"))),
        duration_seconds=15.0,
    )
    expected = get_tokens(whole)
    for name in LATENCIES:
        one, other = getattr(pooled, name), getattr(expected, name)
        assert (one.count, one.min_us, one.max_us) == (other.count, other.min_us, other.max_us)
        assert one.mean_us == pytest.approx(other.mean_us)
        assert one.p99_us == pytest.approx(other.p99_us, rel=0.01)
    same = ("input_tokens", "output_tokens", "pieces", "good", "objectives", "output_counted_by")
    assert [getattr(pooled, name) for name in same] == [getattr(expected, name) for name in same]
    assert pooled.longest_gap == get_tokens(make_token_point(streams[1])).longest_gap
    assert pooled.output_tokens_per_second == pytest.approx(expected.output_tokens_per_second)


def test_what_one_repeat_does_not_know_all_together_do_not() -> None:
    """Half a count would look like a whole one."""
    point = make_token_point()
    unknown = get_tokens(point).model_copy(update={"input_tokens": None, "input_tokens_per_second": None})
    pooled = get_tokens(pool_repeats([point, point.model_copy(update={"generation": unknown})]))
    assert (pooled.input_tokens, pooled.input_tokens_per_second) == (None, None)


def test_parts_of_a_run_merge_by_token() -> None:
    """Tokens and slices add up, and the longest gap is where it was in the whole run's time."""
    late = make_token_point(plant_gap(make_streams(seed=2), 7, 3, 0.9))
    begun = datetime.fromisoformat(late.started_at) + timedelta(seconds=1)
    late = late.model_copy(update={"started_at": begun.isoformat()})
    early = make_token_point(make_streams(seed=1))
    (merged,) = merge_reports([make_token_report(early), make_token_report(late)], ["a.json", "b.json"]).points
    whole, parts = get_tokens(merged), [get_tokens(early), get_tokens(late)]
    assert whole.output_tokens == sum(part.output_tokens for part in parts)
    assert whole.output_tokens_per_second == pytest.approx(whole.output_tokens / 6.0)
    assert sum(bucket.output_tokens for bucket in whole.timeline) == whole.output_tokens
    assert sum(bucket.first_tokens for bucket in whole.timeline) == merged.succeeded
    assert whole.longest_gap is not None
    assert parts[1].longest_gap is not None
    assert whole.longest_gap.start_seconds == pytest.approx(parts[1].longest_gap.start_seconds + 1)
    (worst,) = [bucket for bucket in whole.timeline if bucket.gap_max_us > 800_000]
    assert worst.start_seconds == pytest.approx(whole.longest_gap.start_seconds + 0.9, abs=0.1)


@pytest.mark.parametrize(
    "other",
    [make_token_point(objectives=("ttft<1s",)), make_token_point(generation=None)],
    ids=["other objectives", "no tokens"],
)
def test_parts_that_asked_something_else_are_not_merged(other: Point) -> None:
    """The requests that are good by one objective and by another do not add up."""
    with pytest.raises(UsageError, match="by other protocols or objectives"):
        merge_reports([make_token_report(), make_token_report(other)], ["a.json", "b.json"])


def test_repeats_give_intervals_for_token_figures() -> None:
    """By the names that the figures have in a point, goodput among them."""
    first = make_token_report(*make_token_sweep()).intervals[0].figures
    assert {"generation.time_to_first_token.p99_us", "generation.inter_token.max_us", "goodput"} <= set(first)
    assert first["generation.output_tokens_per_second"].low > 0


def test_a_plain_load_test_has_no_token_figures() -> None:
    """Neither in its points nor in its intervals."""
    report = make_report(make_point(), make_point(repeat=1))
    assert report.points[0].generation is None
    assert not [name for name in report.intervals[0].figures if "generation" in name or "good" in name]
