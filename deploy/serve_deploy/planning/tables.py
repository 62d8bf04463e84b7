"""A plan as text: a table for a person, rows for a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from serve_deploy.planning.result import DeploymentPlan, ProfilePlan, ReplayedCurve
from serve_deploy.reports.figures import format_number, format_plainly, format_share
from serve_deploy.text_table import drop_columns, fit, hang

_PROFILE_COLUMNS = (
    "profile", "replicas", "target a replica", "beyond the objective", "replica-hours", "cost", "cost of a million",
    "energy", "energy of a million",
)  # fmt: skip
CURVE_COLUMNS = ("profile", "load", "replicas", "beyond the objective", "longest", "turns an hour", "replica-hours", "")
_PAGE = 100
_DAYS_SECONDS = 4 * 86_400


def render_table(result: DeploymentPlan, width: int | None = None) -> str:
    """The profiles side by side, every curve, and where the numbers come from."""
    page = width or _PAGE
    parts = [
        hang("", describe_traffic(result), width),
        "",
        fit(*profile_table(result), width),
        "",
        fit(CURVE_COLUMNS, list(curve_rows(result)), width),
        "",
    ]
    for each in result.profiles:
        parts += [
            f"{each.profile}:",
            *(hang(f"  {name}: ", _with_origin(value, origin), page) for name, value, origin in explain(each)),
            "",
        ]
    parts += [hang("note: ", note, page) for note in result.notes]
    return "\n".join(line.rstrip() for line in "\n".join(parts).rstrip().splitlines()) + "\n"


def _with_origin(value: str, origin: str) -> str:
    return f"{value}  # {origin}" if origin else value


def profile_table(result: DeploymentPlan) -> tuple[list[str], list[list[str]]]:
    """The profiles side by side: columns that hold anything, and a row for each."""
    return drop_columns(_PROFILE_COLUMNS, [profile_row(each, result.currency) for each in result.profiles])


def describe_traffic(result: DeploymentPlan) -> str:
    """What the fleet is to bear, and what it must keep."""
    traffic = result.traffic
    rates = f"{format_plainly(traffic.base_rate)} to {format_plainly(traffic.peak_rate)} requests/s"
    growth = f"growing by up to {format_plainly(traffic.growth_percent_per_minute)} % of the base a minute"
    kept = " and ".join(result.slo) or "twice the p99 of each profile's lightest load"
    return f"{rates}, {growth}; objective: {kept}"


def profile_row(each: ProfilePlan, currency: str | None) -> tuple[str, ...]:
    """The profile, its targets, and what the main curve takes: the trace, else a day."""
    main, scaling = each.main_curve, each.scaling
    if main is None or scaling is None:
        return (each.profile, "no plan", *["–"] * (len(_PROFILE_COLUMNS) - 2))
    currency = currency or ""
    return (
        each.profile,
        f"{scaling.targets.min_replicas} to {scaling.targets.max_replicas}",
        f"{format_number(scaling.targets.concurrency)} in flight, {format_number(scaling.target_rate)} requests/s",
        describe_breach(main),
        f"{_amount(main.replica_hours)} {describe_span(main)}",
        _with_unit(main.cost, currency),
        _with_unit(main.cost_per_million, f"{currency} / million {each.unit}"),
        _with_unit(main.energy_kwh, "kWh"),
        _with_unit(main.energy_kwh_per_million, f"kWh / million {each.unit}"),
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


def explain(each: ProfilePlan) -> Iterator[tuple[str, str, str]]:
    """What each number of a profile is, its value, and where it comes from."""
    if each.scaling is None:
        yield "no plan", each.problem or "", each.hint or ""
        return
    for model in each.models:
        yield "measured", model.model, model.report
    for fact in each.scaling.derived:
        if not fact.name.startswith("replay_"):  # these are rows among the curves
            yield fact.name, fact.text, fact.origin
    for text in each.scaling.dropped:
        yield "dropped", *text.split(": ", 1)  # type: ignore[misc]


def describe_breach(curve: ReplayedCurve) -> str:
    """The share of the requests beyond the objective, and for how long there were any."""
    if not curve.breach_seconds:
        return "none"
    return f"{format_share(curve.breach_fraction)}, {_time(curve.breach_seconds)}"


def describe_span(curve: ReplayedCurve) -> str:
    """How long the curve lasts."""
    if curve.seconds >= _DAYS_SECONDS:
        return f"in {format_plainly(round(curve.seconds / 86_400, 1))} days"
    if curve.seconds < 3600:
        return f"in {format_plainly(round(curve.seconds / 60, 1))} min"
    return f"in {format_plainly(round(curve.seconds / 3600, 2))} h"


def _amount(value: float) -> str:
    return f"{value:,.1f}"


def _with_unit(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{format_number(value)} {unit}"


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
