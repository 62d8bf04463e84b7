"""What a load test's report is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from serve_deploy.option import Option

_GATES = "Gates"


@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """Gates that every load must pass, and a saved report that the run must not be slower than.

    A run that was cut short, or could not be compared in full, does not pass unless `allow_partial` is set.
    """

    slo: Annotated[
        tuple[str, ...],
        Option(
            "Gate such as 'p99<50ms', 'errors<0.1%' or 'ttft_p99<1s'; exit code 7 if missed; repeatable.",
            metavar="GATE",
            group=_GATES,
        ),
    ] = ()
    baseline: Annotated[
        Path | None,
        Option("Saved report to compare with; exit code 7 if slower, or not comparable.", metavar="FILE", group=_GATES),
    ] = None
    min_effect: Annotated[
        float, Option("Ignore changes against `baseline` below this share.", minimum=0, group=_GATES)
    ] = 0.05
    allow_partial: Annotated[
        bool, Option("Accept an incomplete run or comparison: judge by what was measured.", group=_GATES)
    ] = False
