"""Load-test reports of token streams whose every token is known, for tests that need to know the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from synthetic_reports import make_point, make_report, summarise_latency

from serve_deploy.reports.generation import CountedBy, Generation, LongestGap, TokenBucket
from serve_deploy.reports.objectives import RequestFigures, count_misses, find_misses, gather_objectives
from serve_deploy.reports.point import Load, Point
from serve_deploy.reports.report import LoadTestReport

Floats = NDArray[np.float64]
OBJECTIVES = ("ttft<80ms", "itl_max<100ms")
_SLICE_SECONDS = 0.1


@dataclass(frozen=True)
class Streams:
    """Requests that were answered token by token: intended sends, first tokens after them, and the gaps, in seconds.

    `gaps` has a row a request: all answers are of one length.
    """

    starts: Floats
    first: Floats
    gaps: Floats

    @property
    def pieces(self) -> Floats:
        """When each token came: a row a request."""
        come: Floats = (self.starts + self.first)[:, None] + np.hstack(
            [np.zeros((self.starts.size, 1)), np.cumsum(self.gaps, axis=1)]
        )
        return come

    @property
    def response(self) -> Floats:
        """From the intended send to the last token."""
        taken: Floats = self.first + self.gaps.sum(axis=1)
        return taken

    def figures(self) -> RequestFigures:
        """What each request took."""
        length = self.gaps.shape[1]
        return RequestFigures(
            time_to_first_token=self.first,
            response=self.response,
            time_per_output_token=self.gaps.mean(axis=1) if length else np.full(self.starts.size, np.nan),
            gaps=self.gaps.ravel(),
            gap_counts=np.full(self.starts.size, length),
        )


def make_streams(concurrency: int = 64, *, seconds: float = 5.0, tokens: int = 32, seed: int = 11) -> Streams:
    """A closed loop on a server whose first token takes about 50 ms and each further one about 10 ms."""
    random = np.random.default_rng(seed)
    rounds = int(seconds / (0.05 + 0.0101 * (tokens - 1)))
    first = 0.05 * random.lognormal(0, 0.15, (concurrency, rounds))
    gaps = 0.01 * random.lognormal(0, 0.08, (concurrency, rounds, tokens - 1))
    taken = first + gaps.sum(axis=2)
    starts = np.cumsum(taken, axis=1) - taken
    order = np.argsort(starts.ravel(), kind="stable")
    return Streams(starts.ravel()[order], first.ravel()[order], gaps.reshape(-1, tokens - 1)[order])


def plant_gap(streams: Streams, request: int, token: int, seconds: float = 0.4) -> Streams:
    """The same streams, but for one token of one request that comes so much after the one before."""
    gaps = streams.gaps.copy()
    gaps[request, token] = seconds
    return Streams(streams.starts, streams.first, gaps)


def make_token_point(
    streams: Streams | None = None,
    load: Load | None = None,
    *,
    objectives: Sequence[str] = OBJECTIVES,
    counted_by: CountedBy = "usage",
    tokens_in_piece: int = 1,
    duration_seconds: float = 5.0,
    **changes: object,
) -> Point:
    """A measurement of streams; without any, of 64 of which one pauses for 400 ms."""
    streams = plant_gap(make_streams(), 200, 17) if streams is None else streams
    load = load or Load(mode="closed", concurrency=64)
    point = make_point(
        load, response_us=streams.response * 1e6, starts_s=streams.starts, duration_seconds=duration_seconds
    )
    generation = _make_generation(streams, objectives, counted_by, tokens_in_piece, duration_seconds)
    return point.model_copy(update={"server": (), "generation": generation, **changes})


def make_token_report(*points: Point, **changes: object) -> LoadTestReport:
    """Wrap measurements of streams into a complete report."""
    report = make_report(*(points or (make_token_point(),)))
    target = report.target.model_copy(
        update={"model": "llm", "platform": "python", "max_batch_size": 0, "inputs": ("text_input BYTES [1]",),
                "outputs": ("text_output BYTES [-1]",)}
    )  # fmt: skip
    return report.model_copy(update={"target": target, **changes})


def make_token_sweep() -> tuple[Point, ...]:
    """Three loads of three repeats; the more streams, the later the tokens."""
    points = []
    for number, concurrency in enumerate((1, 8, 64)):
        for repeat in range(3):
            streams = make_streams(concurrency, seed=10 * number + repeat)
            slower = Streams(streams.starts, streams.first * (1 + number), streams.gaps * (1 + number / 4))
            points.append(make_token_point(slower, Load(mode="closed", concurrency=concurrency), repeat=repeat))
    return tuple(points)


def _make_generation(
    streams: Streams, objectives: Sequence[str], counted_by: CountedBy, tokens_in_piece: int, seconds: float
) -> Generation:
    requests, tokens = streams.starts.size, streams.pieces.size * tokens_in_piece
    figures, asked = streams.figures(), gather_objectives(objectives, [])
    misses = find_misses(asked, figures)
    has_gaps = streams.gaps.shape[1] > 0
    return Generation(
        protocol="triton",
        time_to_first_token=summarise_latency(streams.first * 1e6),
        inter_token=summarise_latency(streams.gaps.ravel() * 1e6),
        time_per_output_token=summarise_latency(figures.time_per_output_token * 1e6 if has_gaps else np.empty(0)),
        input_tokens=requests * 128,
        output_tokens=tokens,
        pieces=streams.pieces.size,
        input_tokens_per_second=requests * 128 / seconds,
        output_tokens_per_second=tokens / seconds,
        output_counted_by={counted_by: requests},
        input_counted_by={"usage": requests},
        good=int((~misses.any(axis=0)).sum()) if asked else None,
        objectives=count_misses(asked, misses.sum(axis=1).tolist()),
        longest_gap=_find_longest(streams) if has_gaps else None,
        timeline=_make_timeline(streams, tokens_in_piece),
    )


def _find_longest(streams: Streams) -> LongestGap:
    request, token = np.unravel_index(np.argmax(streams.gaps), streams.gaps.shape)
    return LongestGap(
        gap_us=round(float(streams.gaps[request, token]) * 1e6, 1),
        request=f"request-{request}",
        pieces_before=int(token) + 1,
        start_seconds=round(float(streams.pieces[request, token]), 6),
    )


def _make_timeline(streams: Streams, tokens_in_piece: int) -> tuple[TokenBucket, ...]:
    pieces = streams.pieces
    last = int(pieces.max() // _SLICE_SECONDS)
    slices = (pieces // _SLICE_SECONDS).astype(int)
    counts = np.bincount(slices.ravel(), minlength=last + 1)
    first = np.bincount(slices[:, 0], minlength=last + 1)
    longest = np.zeros(last + 1)
    np.maximum.at(longest, slices[:, 1:].ravel(), np.round(streams.gaps.ravel() * 1e6, 1))
    return tuple(
        TokenBucket(
            start_seconds=round(index * _SLICE_SECONDS, 3),
            duration_seconds=_SLICE_SECONDS,
            output_tokens=float(counts[index] * tokens_in_piece),
            first_tokens=int(first[index]),
            gap_max_us=float(longest[index]),
        )
        for index in range(last + 1)
    )
