"""The last word on a run: gates and baseline judged together, and the one error that both can end in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.errors import ThresholdError
from serve_deploy.loadtest.figures import format_load
from serve_deploy.loadtest.gates import Gate, evaluate_gates
from serve_deploy.loadtest.report import GateResult, LoadTestReport


@dataclass(frozen=True)
class Baseline:
    """A saved report to compare with, by its name; `minimum_effect` is the relative change that is let pass."""

    name: str
    report: LoadTestReport
    minimum_effect: float = 0.05


def judge_report(report: LoadTestReport, gates: Sequence[Gate], baseline: Baseline | None = None) -> LoadTestReport:
    """Add the verdicts of gates and baseline to a report; without any, what it already holds stays."""
    verdicts: dict[str, object] = {}
    if gates:
        verdicts["gates"] = evaluate_gates(gates, report.points)
    if baseline is not None:
        from serve_deploy.loadtest.baseline import BaselineOptions, compare_with_baseline

        options = BaselineOptions(minimum_effect=baseline.minimum_effect)
        verdicts["baseline"] = compare_with_baseline(report, baseline.report, baseline.name, options)
    return report.model_copy(update=verdicts) if verdicts else report


def require_passed(report: LoadTestReport) -> None:
    """Raise ThresholdError, naming every missed gate and every regression and by how much, unless there is none."""
    missed = [result for result in report.gates if not result.passed]
    worse = [change for change in report.baseline.changes if change.verdict == "worse"] if report.baseline else []
    lines = [
        *(f"{result.expression}{_at(result)}: {result.explanation}" for result in missed),
        *(
            f"{change.metric} at {format_load(change.load)} against the baseline: {change.explanation}"
            for change in worse
        ),
    ]
    if lines:
        raise ThresholdError(f"{_count(len(missed), len(report.gates), len(worse))}: {'; '.join(lines)}")


def _count(missed: int, gates: int, worse: int) -> str:
    words = [f"{missed} of {gates} gate{'s' if gates > 1 else ''} missed"] if missed else []
    return " and ".join([*words, "slower than the baseline"] if worse else words)


def _at(result: GateResult) -> str:
    return f" at {format_load(result.load)}" if result.load is not None else ""
