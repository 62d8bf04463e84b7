"""A tuning as one self-contained HTML page, in the style of the load-test reports."""

from __future__ import annotations

from collections.abc import Iterator

from serve_deploy.rendering.template import render_template
from serve_deploy.reports.figures import format_share, format_time_us
from serve_deploy.tuning.candidates.candidate import describe_value
from serve_deploy.tuning.results.charts import draw_charts
from serve_deploy.tuning.results.result import SettingMeasured, TuningResult
from serve_deploy.tuning.results.tables import RACE_COLUMNS, describe_assurance, race_row


def render_page(result: TuningResult) -> str:
    """Write the page."""
    return render_template(
        "serve_deploy.tuning.results",
        "tuning.html.j2",
        title=f"Tuning of {result.model}",
        result=result,
        good=result.verdict in ("better", "nothing better"),
        change_rows=[
            (each.path, describe_value(each.path, each.before), describe_value(each.path, each.after), each.reason)
            for each in result.changes
        ],
        assurances=tuple(describe_assurance(result)),
        race_columns=RACE_COLUMNS,
        race_rows=[race_row(each) for each in (result.baseline, *result.race)],
        charts=draw_charts(result),
        evidence_columns=("setting", "instances", "outside the model", "execution by batch size"),
        evidence_rows=[_evidence_row(each) for each in result.measured_settings],
        failed_rows=[(each.description, each.reason) for each in result.failed],
        facts=tuple(_facts(result)),
    )


def _evidence_row(each: SettingMeasured) -> tuple[str, ...]:
    changed = {path: value for path, value in each.setting.items() if value is not None}
    setting = ", ".join(describe_value(path, value) for path, value in changed.items()) or "current"
    times = ", ".join(
        f"{size}: {format_time_us(time)}" for size, time in zip(each.batch_sizes, each.execution_us, strict=True)
    )
    setting = f"{each.model}: {setting}" if each.model else setting
    return setting, str(each.instances), format_time_us(each.outside_us), times


def _facts(result: TuningResult) -> Iterator[tuple[str, str]]:
    effort = result.effort
    yield "server", result.server
    yield "repository", result.repository
    yield "objective", ", ".join([result.objective, *result.gates])
    yield "rounds", str(result.rounds)
    yield "simulated", f"{effort.simulated_configurations} configurations in {effort.simulating_seconds:.1f} s"
    yield "measured", f"{effort.measurements} times, {effort.servers_started} servers started"
    waiting = effort.waiting_seconds / effort.wall_seconds if effort.wall_seconds else 0.0
    yield "took", f"{effort.wall_seconds:.0f} s, of which {format_share(waiting)} waiting"
    yield from (("note", note) for note in result.notes)
