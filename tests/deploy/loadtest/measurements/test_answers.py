"""Answers of language models into figures, against the same worked out one by one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.generation.answer import Answer
from serve_deploy.loadtest.clients.recorder import STALLED, SUCCEEDED, TIMED_OUT, Recorder, SampleBlock
from serve_deploy.loadtest.measurements.answers import AnswerMeasurement
from serve_deploy.reports.generation import Generation
from serve_deploy.reports.objectives import parse_objective

FAILED = 3
START = 1000.0


def note(
    recorder: Recorder, times: list[float], code: int | None = SUCCEEDED, *, end: float | None = None,
    said: tuple[int | None, int | None] = (None, None), known: float = math.nan, text: str = "",
) -> None:  # fmt: skip
    """One answer that was to be sent at the start of the period; code None: it has not ended."""
    answer = Answer(f"r{len(recorder.flat)}")
    answer.times = [START + time for time in times]
    answer.input_tokens, answer.output_tokens = said
    answer.text = text
    recorder.note_answer(answer, known, keeps_text=True)
    if code is not None:
        recorder.record(START, START, START + (times[-1] if end is None else end), code)


def measure(*recorders: Recorder, **options: Any) -> Generation:
    measurement = AnswerMeasurement(START, tuple(map(parse_objective, options.pop("objectives", ()))))
    for worker, recorder in enumerate(recorders):
        add(measurement, recorder.take(0), worker)
    return measurement.build("chat", 10.0, options.pop("count_tokens", None))


def add(measurement: AnswerMeasurement, block: SampleBlock, worker: int = 0) -> None:
    measurement.add(worker, block, np.frombuffer(block.rows).reshape(-1, 4))


answers = st.lists(
    st.tuples(
        st.lists(st.floats(0.001, 5), min_size=1, max_size=6).map(lambda gaps: np.cumsum(gaps).tolist()),
        st.sampled_from([SUCCEEDED, SUCCEEDED, STALLED, FAILED, None]),
    ),
    max_size=12,
)


@given(answers, st.integers(0, 12))
def test_figures_are_those_of_single_answers(noted: list[tuple[list[float], int | None]], cut: int) -> None:
    """However they are spread over blocks."""
    measurement = AnswerMeasurement(START)
    for part in (noted[:cut], noted[cut:]):
        recorder = Recorder()
        for times, code in sorted(part, key=lambda item: item[1] is None):
            note(recorder, times, code, end=times[-1] + 0.5)
        add(measurement, recorder.take(0))
    found = measurement.build("chat", 10.0, None)
    good = [times for times, code in noted if code == SUCCEEDED]
    late = [times for times, code in noted if code == STALLED]
    gaps = [b - a for times in good + late for a, b in pairwise(times)] + [0.5] * len(late)
    assert found.time_to_first_token.count == len(good) + len(late)
    assert found.inter_token.count == len(gaps)
    assert found.inter_token.max_us == pytest.approx(max(gaps, default=0) * 1e6)
    assert found.time_per_output_token.count == sum(len(times) > 1 for times in good)
    assert found.output_tokens == sum(map(len, good))
    assert found.output_tokens_of_failures == sum(len(times) for times, code in noted if code in (STALLED, FAILED))
    assert sum(bucket.output_tokens for bucket in found.timeline) == sum(len(times) for times, _ in noted)
    assert sum(bucket.first_tokens for bucket in found.timeline) == len(noted)


def test_a_request_without_a_first_token_waited_for_it_all_the_time() -> None:
    """A timeout never makes the first token look fast."""
    recorder = Recorder()
    note(recorder, [0.1])
    note(recorder, [], TIMED_OUT, end=3.0)
    found = measure(recorder)
    assert (found.time_to_first_token.count, found.time_to_first_token.max_us) == (2, pytest.approx(3e6))


def test_the_longest_gap_is_named() -> None:
    """With the request, the pieces before it, and when it began."""
    recorder = Recorder()
    note(recorder, [0.1, 0.2, 0.9, 1.0])
    note(recorder, [0.1, 0.3, 0.4])
    gap = measure(recorder).longest_gap
    assert gap
    assert (gap.request, gap.pieces_before, gap.start_seconds) == ("r0", 2, pytest.approx(0.2))
    assert gap.gap_us == pytest.approx(700_000)


def test_silence_until_the_timeout_is_a_gap() -> None:
    """The longest one here."""
    recorder = Recorder()
    note(recorder, [0.1, 0.2], STALLED, end=5.2)
    gap = measure(recorder).longest_gap
    assert gap
    assert (gap.gap_us, gap.pieces_before) == (pytest.approx(5e6), 2)


def test_tokens_are_counted_by_the_server_then_by_the_tokenizer_then_by_pieces() -> None:
    """And the report says for how many requests which."""
    recorder = Recorder()
    note(recorder, [0.1, 0.2], said=(7, 5))
    note(recorder, [0.1, 0.2], known=3, text="one two three")
    counted = measure(recorder, count_tokens=lambda texts: [len(text.split()) for text in texts])
    assert (counted.input_tokens, counted.output_tokens) == (10, 8)
    assert counted.output_counted_by == counted.input_counted_by == {"usage": 1, "tokenizer": 1}


def test_pieces_count_where_nobody_says_how_many_tokens() -> None:
    """And input tokens are not known then."""
    recorder = Recorder()
    note(recorder, [0.1, 0.2])
    found = measure(recorder)
    assert (found.input_tokens, found.output_tokens, found.output_counted_by) == (None, 2, {"chunks": 1})


def test_time_per_token_is_that_of_tokens_and_not_of_pieces() -> None:
    """Five tokens in two pieces, 0.4 s apart."""
    recorder = Recorder()
    note(recorder, [0.1, 0.5], said=(1, 5))
    assert measure(recorder).time_per_output_token.mean_us == pytest.approx(100_000)


def test_a_good_request_meets_every_objective() -> None:
    """Also one on the time per token, which is known only when the period is over."""
    recorder = Recorder()
    note(recorder, [0.1, 0.2, 0.3])
    note(recorder, [0.6, 0.7, 0.8])
    note(recorder, [0.1, 0.5, 0.9])
    note(recorder, [0.1, 0.2], FAILED)
    found = measure(recorder, objectives=("ttft<500ms", "tpot<200ms"))
    assert found.good == 1
    assert [objective.missed for objective in found.objectives] == [1, 1]


def test_workers_add_up() -> None:
    """Each with rows of its own."""
    first, second = Recorder(), Recorder()
    note(first, [0.1, 0.2])
    note(second, [0.1, 0.2, 0.3])
    assert measure(first, second).output_tokens == 5


def test_nothing_gives_no_figures() -> None:
    """And no failure."""
    found = measure(Recorder(), objectives=("ttft<1s",))
    assert (found.output_tokens, found.inter_token.count, found.good) == (0, 0, 0)


def test_a_long_period_keeps_its_tokens() -> None:
    """The timeline's slices become wider."""
    recorder = Recorder()
    for _ in range(3):
        note(recorder, [float(second) for second in range(1, 400)])
    timeline = measure(recorder).timeline
    assert len(timeline) <= 240
    assert sum(bucket.output_tokens for bucket in timeline) == 3 * 399
    assert max(bucket.gap_max_us for bucket in timeline) == pytest.approx(1e6)
