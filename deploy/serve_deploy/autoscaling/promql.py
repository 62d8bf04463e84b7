"""The chart's PromQL: formulas, recording rules and alerts, assembled from the very files that the chart ships.

Templates assemble the same files in Helm (`triton.formula`); a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Scope:
    """Which series a formula reads: label matchers without braces, top-level models, windows in PromQL's notation."""

    selector: str = ""
    models: str = ".+"
    window: str = "1m"
    guard_window: str = "30s"


@dataclass(frozen=True)
class AlertSettings:
    """What the alerts compare with; names as the placeholders of alerts.yaml."""

    namespace: str
    autoscaler: str
    model_count: int = 1
    not_ready_for: str = "10m"
    error_ratio: float = 0.01
    queue_budget_us: float = 100_000
    p99_budget_us: float = 500_000
    pending_budget: float = 4
    gpu_memory_ratio: float = 0.95


@dataclass(frozen=True)
class ChartQueries:
    """The texts of files/formulas, files/records.yaml and files/alerts.yaml."""

    formulas: Mapping[str, str]
    records: Sequence[Mapping[str, str]]
    alerts: str


def read_queries(chart: Path) -> ChartQueries:
    """Read the query files of a chart directory."""
    files = chart / "files"
    return ChartQueries(
        formulas={path.stem: path.read_text(encoding="utf-8") for path in sorted(files.glob("formulas/*.promql"))},
        records=yaml.safe_load((files / "records.yaml").read_text(encoding="utf-8")),
        alerts=(files / "alerts.yaml").read_text(encoding="utf-8"),
    )


def window_seconds(scrape_seconds: float, slowest_p99_seconds: float = 0.0) -> int:
    """The rate window: at least a minute, four scrapes, and three times the p99, as counters move on completion."""
    return int(max(60.0, 4 * scrape_seconds, 3 * slowest_p99_seconds))


def guard_window_seconds(scrape_seconds: float) -> int:
    """The window of the pending guard: half a minute, or two scrapes where those are rarer."""
    return int(max(30.0, 2 * scrape_seconds))


def model_pattern(models: Sequence[str]) -> str:
    """A regular expression that matches exactly these models, escaped for a PromQL string; all where none is named."""
    return "|".join(re.escape(model).replace("\\-", "-") for model in models).replace("\\", "\\\\") or ".+"


def formula(text: str, scope: Scope, by: Sequence[str] = ()) -> str:
    """One line of PromQL from the text of a formula file, summed by these labels."""
    code = " ".join(line for line in text.splitlines() if not line.startswith("#"))
    replacements = {
        "__BY__": ", ".join(by),
        "__SELECTOR__": scope.selector,
        "__MODELS__": scope.models,
        "__GUARD_WINDOW__": scope.guard_window,
        "__WINDOW__": scope.window,
    }
    return re.sub(r"\s+", " ", _replace(code, replacements)).strip()


def recording_rules(queries: ChartQueries, scope: Scope) -> list[dict[str, Any]]:
    """The recording rules: each formula under its name, by the labels that records.yaml gives."""
    return [
        {
            "record": record["record"],
            "expr": formula(queries.formulas[record["formula"]], scope, record["by"].split(", ")),
        }
        for record in queries.records
    ]


def alert_rules(queries: ChartQueries, scope: Scope, settings: AlertSettings) -> list[dict[str, Any]]:
    """The alerts, in the form Prometheus reads; they stand on the recorded series."""
    values = {f"__{field.name.upper()}__": str(getattr(settings, field.name)) for field in fields(settings)}
    values |= {"__SELECTOR__": scope.selector, "__MODELS__": scope.models}
    return [
        {
            "alert": alert["alert"],
            "expr": alert["expr"],
            "for": alert["for"],
            "labels": {"severity": alert["severity"]},
            "annotations": {"summary": alert["summary"], "runbook": alert["runbook"]},
        }
        for alert in yaml.safe_load(_replace(queries.alerts, values))
    ]


def rule_group(queries: ChartQueries, scope: Scope, settings: AlertSettings) -> dict[str, Any]:
    """A Prometheus rule file: records before alerts, because a group is evaluated in order."""
    rules = recording_rules(queries, scope) + alert_rules(queries, scope, settings)
    return {"groups": [{"name": "triton", "interval": "15s", "rules": rules}]}


def _replace(text: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


DASHBOARD_SCOPE = Scope("namespace='$namespace',pod=~'$pod'", "$model", "$__rate_interval", "$__rate_interval")
DASHBOARD_BY = ("namespace", "pod", "model", "gpu_uuid")


def dashboard(text: str, queries: ChartQueries, *, uid: str, title: str, models: str = ".+") -> str:
    """dashboard.json with its formulas, which stand there as __name__, over Grafana's variables.

    The labels of all formulas are the same: one that a series does not have makes no difference.
    """
    values = {f"__{name}__": formula(code, DASHBOARD_SCOPE, DASHBOARD_BY) for name, code in queries.formulas.items()}
    escaped = models.replace("\\", "\\\\")
    return _replace(text, values | {"__UID__": uid, "__TITLE__": title, "__MODELS__": escaped})
