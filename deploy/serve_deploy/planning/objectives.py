"""Objectives that a deployment is planned for: limits of the p99, or of a token stream's figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.reports.gates import Gate


def read_objective(text: str) -> Gate:
    """An objective that more load makes harder to keep: a limit of the p99, or of a token stream's figures."""
    from serve_deploy.reports.gates import parse_gate

    gate = parse_gate(text)
    upper = gate.comparison in ("<", "<=")
    if not ((is_p99(gate) and upper) or (gate.needs_tokens and upper != (gate.figure == "goodput"))):
        raise UsageError(
            f"`slo={text}`: scaling needs an upper limit for the p99, or an objective of token streams",
            hint="for example 'p99<50ms', 'ttft_p99<500ms', 'itl_p99<50ms' or 'goodput>95%'",
        )
    return gate


def is_p99(gate: Gate) -> bool:
    """Whether it limits the p99 of the response time."""
    return gate.figure in ("p99", "response_p99", "e2e_p99")


def lowest_p99_seconds(objectives: Sequence[Gate]) -> float | None:
    """The lowest p99 that an objective allows; None where none limits it."""
    return min((gate.threshold * gate.factor / 1e6 for gate in objectives if is_p99(gate)), default=None)


def of_streams(objectives: Sequence[Gate]) -> tuple[Gate, ...]:
    """The objectives of token streams."""
    return tuple(gate for gate in objectives if not is_p99(gate))
