"""Which requests are good: each by its own figures, whatever objectives there are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import UsageError
from serve_deploy.reports.gates import parse_gate
from serve_deploy.reports.objectives import (
    RequestFigures,
    check_gates,
    count_misses,
    find_misses,
    gather_objectives,
    parse_objective,
)

MILLISECONDS = st.integers(0, 400)
REQUESTS = st.lists(st.tuples(MILLISECONDS, st.lists(MILLISECONDS, max_size=130)), max_size=12)
EXPRESSIONS = st.tuples(
    st.sampled_from(("ttft", "e2e", "tpot", "itl_max", "itl_mean", "itl_p50", "itl_p99", "itl_p90.5")),
    st.sampled_from(("<", "<=")),
    MILLISECONDS,
)


def describe(requests: list[tuple[int, list[int]]]) -> RequestFigures:
    """First token and gaps of each request, in ms, as a load test hands them over; a token a piece."""
    gaps = [np.array(own, np.float64) / 1000 for _, own in requests]
    first = np.array([first for first, _ in requests], np.float64) / 1000
    return RequestFigures(
        time_to_first_token=first,
        response=first + np.array([own.sum() for own in gaps]),
        time_per_output_token=np.array([own.mean() if own.size else math.nan for own in gaps]),
        gaps=np.concatenate([*gaps, np.empty(0)]),
        gap_counts=np.array([own.size for own in gaps], np.int64),
    )


def misses_alone(expression: tuple[str, str, int], first: int, gaps: list[int]) -> bool:
    """The definition, for one request, in exact milliseconds."""
    figure, comparison, bound = expression
    if figure == "ttft":
        value: float = first
    elif figure == "e2e":
        value = first + sum(gaps)
    elif not gaps:
        return False
    elif figure in ("tpot", "itl_mean"):
        value = sum(gaps) / len(gaps)
    elif figure == "itl_max":
        value = max(gaps)
    else:
        percent = float(figure.removeprefix("itl_p"))
        value = next(gap for rank, gap in enumerate(sorted(gaps), 1) if rank * 100 >= percent * len(gaps))
    return value >= bound if comparison == "<" else value > bound


@given(REQUESTS, st.lists(EXPRESSIONS, min_size=1, max_size=4))
def test_each_request_is_judged_as_if_it_were_alone(
    requests: list[tuple[int, list[int]]], expressions: list[tuple[str, str, int]]
) -> None:
    """However many requests come in a block, of whatever lengths, each objective is missed by the right ones."""
    objectives = [parse_objective(f"{figure}{comparison}{bound}ms") for figure, comparison, bound in expressions]
    found = find_misses(objectives, describe(requests))
    for row, expression in zip(found, expressions, strict=True):
        for column, (first, gaps) in zip(row, requests, strict=True):
            # Sums of seconds may round to either side of a bound that they equal.
            figures = [first, first + sum(gaps), *gaps, *([sum(gaps) / len(gaps)] if gaps else [])]
            if expression[2] not in figures:
                assert column == misses_alone(expression, first, gaps), expression


@pytest.mark.parametrize(("comparison", "misses"), [("<", True), ("<=", False)])
def test_the_bound_itself_is_met_where_it_is_allowed(comparison: str, misses: bool) -> None:
    """Half a second is not below half a second."""
    requests = describe([(500, [])])
    assert find_misses([parse_objective(f"ttft{comparison}500ms")], requests).tolist() == [[misses]]


def test_an_answer_of_one_token_has_no_gap_that_was_too_long() -> None:
    """Nothing of it was slow; its first token may still have been late."""
    objectives = gather_objectives(["itl_max<1us", "tpot<1us", "itl_p99<1us", "itl_mean<1us", "ttft<20ms"], [])
    found = find_misses(objectives, describe([(30, [])]))
    assert found.ravel().tolist() == [False, False, False, False, True]


def test_one_long_gap_of_a_hundred_is_the_longest_but_not_the_p99() -> None:
    """p99 of a request is the gap that 99 of 100 do not exceed; of fewer it is the longest."""
    answers = [10] * 99 + [400], [10] * 30 + [400], [10] * 198 + [400] * 2, [10] * 197 + [400] * 3
    objectives = gather_objectives(["itl_p99<50ms", "itl_max<50ms", "itl_p0<10ms"], [])
    found = find_misses(objectives, describe([(30, gaps) for gaps in answers]))
    assert found.tolist() == [[False, True, False, True], [True] * 4, [True] * 4]


def test_objectives_follow_from_gates_on_the_slowest_requests() -> None:
    """p99 and max say what each request should take; a median, a mean, a lower bound and other figures do not."""
    expressions = (
        "ttft_p99<500ms", "ttft_p50<200ms", "ttft_mean<1ms", "p95<=5s", "itl_mean<30ms", "tpot_max<40ms", "itl_p99>1ms",
        "service_p99<1s", "queue<1s", "errors<1%", "goodput>95%", "output_tokens>5",
    )  # fmt: skip
    objectives = gather_objectives([], [parse_gate(expression) for expression in expressions])
    assert [each.expression for each in objectives] == ["ttft<500ms", "e2e<=5s", "itl_mean<30ms", "tpot<40ms"]
    assert [each.bound_seconds for each in objectives] == pytest.approx([0.5, 5.0, 0.03, 0.04], rel=1e-12)


@pytest.mark.parametrize(("percentile", "objectives"), [("p89.9", []), ("p90", ["e2e<1s"])])
def test_the_slowest_requests_begin_at_the_90th_percentile(percentile: str, objectives: list[str]) -> None:
    """What a lower one bounds, many requests may exceed."""
    assert [each.expression for each in gather_objectives([], [parse_gate(f"{percentile}<1s")])] == objectives


def test_of_two_gates_the_higher_percentile_is_the_objective() -> None:
    """In either order: 99 of 100 may take 1 s, so that a request may."""
    gates = [parse_gate(text) for text in ("ttft_p99<1s", "ttft_p90<300ms", "p99.9<3s", "max<9s", "e2e_p99.9<5s")]
    assert [each.expression for each in gather_objectives([], gates)] == ["ttft<1s", "e2e<9s"]


@pytest.mark.parametrize("texts", [("itl_p99<50ms", "itl_p99<40ms"), ("itl_p99<40ms", "itl_p99<50ms")])
def test_of_two_gates_on_one_percentile_the_stricter_is_the_objective(texts: tuple[str, ...]) -> None:
    """Both have to be passed."""
    (objective,) = gather_objectives([], [parse_gate(text) for text in texts])
    assert objective.expression == "itl_p99<40ms"


def test_an_objective_that_is_given_goes_before_the_gates() -> None:
    """For its figure; the others still follow from the gates."""
    gates = [parse_gate("ttft_p99<1s"), parse_gate("itl_p99<50ms")]
    assert [each.expression for each in gather_objectives(["ttft<300ms"], gates)] == ["ttft<300ms", "itl_p99<50ms"]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("ttft", "is not an objective"),
        ("ttft>500ms", "is not an objective"),
        ("ttft_p99<500ms", "unknown figure 'ttft_p99'"),
        ("itl<50ms", "unknown figure 'itl'"),
        ("p99<50ms", "unknown figure 'p99'"),
        ("ttft<500", "the unit of ttft is us or µs or ms or s, and none was given"),
        ("ttft<50%", "not '%'"),
        (f"ttft<{'9' * 400}s", "not a finite number"),
    ],
)
def test_a_malformed_objective_is_refused_with_what_may_be_said(expression: str, says: str) -> None:
    """The message names the part that is wrong, the hint lists the figures of a single request."""
    with pytest.raises(UsageError) as caught:
        parse_objective(expression)
    assert says in caught.value.message
    assert "itl_mean" in (caught.value.hint or "is not a finite number itl_mean")


def test_the_report_counts_who_missed_what() -> None:
    """Under the words of the user."""
    objectives = gather_objectives(["ttft < 500 ms"], [])
    (result,) = count_misses(objectives, [3])
    assert (result.expression, result.missed) == ("ttft < 500 ms", 3)


@pytest.mark.parametrize(
    ("gate", "objectives", "generates", "says", "hint"),
    [
        ("ttft_p99<1s", ["ttft<1s"], False, "about token streams", "`generate`"),
        ("output_tokens>5", [], False, "about token streams", "`generate`"),
        ("goodput>95%", [], True, "nothing says which requests are good", "`objectives='ttft<500ms'`"),
    ],
)
def test_a_gate_that_nothing_could_answer_is_refused_before_the_run(
    gate: str, objectives: list[str], generates: bool, says: str, hint: str
) -> None:
    """With what to give."""
    with pytest.raises(UsageError, match=says) as caught:
        check_gates([parse_gate(gate)], gather_objectives(objectives, []), generates=generates)
    assert hint in (caught.value.hint or "")


def test_gates_that_can_be_answered_are_not_refused() -> None:
    """Goodput by the objective of another gate; plain gates of any load test."""
    gates = [parse_gate("goodput>95%"), parse_gate("ttft_p99<1s")]
    check_gates(gates, gather_objectives([], gates), generates=True)
    check_gates([parse_gate("p99<1s"), parse_gate("queue<1s")], (), generates=False)
