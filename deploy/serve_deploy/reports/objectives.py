"""Which requests were good: each is held to its objectives by its own figures, for goodput.

An objective bounds one figure of a single request from above:

- `ttft`: its time to first token, from the intended send;
- `e2e`: its response time, from the intended send to the end of its answer;
- `tpot`: its time per output token, (last piece − first piece) / (output tokens − 1);
- `itl_max`, `itl_mean`, `itl_p99` …: of the gaps between its own pieces the longest, the mean, or the shortest that at
  least 99 % of them do not exceed (nearest rank: of fewer than 100 gaps, the longest).

A figure that a request does not have is met: an answer of one piece has no gap, and of one token no time per output
token, so none was too long. A request without a first token did not succeed, and a request that did not succeed is not
good, however fast it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_deploy.errors import UsageError
from serve_deploy.reports.expressions import UNITS, complain_of_unit, read_expression
from serve_deploy.reports.gates import Gate
from serve_deploy.reports.generation import ObjectiveResult

Floats = NDArray[np.float64]

_FIGURE = re.compile(r"(?P<clock>ttft|e2e|tpot|itl_(?P<statistic>mean|max|p(?P<percentile>\d{1,2}(?:\.\d+)?)))")
_OVER_REQUESTS = re.compile(
    r"(?:(?P<clock>ttft|tpot|e2e|response)_)?(?:(?P<max>max)|p(?P<percentile>\d{1,2}(?:\.\d+)?))"
)
_LEAST_PERCENTILE = 90.0
_SINGLE_FIGURES = {"ttft": "time_to_first_token", "e2e": "response", "tpot": "time_per_output_token"}
_NO_OBJECTIVES = "give `objectives='ttft<500ms'`, or a gate on the slowest requests such as `slo='ttft_p99<500ms'`"
VOCABULARY = """an objective for each request is <figure><number><unit>, such as 'ttft<500ms':
  ttft                         its time to first token, from the intended send (us, ms, s)
  e2e                          its response time, from the intended send
  tpot                         its time per output token
  itl_max, itl_mean, itl_p99 … of the gaps between the pieces of its own answer
