"""Options and endings that `loadtest` and `report` share: judge a report, write it, print it, exit by it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import output
from serve_deploy.errors import ServeError

if TYPE_CHECKING:
    from serve_deploy.rendering import Format
    from serve_deploy.reports.gates import Gate
    from serve_deploy.reports.judging import Baseline
    from serve_deploy.reports.report import LoadTestReport, ReportSet

Slo = Annotated[
    list[str] | None,
    typer.Option(
        "--slo",
        metavar="GATE",
        help="A gate such as 'p99<50ms', 'errors<0.1%' or 'throughput>200'; missed: exit code 7. May be repeated.",
        show_default=False,
    ),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="FILE", help="A saved report; slower than it: exit code 7.", show_default=False),
]
MinimumEffect = Annotated[
    float, typer.Option("--min-effect", help="Relative change against the baseline that is let pass.", min=0)
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the report; .json, .html, .md, .csv, .xml (JUnit) or .txt says the format. May be repeated.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What becomes of a result: its gates and baseline (unless it has its verdicts), its files, what stdout gets."""

    gates: tuple[Gate, ...] = ()
    baseline: Baseline | None = None
    outputs: tuple[Path, ...] = ()
    printed: Format = "table"
    is_judged: bool = False

    def conclude(
        self,
        result: LoadTestReport | ReportSet,
        *,
        failure: ServeError | None = None,
        afterwards: Callable[[LoadTestReport | ReportSet], None] = lambda _result: None,
    ) -> None:
        """Judge, write the files, print, do what comes after, and end with the code of what went wrong.

        `failure` weighs most, then a report that was not saved, a threshold missed, `afterwards`; each is told. A
        report that could not be kept in any file goes to stdout as JSON, whatever format was asked for.
        """
        from serve_deploy.rendering import render
        from serve_deploy.rendering.saved_reports import write_report
        from serve_deploy.reports.judging import judge_all, require_all_passed

        judged = judge_all(result, self.gates, self.baseline)
        unsaved = _catch(lambda: write_report(judged, self.outputs))
        lost = unsaved is not None and getattr(unsaved, "kept", None) is None
        sys.stdout.write(render(judged, "json" if lost else self.printed))
        sys.stdout.flush()
        asked = bool(self.is_judged or self.gates or self.baseline)
        missed = _catch(lambda: require_all_passed(judged)) if asked else None
        late = _catch(lambda: afterwards(judged))
        _tell([problem for problem in (failure, unsaved, missed, late) if problem is not None])


def prepare_ending(
    *,
    slo: list[str] | None = None,
    baseline: Path | None = None,
    min_effect: float = 0.05,
    outputs: list[Path] | None,
    printed: Format,
    is_judged: bool = False,
) -> Ending:
    """Find out what is wrong with gates, baseline and files before anything long is begun."""
    from serve_deploy.rendering.saved_reports import check_destinations, read_report
    from serve_deploy.reports.gates import parse_gate
    from serve_deploy.reports.judging import Baseline

    files = tuple(outputs or ())
    check_destinations(files)
    return Ending(
        gates=tuple(parse_gate(expression) for expression in slo or ()),
        baseline=Baseline(str(baseline), read_report(baseline), min_effect) if baseline is not None else None,
        outputs=files,
        printed=printed,
        is_judged=is_judged,
    )


def _catch(action: Callable[[], None]) -> ServeError | None:
    try:
        action()
    except ServeError as error:
        return error
    return None


def _tell(problems: Sequence[ServeError]) -> None:
    for problem in problems[1:]:
        output.print_error(problem)
    if problems:
        raise problems[0]
