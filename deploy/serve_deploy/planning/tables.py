"""A plan as text: a table for a person, rows for a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from serve_deploy.planning.result import DeploymentPlan, ProfilePlan, ReplayedCurve
from serve_deploy.reports.figures import format_number, format_plainly, format_share
from serve_deploy.text_table import columns_in_use, fit, hang

PROFILE_COLUMNS = (
    "profile", "replicas", "target", "requests/s", "beyond the objective", "replica-hours", "cost", "a million",
    "energy", "a million ",
)  # fmt: skip
CURVE_COLUMNS = ("profile", "load", "replicas", "beyond the objective", "longest", "turns an hour", "replica-hours", "")
_PAGE = 100


def render_table(result: DeploymentPlan, width: int | None = None) -> str:
    """The profiles side by side, every curve, and where the numbers come from."""
    page = width or _PAGE
    parts = [
        describe_traffic(result),
        "",
        _table(PROFILE_COLUMNS, [profile_row(each, result.currency) for each in result.profiles], width),
        "",
        _table(CURVE_COLUMNS, list(curve_rows(result)), width),
        "",
    ]
    for each in result.profiles:
        parts += [*(hang(f"{lead}: ", text, page) for lead, text in explain(each)), ""]
    parts += [hang("note: ", note, page) for note in result.notes]
    return "\n".join(line.rstrip() for line in "\n".join(parts).rstrip().splitlines()) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    used = columns_in_use(columns, rows)
    return fit([columns[at].rstrip() for at in used], [[row[at] for at in used] for row in rows], width)


def describe_traffic(result: DeploymentPlan) -> str:
    """What the fleet is to bear, and what it must keep."""
    traffic = result.traffic
    rates = f"{_rate(traffic.base_rate)} to {_rate(traffic.peak_rate)} requests/s"
    growth = f"growing by up to {format_plainly(traffic.growth_percent_per_minute)} % of the base a minute"
    kept = " and ".join(result.slo) or "twice the p99 of each profile's lightest load"
    return f"{rates}, {growth}; objective: {kept}"


def profile_row(each: ProfilePlan, currency: str | None) -> tuple[str, ...]:
    """The profile, its targets, and what the main curve takes: the trace, else a day."""
    main, scaling = each.main_curve, each.scaling
    if main is None or scaling is None:
        return (each.profile, "no plan", *["–"] * (len(PROFILE_COLUMNS) - 2))
    unit = f" {currency}" if currency else ""
    return (
        each.profile,
        f"{scaling.targets.min_replicas} to {scaling.targets.max_replicas}",
        f"{format_number(scaling.targets.concurrency)} in flight",
        _rate(scaling.target_rate),
        describe_breach(main),
        f"{_amount(main.replica_hours)} {describe_span(main)}",
        _with_unit(main.cost, unit),
        _with_unit(main.cost_per_million, f"{unit} / million {each.unit}"),
        _with_unit(main.energy_kwh, " kWh"),
        _with_unit(main.energy_kwh_per_million, " kWh"),
    )


def curve_rows(result: DeploymentPlan) -> Iterator[tuple[str, ...]]:
    """Each curve of each profile."""
    for each in result.profiles:
        for curve in each.curves:
            yield (
                each.profile,
                curve.name,
                f"{curve.fewest_replicas} to {curve.most_replicas}",
                describe_breach(curve),
                _time(curve.longest_breach_seconds),
                f"{curve.turns_per_hour:.1f}",
                f"{_amount(curve.replica_hours)} {describe_span(curve)}",
                {True: "within its budget", False: "beyond its budget", None: ""}[curve.within_budget],
            )


def explain(each: ProfilePlan) -> Iterator[tuple[str, str]]:
    """A line for each number of a profile: what it is, and where it comes from."""
    if each.scaling is None:
        yield each.profile, f"no plan: {each.problem}" + (f"; {each.hint}" if each.hint else "")
        return
    yield each.profile, ", ".join(f"{model.model} of {model.report}" for model in each.models)
    for fact in each.scaling.derived:
        if fact.name.startswith("replay_"):
            continue  # a row among the curves
        value = f"{format_number(fact.value, 4)} {fact.unit}".strip()
        yield fact.name, f"{value}  # {fact.origin}"
    for text in each.scaling.dropped:
        yield "dropped", text


def describe_breach(curve: ReplayedCurve) -> str:
    """The share of the requests beyond the objective, and for how long there were any."""
    if not curve.breach_seconds:
        return "none"
    return f"{format_share(curve.breach_fraction)}, {_time(curve.breach_seconds)}"


def describe_span(curve: ReplayedCurve) -> str:
    """How long the curve lasts."""
    return f"in {format_plainly(round(curve.seconds / 3600, 2))} h"


def _rate(value: float | None) -> str:
    return "–" if value is None else format_number(value)


def _amount(value: float) -> str:
    return f"{value:,.1f}"


def _with_unit(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{format_number(value)}{unit}"


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{format_number(seconds / 3600)} h"
    return f"{format_number(seconds / 60)} min" if seconds >= 120 else f"{format_number(seconds)} s"


_CSV = ("name", "seconds", "requests", "produced", "breach_fraction", "breach_seconds", "longest_breach_seconds",
        "turns_per_hour", "within_budget", "fewest_replicas", "most_replicas", "replica_hours", "cost",
        "cost_per_million", "energy_kwh", "energy_kwh_per_million")  # fmt: skip


def render_csv(result: DeploymentPlan) -> str:
    """A row for each curve of each profile, in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["profile", "unit", *_CSV])
    for each in result.profiles:
        for curve in each.curves:
            cells = [getattr(curve, column) for column in _CSV]
            writer.writerow([each.profile, each.unit, *("" if cell is None else cell for cell in cells)])
    return out.getvalue()
