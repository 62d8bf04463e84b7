"""What tuning found as text: a table for a person, rows for a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from serve_deploy.reports.figures import format_change, format_number, format_plainly, format_time_us
from serve_deploy.text_table import fit, hang
from serve_deploy.tuning.candidates.candidate import describe_value, split_path
from serve_deploy.tuning.results.result import Figures, TunedCandidate, TuningResult

RACE_COLUMNS = ("configuration", "load", "inferences/s", "p50", "p99", "memory", "by the twin", "gain", "")
_PAGE = 100
# A gain of which no more is known than this says nothing.
_WIDEST = 10.0


def render_table(result: TuningResult, width: int | None = None) -> str:
    """The verdict, who raced, what changes and why, and what it took."""
    gates = f", {' and '.join(result.gates)}" if result.gates else ""
    parts = [
        hang("", f"{result.model} on {result.server}: {result.objective}{gates}", width),
        hang(f"{result.verdict}: ", result.explanation, width or _PAGE),
        *(hang("  ", told, width or _PAGE) for told in describe_assurance(result)),
        "",
        fit(RACE_COLUMNS, [race_row(each) for each in (result.baseline, *result.race)], width),
    ]
    if result.changes:
        rows = [(describe_value(each.path, each.after), each.reason) for each in result.changes]
        parts += ["", fit(("change", "reason"), rows, width or _PAGE)]
    if result.failed:
        parts += [
            "",
            fit(("left out", "reason"), [(each.description, each.reason) for each in result.failed], width or _PAGE),
        ]
    if result.applied:
        parts += ["", f"written into {_written(result)}"]
    parts += ["", *(hang("note: ", note, width or _PAGE) for note in result.notes), *_effort(result, width)]
    return "\n".join(line.rstrip() for line in "\n".join(parts).splitlines()) + "\n"


def describe_assurance(result: TuningResult) -> Iterator[str]:
    """For each gate what the confirming runs had, and what the next one is expected to have."""
    if result.confirmation is None:
        return
    runs = f"{result.confirmation.runs} runs on fresh servers"
    for gate in result.confirmation.gates:
        mean, bound = (_with_unit(value, gate.unit) for value in (gate.mean, gate.bound))
        side = "above" if gate.bound < gate.mean else "below"
        yield (
            (f"{gate.model}: " if gate.model else "")
            + f"{gate.figure} {mean} over {runs}, and {side} {bound} in the next one with "
            f"{format_plainly(gate.confidence * 100)} % confidence; gate {gate.expression}"
        )


def _with_unit(value: float, unit: str) -> str:
    return f"{format_number(value)} {unit}" if unit.isalpha() else f"{format_number(value)}{unit}"


def _written(result: TuningResult) -> str:
    changed = dict.fromkeys(split_path(change.path)[0] or result.model for change in result.changes)
    return ", ".join(f"{result.repository}/{model}" for model in changed)


def race_row(each: TunedCandidate) -> tuple[str, ...]:
    """Who raced: the load, what was measured, what the twin had said, and how it ended."""
    figures = each.measured
    predicted = _predict(each.predicted) if each.predicted else "–"
    gain = "–"
    if each.gain is not None and each.gain_low is not None and each.gain_high is not None and figures:
        interval = f"{format_change(each.gain_low)} to {format_change(each.gain_high)}"
        gain = f"{format_change(each.gain)} ({interval if each.gain_high < _WIDEST else 'too noisy to say'})"
    told = "; ".join(filter(None, (each.standing, each.reason)))
    if figures is None:
        return (each.description, "–", "–", "–", "–", "–", predicted, gain, told)
    return (
        each.description,
        describe_load(figures),
        format_number(figures.throughput),
        format_time_us(figures.p50_us),
        _tail(figures),
        f"{format_number(figures.memory_bytes / 1e6)} MB" if figures.memory_bytes else "–",
        predicted,
        gain,
        told,
    )


def _predict(figures: Figures) -> str:
    """What the twin said; at a given rate all serve as much, and differ in their times."""
    if figures.request_rate:
        return f"p99 {format_time_us(figures.p99_us)}"
    return f"{format_number(figures.throughput)}/s"


def _tail(figures: Figures) -> str:
    """The p99 of all, and of each model of a mixed load."""
    parts = ", ".join(f"{part.model} {format_time_us(part.p99_us)}" for part in figures.parts)
    return format_time_us(figures.p99_us) + (f" ({parts})" if parts else "")


def describe_load(figures: Figures) -> str:
    """Such as "16 at a time" or "200/s"."""
    if figures.request_rate:
        return f"{format_number(figures.request_rate)}/s"
    return f"{figures.concurrency} at a time"


def _effort(result: TuningResult, width: int | None) -> Iterator[str]:
    effort = result.effort
    resumed = f" and {effort.resumed_measurements} resumed" if effort.resumed_measurements else ""
    starts = f" ({effort.mean_start_seconds:.1f} s each)" if effort.mean_start_seconds else ""
    yield hang(
        "",
        f"{effort.wall_seconds:.0f} s: {effort.measurements} measurements{resumed}, "
        f"{effort.servers_started} servers started{starts}, "
        f"{effort.simulated_configurations} configurations simulated; "
        f"{100 * effort.waiting_seconds / max(effort.wall_seconds, 1e-9):.0f} % of the time was spent waiting",
        width or _PAGE,
    )


_CSV = ("stage", "description", "standing", "score", "throughput", "p50_us", "p99_us", "mean_batch_size", "concurrency",
        "request_rate", "memory_bytes", "server_cpu_cores", "gain", "gain_low", "gain_high")  # fmt: skip


def render_csv(result: TuningResult) -> str:
    """A row for each prediction and each measurement, in full precision; a column for each field that was varied."""
    paths = sorted({path for each in (result.baseline, *result.race, *result.ranked) for path in each.values})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_CSV, *paths])
    for each in (result.baseline, *result.race):
        for stage, figures in (("raced", each.measured), ("predicted", each.predicted)):
            if figures:
                writer.writerow(_csv_row(stage, each, figures, paths))
    for each in result.ranked:
        if each.predicted:
            writer.writerow(_csv_row("ranked", each, each.predicted, paths))
    return out.getvalue()


def _csv_row(stage: str, each: TunedCandidate, figures: Figures, paths: Sequence[str]) -> list[object]:
    known = {"stage": stage, "description": each.description, "standing": each.standing}
    gains = {"gain": each.gain, "gain_low": each.gain_low, "gain_high": each.gain_high} if stage == "raced" else {}
    dumped = {**figures.model_dump(), **known, **gains}
    cells = [dumped.get(column) for column in _CSV] + [each.values.get(path) for path in paths]
    return ["" if cell is None else cell for cell in cells]
