"""What became of each case, and the report on all of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Verdict(StrEnum):
    """How a case ended; the first five are as they should be."""

    SERVED = "served as expected"
    REFUSED = "not servable, refused with exit code 3"
    TOO_NEW = "reproduced by ONNX Runtime here, but too new for any released Triton, refused with exit code 3"
    LEFT_OUT = "packaged, but the case leaves out an input that each request has to give"
    NOT_REPRODUCED = "not reproduced by ONNX Runtime itself"
    NOT_PACKAGED = "could not be packaged"
    NOT_LOADED = "did not load"
    DIFFERENT = "served differently"


GOOD = (Verdict.SERVED, Verdict.REFUSED, Verdict.TOO_NEW, Verdict.LEFT_OUT, Verdict.NOT_REPRODUCED)


@dataclass(frozen=True)
class Outcome:
    """One case: its verdict, the cause where it was not served, and what it exercises."""

    name: str
    verdict: Verdict
    cause: str = ""
    max_batch_size: int = 0
    features: tuple[str, ...] = field(default=())


def print_report(outcomes: list[Outcome]) -> None:
    """Figures first, then every exception with its cause."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    for verdict in Verdict:
        print(f"{counts[verdict]:6} {verdict.value}")
    print(f"{len(outcomes):6} cases")
    features = Counter(
        feature for outcome in outcomes if outcome.verdict is Verdict.SERVED for feature in outcome.features
    )
    print("served, by what they exercise: " + ", ".join(f"{name} {count}" for name, count in sorted(features.items())))
    for verdict in Verdict:
        named = [outcome for outcome in outcomes if outcome.verdict is verdict and outcome.cause]
        if named:
            print(f"\n{verdict.value}:")
            for cause, count in Counter(outcome.cause for outcome in named).most_common():
                names = [outcome.name for outcome in named if outcome.cause == cause]
                print(f"  {count} × {cause}: {', '.join(names)}")


def write_report(path: Path, outcomes: list[Outcome]) -> None:
    """The same as JSON."""
    path.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n", encoding="utf-8")
