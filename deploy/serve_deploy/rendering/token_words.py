"""What a report says of token streams in words: how tokens were counted, which requests were good, the longest gap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from serve_deploy.reports.figures import (
    format_count,
    format_list,
    format_load,
    format_number,
    format_share,
    format_time_us,
)
from serve_deploy.reports.generation import CountedBy, Generation, LongestGap
from serve_deploy.reports.point import Point
from serve_deploy.reports.readers import read_good_rate, read_goodput, read_longest_gap_us

PROTOCOL_NAMES = {
    "triton": "Triton's generate_stream",
    "grpc": "Triton's gRPC streams",
    "chat": "OpenAI chat completions",
    "completions": "OpenAI completions",
}
_MEANINGS = (
    ("TTFT", "time to first token: from the moment a request was meant to be sent to the first content of its answer"),
    ("ITL", "inter-token latency: every gap between two pieces with content of one answer, of all answers together"),
    ("TPOT", "time per output token, of each request: (last piece − first piece) / (output tokens − 1)"),
    ("e2e", "end to end: from the moment a request was meant to be sent to the end of its answer; the response time"),
    ("goodput", "requests that succeeded and met every objective by their own figures, as a share of all that ended"),
)
_COUNTED: dict[CountedBy, str] = {
    "usage": "the server's usage",
    "tokenizer": "the tokenizer",
    "chunks": "the pieces of the streams",
}
# A piece of one token and a last one without content are no reason to speak of pieces of several.
_MORE_THAN_ONE = 1.05


def describe_protocol(points: Iterable[Point]) -> str:
    """By what protocol answers were streamed; "" where whole answers were measured."""
    protocols = dict.fromkeys(point.generation.protocol for point in points if point.generation)
    return format_list([PROTOCOL_NAMES[protocol] for protocol in protocols]) if protocols else ""


def describe_counting(counted_by: Mapping[CountedBy, int]) -> str:
    """By what tokens were counted, with the requests where that differed; "" where none were."""
    known = [(name, counted_by[kind]) for kind, name in _COUNTED.items() if counted_by.get(kind)]
    if len(known) == 1:
        return known[0][0]
    return format_list([f"{name} ({format_count(count)} requests)" for name, count in known]) if known else ""


def describe_tokens(generation: Generation) -> str:
    """How many tokens came and went, and by what they were counted."""
    out = f"{format_count(generation.output_tokens)} output tokens in {format_count(generation.pieces)} pieces"
    into = "" if generation.input_tokens is None else f"{format_count(generation.input_tokens)} input tokens"
    by, input_by = (describe_counting(each) for each in (generation.output_counted_by, generation.input_counted_by))
    if not by:
        parts = ["none"]
    elif into and by == input_by:
        parts = [f"{out}, {into}", f"counted by {by}"]
    else:
        parts = [f"{out}, counted by {by}", f"{into}, counted by {input_by}" if into else "input tokens not counted"]
    if generation.output_tokens_of_failures:
        parts.append(f"{format_count(generation.output_tokens_of_failures)} more output tokens of requests that failed")
    return "; ".join(parts)


def describe_goodput(point: Point) -> str:
    """The share of good requests, and how many missed which objective; "" without objectives."""
    share, rate = read_goodput(point), read_good_rate(point)
    if point.generation is None or share is None or rate is None:
        return ""
    asked = [
        each.expression + (f" (missed by {format_count(each.missed)})" if each.missed else "")
        for each in point.generation.objectives
    ]
    return f"{format_share(share)} of the requests, {format_number(rate)}/s, met {format_list(asked)}"


def _describe_objectives(measured: Iterable[Generation]) -> str:
    """What good requests met, and how many requests of all loads did not; "" without objectives."""
    missed: Counter[str] = Counter()
    for each in measured:
        missed.update({objective.expression: objective.missed for objective in each.objectives})
    asked = [text + (f" (missed by {format_count(count)} in all)" if count else "") for text, count in missed.items()]
    return f"Good requests met {format_list(asked)}." if asked else ""


def describe_gap(repeats: Sequence[Point]) -> str:
    """The longest gap inside one answer, with its request; "" where no answer had a gap."""
    point = max(repeats, key=_gap_us)
    gap = point.generation.longest_gap if point.generation else None
    if gap is None:
        return ""
    within = f" of repeat {point.repeat + 1}" if len(repeats) > 1 else ""
    return f"{describe_place(gap)}, {format_number(gap.start_seconds)} s into the measurement{within}"


def describe_place(gap: LongestGap) -> str:
    """How long a gap is, and where in which answer."""
    pieces = "1 piece" if gap.pieces_before == 1 else f"{format_count(gap.pieces_before)} pieces"
    return f"{format_time_us(gap.gap_us)} after {pieces} of the answer to request {gap.request}"


def list_token_warnings(points: Sequence[Point]) -> list[str]:
    """What a reader must know of how tokens were counted before believing the figures."""
    measured = [point.generation for point in points if point.generation]
    by_pieces = sum(each.output_counted_by.get("chunks", 0) for each in measured)
    counted = sum(sum(each.output_counted_by.values()) for each in measured)
    warnings = []
    if by_pieces:
        of = "" if by_pieces == counted else f" for {format_count(by_pieces)} of {format_count(counted)} requests"
        warnings.append(
            f"Output tokens were counted by the pieces of the streams{of}, and a piece may hold several tokens. "
            "Give the model's tokenizer to count them."
        )
    tokens, pieces = (sum(getattr(each, name) for each in measured) for name in ("output_tokens", "pieces"))
    if pieces and tokens > pieces * _MORE_THAN_ONE:
        warnings.append(
            f"A piece held {format_number(tokens / pieces)} tokens on average: inter-token latency is the gap between "
            "pieces, and tokens within one have none."
        )
    return warnings


def describe_streams(points: Sequence[Sequence[Point]]) -> list[str]:
    """How the tokens of a run were counted, and its longest gap; `points` are the repeats of each load."""
    measured = [point.generation for repeats in points for point in repeats if point.generation]
    if not measured:
        return []
    by = describe_counting(_add_counts(measured))
    lines = [f"Output tokens were counted by {by}."] if by else []
    if objectives := _describe_objectives(measured):
        lines.append(objectives)
    worst = max(points, key=lambda repeats: max(map(_gap_us, repeats)))
    if gap := describe_gap(worst):
        at = f" at {format_load(worst[0].load)}" if len(points) > 1 else ""
        lines.append(f"The longest gap within an answer{at} was {gap}.")
    return lines


def _gap_us(point: Point) -> float:
    return read_longest_gap_us(point) or 0.0


def _add_counts(measured: Iterable[Generation]) -> Counter[CountedBy]:
    counted: Counter[CountedBy] = Counter()
    for each in measured:
        counted.update(each.output_counted_by)
    return counted


def explain_figures(points: Sequence[Point]) -> tuple[tuple[str, str], ...]:
    """What each figure of token streams means, and by what tokens were counted."""
    by = describe_counting(_add_counts(point.generation for point in points if point.generation))
    counted = f"; counted by {by}" if by else ""
    tokens = f"output tokens of successful requests, over the whole period{counted}"
    return (*_MEANINGS, ("output tokens/s", tokens))
