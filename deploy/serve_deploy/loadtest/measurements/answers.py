"""Answers of language models into figures: one period's blocks become token latencies, counts and a timeline. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve_deploy.loadtest.clients.recorder import STALLED, SUCCEEDED, TIMED_OUT, SampleBlock
from serve_deploy.loadtest.measurements.token_timeline import TokenTimeline
from serve_deploy.reports.generation import CountedBy, Generation, LongestGap, Protocol
from serve_deploy.reports.histogram import Histogram
from serve_deploy.reports.latencies import summarize
from serve_deploy.reports.objectives import Objective, RequestFigures, count_misses, find_misses

Floats = NDArray[np.float64]
CountTokens = Callable[[Sequence[str]], list[int]]
_UNFINISHED = -1
_NONE = np.zeros(0)


class _Answers(NamedTuple):
    """One block's answers as columns; times are monotonic seconds, `times` those of all pieces, answer after answer."""

    intended: Floats
    end: Floats
    codes: NDArray[np.int64]
    pieces: NDArray[np.int64]
    first: Floats
    last: Floats
    said_input: Floats
    said_output: Floats
    known_input: Floats
    times: Floats
    ids: tuple[str, ...]
    texts: tuple[str, ...]


class _Succeeded(NamedTuple):
    """What is kept of every successful answer until the period is over."""

    spans: Floats
    pieces: Floats
    said_input: Floats
    said_output: Floats
    known_input: Floats