comparisons are < <="""


@dataclass(frozen=True)
class Objective:
    """A bound in seconds on one figure of every single request; `expression` says it as its user would."""

    expression: str
    figure: str
    comparison: str
    bound_seconds: float

    def exceeds(self, figures: Floats) -> NDArray[np.bool_]:
        """Which figures are beyond the bound; NaN stands for a figure that a request does not have, and is not."""
        beyond: NDArray[np.bool_] = (
            figures >= self.bound_seconds if self.comparison == "<" else figures > self.bound_seconds
        )
        return beyond


@dataclass(frozen=True)
class RequestFigures:
    """What single requests took: an item a request, in seconds; NaN where a request has no such figure.

    `gaps` holds the gaps of all of them, request after request; `gap_counts` says how many each has.
    """

    time_to_first_token: Floats
    response: Floats
    time_per_output_token: Floats
    gaps: Floats
    gap_counts: NDArray[np.int64]


def parse_objective(expression: str) -> Objective:
    """Parse one --objective; UsageError, saying what may be said, where it is none."""
    parsed = read_expression(expression)
    if parsed is None or parsed.comparison not in ("<", "<="):
        raise UsageError(f"`objectives={expression}` is not an objective", hint=VOCABULARY)
    if not _FIGURE.fullmatch(parsed.name):
        raise UsageError(f"`objectives={expression}`: unknown figure '{parsed.name}'", hint=VOCABULARY)
    if parsed.unit not in UNITS["time"]:
        said = complain_of_unit(parsed, list(UNITS["time"]))
        raise UsageError(f"`objectives={expression}`: {said}", hint=VOCABULARY)
    if not parsed.is_finite:
        raise UsageError(f"`objectives={expression}`: the bound is not a finite number")
    seconds = parsed.number * UNITS["time"][parsed.unit] / 1e6
    return Objective(expression.strip(), parsed.name, parsed.comparison, seconds)


def gather_objectives(expressions: Iterable[str], gates: Sequence[Gate]) -> tuple[Objective, ...]:
    """The objectives that were given, and for figures without one those that follow from the gates.

    A gate on the slowest requests, `ttft_p99<500ms` (p90 or above, or max), says what each should take: `ttft<500ms`.
    Of several on one figure the highest percentile does, and of two on one percentile the stricter. A mean or a median
    speaks of all requests together, not of each. Gates on gaps, such as `itl_mean<30ms`, hold for each request's own.
    """
    given = tuple(map(parse_objective, expressions))
    named = {objective.figure for objective in given}
    derived: dict[str, tuple[float, Objective]] = {}
    for percentile, objective in filter(None, map(_derive, gates)):
        known = derived.get(objective.figure)
        stricter = known is None or (percentile, -objective.bound_seconds) > (known[0], -known[1].bound_seconds)
        if objective.figure not in named and stricter:
            derived[objective.figure] = (percentile, objective)
    return (*given, *(objective for _, objective in derived.values()))


def check_gates(gates: Iterable[Gate], objectives: Sequence[Objective], *, generates: bool) -> None:
    """UsageError for a gate that a run that is yet to be made could not be judged by."""
    for gate in gates:
        if gate.needs_tokens and not generates:
            raise UsageError(
                f"`slo={gate.expression}` is about token streams, and none are measured",
                hint="measure them with `generate`",
            )
        if gate.figure == "goodput" and not objectives:
            raise UsageError(f"`slo={gate.expression}`: nothing says which requests are good", hint=_NO_OBJECTIVES)


def _derive(gate: Gate) -> tuple[float, Objective] | None:
    """The percentile that a gate bounds, and what that asks of a single request; None for other gates."""
    if gate.quantity != "time" or gate.comparison not in ("<", "<="):
        return None
    figure, percentile = gate.figure, 100.0
    if not _FIGURE.fullmatch(figure):
        over_requests = _OVER_REQUESTS.fullmatch(figure)
        if not over_requests:
            return None
        percentile = 100.0 if over_requests["max"] else float(over_requests["percentile"])
        if percentile < _LEAST_PERCENTILE:
            return None
        figure = over_requests["clock"] or "e2e"
    figure = "e2e" if figure == "response" else figure
    bound = gate.expression.partition(gate.comparison)[2].strip()
    return percentile, Objective(
        f"{figure}{gate.comparison}{bound}", figure, gate.comparison, gate.threshold * gate.factor / 1e6
    )


def find_misses(objectives: Sequence[Objective], requests: RequestFigures) -> NDArray[np.bool_]:
    """Which of the objectives (rows) each of the requests (columns) misses."""
    misses = np.zeros((len(objectives), requests.response.size), np.bool_)
    for row, objective in zip(misses, objectives, strict=True):
        single = _SINGLE_FIGURES.get(objective.figure)
        row[:] = objective.exceeds(getattr(requests, single)) if single else _find_gap_misses(objective, requests)
    return misses


def count_misses(objectives: Sequence[Objective], missed: Iterable[int]) -> tuple[ObjectiveResult, ...]:
    """The objectives as the report has them, each with how many requests missed it."""
    return tuple(
        ObjectiveResult(expression=objective.expression, missed=count)
        for objective, count in zip(objectives, missed, strict=True)
    )


def _find_gap_misses(objective: Objective, requests: RequestFigures) -> NDArray[np.bool_]:
    misses, has_gaps = np.zeros(requests.response.size, np.bool_), requests.gap_counts > 0
    counts = requests.gap_counts[has_gaps]
    if not counts.size:
        return misses
    starts, statistic = np.cumsum(counts) - counts, objective.figure.removeprefix("itl_")
    if statistic == "mean":
        misses[has_gaps] = objective.exceeds(np.add.reduceat(requests.gaps, starts) / counts)
    else:
        # The gap of a rank is beyond the bound where too few gaps are within it; that needs no sorting.
        percent = 100.0 if statistic == "max" else float(statistic[1:])
        ranks = np.maximum(np.ceil(counts * percent / 100 - 1e-9), 1)
        beyond = np.add.reduceat(objective.exceeds(requests.gaps), starts, dtype=np.int64)
        misses[has_gaps] = counts - beyond < ranks
    return misses
