"""What a load test of token streams measured: a part of its point, in the words of the field.

Time to first token (TTFT) runs from the intended send to the first piece with content, an inter-token gap (ITL) from
one piece with content to the next of the same request, and time per output token (TPOT) is, for each request,
(last piece − first piece) / (output tokens − 1).
"""

from __future__ import annotations

from typing import Literal

from serve_deploy.reports.document import Document, LatencySummary, TimeSlice

Protocol = Literal["triton", "chat", "completions", "grpc"]
CountedBy = Literal["usage", "tokenizer", "chunks"]


class LongestGap(Document):
    """The longest silence inside one answer, failed ones included, which began `start_seconds` into the period.

    `request` is the id that the server knows the request by; `pieces_before` came before the gap.
    """

    gap_us: float
    request: str
    pieces_before: int
    start_seconds: float


class ObjectiveResult(Document):
    """One objective for each request, such as 'ttft<500ms', and how many successful requests missed it."""

    expression: str
    missed: int


class TokenBucket(TimeSlice):
    """One slice of the period: what came in it, of all requests, and the longest gap that ended in it.

    Where only a request's total is known, its tokens are spread evenly over its pieces.
    """

    output_tokens: float
    first_tokens: int
    gap_max_us: float


class Generation(Document):
    """Token figures of one measurement; of successful requests, unless said otherwise.

    `time_to_first_token` and `inter_token` hold timeouts as well: the first token or the next piece is then as late as
    the moment at which the request was given up. So does the former hold what was never sent.
    `time_per_output_token` has a value for each request of two or more tokens.
    `output_counted_by` and `input_counted_by` say for how many requests the server's usage, the tokenizer or the number
    of pieces gave the count. `input_tokens` is None where the count is not known of every request.
    A request is `good` if it succeeded and met every objective; None where there are no objectives.
    """

    protocol: Protocol
    time_to_first_token: LatencySummary
    inter_token: LatencySummary
    time_per_output_token: LatencySummary
    input_tokens: int | None
    output_tokens: int
    output_tokens_of_failures: int = 0
    pieces: int
    input_tokens_per_second: float | None
    output_tokens_per_second: float
    output_counted_by: dict[CountedBy, int]
    input_counted_by: dict[CountedBy, int]
    good: int | None = None
    objectives: tuple[ObjectiveResult, ...] = ()
    longest_gap: LongestGap | None = None
    timeline: tuple[TokenBucket, ...] = ()
