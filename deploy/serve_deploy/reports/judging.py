"""The last word on a run: gates and baseline judged together, and the one error that both can end in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.errors import ThresholdError, UsageError
from serve_deploy.reports.figures import format_load
from serve_deploy.reports.gates import Gate, evaluate_gates, parse_gate
from serve_deploy.reports.options import JudgingOptions
from serve_deploy.reports.point import GateResult, Load, Point
from serve_deploy.reports.report import LoadTestReport, ReportSet
from serve_deploy.reports.saved_reports import read_report


@dataclass(frozen=True)
class Baseline:
    """A saved report to compare with, by its name; `minimum_effect` is the relative change that is ignored."""

    name: str
    report: LoadTestReport
    minimum_effect: float = 0.05


def check_comparable(baseline: Baseline, model: str, protocol: str, loads: Sequence[Load]) -> None:
    """UsageError where a run that is yet to be made could not be compared with the baseline."""
    target, measured = baseline.report.target, {point.load for point in baseline.report.points}
    if (target.model, target.protocol) != (model, protocol):
        raise UsageError(
            f"the baseline {baseline.name} measured {target.model} over {target.protocol}, not {model} over {protocol}",
            hint="measure the baseline again with the same model and protocol",
        )
    if not measured & set(loads):
        was, asked = (", ".join(map(format_load, some)) or "no load" for some in (measured, loads))
        raise UsageError(
            f"the baseline {baseline.name} was measured at {was}, not at {asked}", hint="compare runs of the same load"
        )


def judge_report(report: LoadTestReport, gates: Sequence[Gate], baseline: Baseline | None = None) -> LoadTestReport:
    """Add the verdicts of gates and baseline to a report; without any, what it already holds stays."""
    verdicts: dict[str, object] = {}
    if gates:
        verdicts["gates"] = evaluate_gates(gates, _points_in_question(report))
    if baseline is not None:
        from serve_deploy.reports.baseline import BaselineOptions, compare_with_baseline

        options = BaselineOptions(minimum_effect=baseline.minimum_effect)
        verdicts["baseline"] = compare_with_baseline(report, baseline.report, baseline.name, options)
    return report.model_copy(update=verdicts) if verdicts else report


def judge(result: LoadTestReport | ReportSet, options: JudgingOptions) -> LoadTestReport | ReportSet:
    """Add the verdicts of the gates and the baseline to a report, or to each of several.

    UsageError where a gate cannot be read, or the baseline measured something else.
    """
    gates = [parse_gate(expression) for expression in options.slo]
    baseline = read_baseline(options)
    if isinstance(result, LoadTestReport):
        return judge_report(result, gates, baseline)
    judged = [
        named.model_copy(update={"report": judge_report(named.report, gates, baseline)}) for named in result.reports
    ]
    return result.model_copy(update={"reports": tuple(judged)})


def read_baseline(options: JudgingOptions) -> Baseline | None:
    """The saved report to compare with; None where none was named."""
    path = options.baseline
    return None if path is None else Baseline(str(path), read_report(path), options.min_effect)


def require_all_passed(result: LoadTestReport | ReportSet) -> None:
    """Raise ThresholdError for the first report with a missed gate or a regression."""
    for report in (result,) if isinstance(result, LoadTestReport) else (named.report for named in result.reports):
        require_passed(report)


def _points_in_question(report: LoadTestReport) -> Sequence[Point]:
    """All points; of a search those at the load it found or, where none held, at the lowest."""
    if report.search is None or not report.points:
        return report.points
    variable = "request_rate" if report.search.variable == "rate" else "concurrency"
    loads = [getattr(point.load, variable) for point in report.points]
    asked = min(loads) if report.search.highest is None else report.search.highest
    return [point for point, load in zip(report.points, loads, strict=True) if load == asked]


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
