"""A report as Markdown, for a CI summary or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serve_deploy.rendering import baseline_words, summary
from serve_deploy.rendering.load_kinds import measures_tokens
from serve_deploy.reports.report import LoadTestReport, NamedReport
from serve_deploy.text_table import drop_columns

_MEANING = "Latencies are response times, from the intended send; service times run from the actual send."
_MEANING_OF_TOKENS = (
    "TTFT runs from the intended send to the first content. ITL is every gap between pieces of one answer. TPOT is, "
    "for each request, (last piece − first piece) / (output tokens − 1). E2e (end to end) is the response time, "
    "from the intended send. Goodput is the share of requests that met every objective."
)


def render_markdown(reports: Sequence[NamedReport]) -> str:
    """Outcome first, then warnings, gates, the baseline, one row a load and the errors; several under one table."""
    blocks = [_render_one(named) for named in reports]
    if len(reports) > 1:
        rows = [_escape_all(row) for row in summary.joint_load_rows(reports)]
        joint = _table(("report", *summary.load_columns(named.report for named in reports)), rows, numbers=True)
        blocks.insert(0, f"### {len(reports)} load tests\n\n{joint}\n")
    return "\n".join(blocks)


def _render_one(named: NamedReport) -> str:
    report = named.report
    sign = "❌" if summary.has_failed(report) else "✅"
    title = f"Load test of {report.target.model}{f' ({named.name})' if named.name else ''}"
    parts = [
        f"### {sign} {_escape(title)}: {summary.describe_outcome(report)}",
        _escape("; ".join(filter(None, (summary.describe_target(report), summary.describe_sent(report))))),
        *(f"> ⚠️ {_escape(warning)}" for warning in summary.list_warnings(report)),
        _table(summary.GATE_COLUMNS, [_mark_gate(row) for row in summary.gate_rows(report)]),
        _escape(report.search.explanation) if report.search else "",
        *_baseline(report),
        _table(summary.load_columns([report]), [_escape_all(row) for row in summary.load_rows(report)], numbers=True),
        _table(summary.ERROR_COLUMNS, [_escape_all(row) for row in summary.error_rows(report)]),
        *map(_escape, summary.describe_streams(report)),
        _MEANING_OF_TOKENS if measures_tokens(report) else _MEANING,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _baseline(report: LoadTestReport) -> list[str]:
    if report.baseline is None:
        return []
    rows = [_escape_all(row) for row in baseline_words.change_rows(report.baseline)]
    return [
        _escape(baseline_words.describe_baseline(report.baseline)),
        _table(baseline_words.CHANGE_COLUMNS, rows),
        *map(_escape, report.baseline.notes),
    ]


def _mark_gate(row: tuple[str, ...]) -> tuple[str, ...]:
    gate, load, verdict, measured = row
    return f"`{gate}`", _escape(load), "✅" if verdict == "passed" else "❌", _escape(measured)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    if not rows:
        return ""
    names, cells = drop_columns(columns, rows)
    rules = ["---:" if numbers and index else "---" for index in range(len(names))]
    lines = [names, rules, *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape_all(row: Sequence[str]) -> list[str]:
    return [_escape(cell) for cell in row]


def _escape(text: str) -> str:
    # Not every renderer knows \\<; all know what HTML has for it.
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\|*\[\]`~]|(?<!\w)_|_(?!\w))", r"\\\1", plain)
    return " ".join(escaped.split())
