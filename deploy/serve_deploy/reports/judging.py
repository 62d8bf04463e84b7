"""The last word on a run: gates and baseline judged together, and the one error that both can end in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serve_deploy.errors import ThresholdError, UsageError
from serve_deploy.reports.baseline.comparison import compare_with_baseline, list_uncompared
from serve_deploy.reports.figures import METRIC_NAMES, format_load
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


def check_comparable(
    baseline: Baseline, model: str, protocol: str, loads: Sequence[Load], *, allow_partial: bool = False
) -> None:
    """UsageError where a run that is yet to be made could not be compared with the baseline at every load.

    With `allow_partial`, one load in common will do.
    """
    target, measured = baseline.report.target, {point.load for point in baseline.report.points}
    if (target.model, target.protocol) != (model, protocol):
        raise UsageError(
            f"the baseline {baseline.name} measured {target.model} over {target.protocol}, not {model} over {protocol}",
            hint="measure the baseline again with the same model and protocol",
        )
    missing = [load for load in dict.fromkeys(loads) if load not in measured]
    if missing and not (allow_partial and measured & set(loads)):
        was, asked = (", ".join(map(format_load, some)) or "no load" for some in (measured, missing))
        hint = "measure the baseline at the same loads"
        if measured & set(loads):
            hint += ", or compare only those in common: `allow_partial`"
        raise UsageError(f"the baseline {baseline.name} was measured at {was}, not at {asked}", hint=hint)


def judge_report(
    report: LoadTestReport, gates: Sequence[Gate], baseline: Baseline | None = None, *, allow_partial: bool = False
) -> LoadTestReport:
    """Add the verdicts of gates and baseline to a report; without any, what it already holds stays.

    UsageError where goodput is asked of a report that was measured without objectives.
    """
    verdicts: dict[str, object] = {}
    if gates:
        _require_objectives(report, gates)
        verdicts["gates"] = evaluate_gates(gates, _points_in_question(report))
    if baseline is not None:
        verdicts["baseline"] = compare_with_baseline(report, baseline.report, baseline.name, baseline.minimum_effect)
    return report.model_copy(update={**verdicts, "allow_partial": allow_partial}) if verdicts else report


def _require_objectives(report: LoadTestReport, gates: Sequence[Gate]) -> None:
    asked = next((gate for gate in gates if gate.figure == "goodput"), None)
    measured = [point.generation for point in report.points if point.generation]
    if asked and measured and all(generation.good is None for generation in measured):
        raise UsageError(
            f"`slo={asked.expression}`: the report does not say which requests were good",
            hint="measure again with objectives: serve loadtest … --objective 'ttft<500ms'",
        )


def judge(result: LoadTestReport | ReportSet, options: JudgingOptions) -> LoadTestReport | ReportSet:
    """Add the verdicts of the gates and the baseline to a report, or to each of several.

    UsageError where a gate cannot be read, or the baseline measured something else.
    """
    gates = [parse_gate(expression) for expression in options.slo]
    baseline = read_baseline(options)

    def add_verdicts(report: LoadTestReport) -> LoadTestReport:
        return judge_report(report, gates, baseline, allow_partial=options.allow_partial)

    if isinstance(result, LoadTestReport):
        return add_verdicts(result)
    judged = [named.model_copy(update={"report": add_verdicts(named.report)}) for named in result.reports]
    return result.model_copy(update={"reports": tuple(judged)})


def read_baseline(options: JudgingOptions) -> Baseline | None:
    """The saved report to compare with; None where none was named."""
    path = options.baseline
    return None if path is None else Baseline(str(path), read_report(path), options.min_effect)


def list_failures(report: LoadTestReport) -> list[str]:
    """Why a report does not pass, a kind a line: gates missed, slower than its baseline, not compared, cut short."""
    missed = [f"{gate.expression}{_at(gate)}: {gate.explanation}" for gate in report.gates if not gate.passed]
    changes = report.baseline.changes if report.baseline else ()
    worse = [
        f"{METRIC_NAMES[change.metric]} at {format_load(change.load)}: {change.explanation}"
        for change in changes
        if change.verdict == "worse"
    ]
    gates = f"{len(missed)} of {len(report.gates)} gate{'s' if len(report.gates) > 1 else ''} missed"
    found = [(gates, missed), ("slower than the baseline", worse), *_list_gaps(report)]
    return [f"{kind}: {'; '.join(lines)}" for kind, lines in found if lines]


def _list_gaps(report: LoadTestReport) -> Iterator[tuple[str, list[str]]]:
    """What was asked for, but could not be judged or compared."""
    if report.baseline is not None:
        uncompared = list_uncompared(report.baseline.changes)
        # What was compared in no part at all cannot pass, whatever is allowed.
        if report.baseline.compared == "not":
            yield "not compared with the baseline", uncompared or ["no load was measured"]
        elif report.baseline.compared == "in part" and not report.allow_partial:
            yield "compared with the baseline only in part", uncompared
    if not report.complete and not report.allow_partial:
        yield "the run is partial", [report.interrupted_reason or "it was interrupted"]


def require_all_passed(result: LoadTestReport | ReportSet) -> None:
    """Raise ThresholdError for the first report that does not pass; of several, with its name."""
    if isinstance(result, LoadTestReport):
        return require_passed(result)
    for named in result.reports:
        try:
            require_passed(named.report)
        except ThresholdError as error:
            raise ThresholdError(f"{named.name}: {error.message}", hint=error.hint) from error
    return None


def require_passed(report: LoadTestReport) -> None:
    """Raise ThresholdError, naming what was missed and by how much, unless all gates and the comparison passed.

    A partial report passes only where it was asked nothing, or `allow_partial` is set.
    """
    failures = list_failures(report) if report.gates or report.baseline else []
    if failures:
        allow = "`allow_partial` judges by what was measured"
        hint = allow if any(_list_gaps(report)) and not report.allow_partial else None
        raise ThresholdError("; ".join(failures), hint=hint)


def _points_in_question(report: LoadTestReport) -> Sequence[Point]:
    """All points; of a search those it judged at the load it found or, where none held, at the lowest."""
    if report.search is None:
        return report.points
    points = report.points[: report.search.judged_points]
    variable = "request_rate" if report.search.variable == "rate" else "concurrency"
    loads = [getattr(point.load, variable) for point in points]
    asked = min(loads, default=None) if report.search.highest is None else report.search.highest
    return [point for point, load in zip(points, loads, strict=True) if load == asked]


def _at(result: GateResult) -> str:
    return f" at {format_load(result.load)}" if result.load is not None else ""
