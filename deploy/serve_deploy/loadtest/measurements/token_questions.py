"""What is to be found out of the token streams of every period. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.loadtest.measurements.answers import AnswerMeasurement, CountTokens
from serve_deploy.reports.generation import Generation, Protocol
from serve_deploy.reports.objectives import Objective


@dataclass(frozen=True)
class TokenQuestions:
    """The objectives of each request, and how tokens are counted that the server does not count."""

    protocol: Protocol
    objectives: tuple[Objective, ...] = ()
    count_tokens: CountTokens | None = None

    def begin(self, start: float) -> AnswerMeasurement:
        """Nothing found yet, in a period that begins then."""
        return AnswerMeasurement(start, self.objectives)

    def conclude(self, answers: AnswerMeasurement, seconds: float) -> Generation:
        """The figures of a period that lasted so long."""
        return answers.build(self.protocol, seconds, self.count_tokens)