@dataclass
class AnswerMeasurement:
    """Everything that one period's answers say; `objectives` are those of each request."""

    start: float
    objectives: tuple[Objective, ...] = ()
    first: Histogram = field(default_factory=Histogram)
    gaps: Histogram = field(default_factory=Histogram)
    ended_pieces: int = 0
    pieces_in_flight: dict[int, int] = field(default_factory=dict)
    failed_tokens: int = 0
    longest: LongestGap | None = None
    timeline: TokenTimeline = field(init=False)

    def __post_init__(self) -> None:
        self.timeline = TokenTimeline(self.start)
        self._succeeded: list[_Succeeded] = []
        self._texts: list[str] = []
        self._said = self._said_pieces = 0.0
        self._misses: list[NDArray[np.bool_]] = []

    @property
    def tokens_so_far(self) -> float:
        """Tokens that have come, also in answers that go on: a piece has as many as where the server counted them."""
        pieces = self.ended_pieces + sum(self.pieces_in_flight.values())
        return pieces * (self._said / self._said_pieces if self._said_pieces else 1.0)

    def add(self, worker: int, block: SampleBlock, rows: Floats) -> None:
        """Take in what one worker noted since its last block; `rows` are the block's requests."""
        self.pieces_in_flight[worker] = block.pieces_in_flight
        if not block.answers:
            return
        answers = _read_answers(block, rows)
        owner = np.repeat(np.arange(answers.pieces.size), answers.pieces)
        is_gap = owner[1:] == owner[:-1]
        gaps, gap_owner = np.diff(answers.times)[is_gap], owner[1:][is_gap]
        self.ended_pieces += answers.times.size
        self._add_latencies(answers, gaps, gap_owner)
        self._add_longest(answers, gaps, gap_owner, answers.times[:-1][is_gap])
        weights = np.where(np.isnan(answers.said_output), np.nan, answers.said_output / np.maximum(answers.pieces, 1))
        self.timeline.add(answers.times, weights[owner], answers.first[answers.pieces > 0])
        self.timeline.add_gaps(answers.times[1:][is_gap], gaps)
        self._add_successes(answers, gaps, gap_owner)
        is_said = ~np.isnan(answers.said_output)
        self._said += float(answers.said_output[is_said].sum())
        self._said_pieces += float(answers.pieces[is_said].sum())
        is_failure = (answers.codes != SUCCEEDED) & (answers.codes != _UNFINISHED)
        tokens = np.where(np.isnan(answers.said_output), answers.pieces, answers.said_output)
        self.failed_tokens += int(tokens[is_failure].sum())

    def add_never_sent(self, waited: Floats, requests: Floats) -> None:
        """Take in requests that were given up before they were sent: their first token would have been later still."""
        self.first.record_seconds(waited, requests.astype(np.int64))

    def _add_latencies(self, answers: _Answers, gaps: Floats, gap_owner: NDArray[np.int64]) -> None:
        timed_out = (answers.codes == TIMED_OUT) | (answers.codes == STALLED)
        counts = (answers.codes == SUCCEEDED) | timed_out
        first = np.where(answers.pieces > 0, answers.first, answers.end)
        self.first.record_seconds((first - answers.intended)[counts])
        self.gaps.record_seconds(gaps[counts[gap_owner]])
        stalled = timed_out & (answers.pieces > 0)
        self.gaps.record_seconds((answers.end - answers.last)[stalled])
        self.timeline.add_gaps(answers.end[stalled], (answers.end - answers.last)[stalled])

    def _add_longest(self, answers: _Answers, gaps: Floats, gap_owner: NDArray[np.int64], began: Floats) -> None:
        stalled = np.flatnonzero((answers.codes == STALLED) & (answers.pieces > 0))
        gaps = np.concatenate([gaps, (answers.end - answers.last)[stalled]])
        if not gaps.size or (self.longest and gaps.max() * 1e6 <= self.longest.gap_us):
            return
        index = int(gaps.argmax())
        owner = int(np.concatenate([gap_owner, stalled])[index])
        start = float(np.concatenate([began, answers.last[stalled]])[index])
        own = slice(int(answers.pieces[:owner].sum()), int(answers.pieces[: owner + 1].sum()))
        self.longest = LongestGap(
            gap_us=float(gaps[index]) * 1e6,
            request=answers.ids[owner],
            pieces_before=int(np.count_nonzero(answers.times[own] <= start)),
            start_seconds=start - self.start,
        )

    def _add_successes(self, answers: _Answers, gaps: Floats, gap_owner: NDArray[np.int64]) -> None:
        which = answers.codes == SUCCEEDED
        self._texts += [text for text, succeeded in zip(answers.texts, which.tolist(), strict=True) if succeeded]
        self._succeeded.append(
            _Succeeded(
                (answers.last - answers.first)[which],
                answers.pieces[which].astype(np.float64),
                answers.said_input[which],
                answers.said_output[which],
                answers.known_input[which],
            )
        )
        if self.objectives:
            figures = RequestFigures(
                time_to_first_token=(answers.first - answers.intended)[which],
                response=(answers.end - answers.intended)[which],
                time_per_output_token=np.full(int(which.sum()), np.nan),
                gaps=gaps[which[gap_owner]],
                gap_counts=np.maximum(answers.pieces[which] - 1, 0),
            )
            self._misses.append(find_misses(self.objectives, figures))

    def build(self, protocol: Protocol, seconds: float, count_tokens: CountTokens | None) -> Generation:
        """The figures of the whole period, which lasted `seconds`; `count_tokens` is the tokenizer's, if there is one.

        Tokens that the server did not count are counted now, when nothing is measured any more.
        """
        columns = _Succeeded(*map(np.concatenate, zip(*self._succeeded, strict=True))) if self._succeeded else None
        kept = columns or _Succeeded(_NONE, _NONE, _NONE, _NONE, _NONE)
        output, counted = self._count_output(kept, count_tokens)
        unknown = np.isnan(kept.said_output)
        per_piece = float(output[unknown].sum() / kept.pieces[unknown].sum()) if unknown.any() else 1.0
        several = output >= 2
        per_token = np.full(output.size, np.nan)
        per_token[several] = kept.spans[several] / (output[several] - 1)
        histogram = Histogram()
        histogram.record_seconds(per_token[several])
        good, missed = self._judge(per_token)
        read = np.where(np.isnan(kept.said_input), kept.known_input, kept.said_input)
        input_tokens = None if np.isnan(read).any() else int(read.sum())
        by_usage = int(np.count_nonzero(~np.isnan(kept.said_input)))
        by_tokenizer = int(np.count_nonzero(~np.isnan(read))) - by_usage
        return Generation(
            protocol=protocol,
            time_to_first_token=summarize(self.first),
            inter_token=summarize(self.gaps),
            time_per_output_token=summarize(histogram),
            input_tokens=input_tokens,
            output_tokens=int(output.sum()),
            output_tokens_of_failures=self.failed_tokens,
            pieces=int(kept.pieces.sum()),
            input_tokens_per_second=None if input_tokens is None else input_tokens / seconds,
            output_tokens_per_second=float(output.sum()) / seconds,
            output_counted_by=counted,
            input_counted_by=_present({"usage": by_usage, "tokenizer": by_tokenizer}),
            good=good,
            objectives=count_misses(self.objectives, missed),
            longest_gap=self.longest,
            timeline=self.timeline.buckets(per_piece),
        )

    def _count_output(self, kept: _Succeeded, count_tokens: CountTokens | None) -> tuple[Floats, dict[CountedBy, int]]:
        unknown = np.isnan(kept.said_output)
        output, rest = kept.said_output.copy(), int(unknown.sum())
        if rest and count_tokens:
            texts = [text for text, is_unknown in zip(self._texts, unknown.tolist(), strict=True) if is_unknown]
            output[unknown] = count_tokens(texts)
        else:
            output[unknown] = kept.pieces[unknown]
        by: CountedBy = "tokenizer" if count_tokens else "chunks"
        return output, _present({"usage": output.size - rest, by: rest})

    def _judge(self, per_token: Floats) -> tuple[int | None, list[int]]:
        """How many requests are good, and how many miss each objective."""
        if not self.objectives:
            return None, []
        size = per_token.size
        late = RequestFigures(np.full(size, np.nan), np.full(size, np.nan), per_token, _NONE, np.zeros(size, np.int64))
        misses = find_misses(self.objectives, late)
        if self._misses:
            misses = misses | np.concatenate(self._misses, axis=1)
        return int(np.count_nonzero(~misses.any(axis=0))), misses.sum(axis=1).tolist()


def _read_answers(block: SampleBlock, rows: Floats) -> _Answers:
    row, counted, said_input, said_output, known_input = np.frombuffer(block.answers, np.float64).reshape(-1, 5).T
    # Those that have not ended have no row: one is added for them.
    last_row = np.array([[math.nan, math.nan, math.nan, _UNFINISHED]])
    intended, _, end, codes = np.concatenate([rows, last_row])[np.minimum(row.astype(np.int64), len(rows))].T
    times, pieces = np.frombuffer(block.pieces, np.float64), counted.astype(np.int64)
    first, last = np.full(pieces.size, np.nan), np.full(pieces.size, np.nan)
    stops, has_content = np.cumsum(pieces), pieces > 0
    first[has_content] = times[(stops - pieces)[has_content]]
    last[has_content] = times[stops[has_content] - 1]
    texts = block.texts or ("",) * pieces.size
    return _Answers(
        intended, end, codes.astype(np.int64), pieces, first, last, said_input, said_output, known_input, times,
        block.answer_ids, texts,
    )  # fmt: skip


def _present(counted: dict[CountedBy, int]) -> dict[CountedBy, int]:
    return {by: count for by, count in counted.items() if count}
