"""Write a load-test report as a table, JSON, Markdown, CSV, JUnit XML or one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Literal

from serve_deploy.errors import UsageError
from serve_deploy.reports.report import LoadTestReport, NamedReport, ReportSet

Format = Literal["table", "json", "markdown", "csv", "junit", "html"]
_BY_EXTENSION: dict[str, Format] = {
    ".txt": "table", ".json": "json", ".md": "markdown", ".csv": "csv", ".xml": "junit", ".html": "html",
}  # fmt: skip


def format_of(path: PurePath) -> Format:
    """Tell the format by a file's extension; UsageError where there is none for it."""
    known = _BY_EXTENSION.get(path.suffix.lower())
    if known is None:
        extensions = ", ".join(f"{extension} ({name})" for extension, name in _BY_EXTENSION.items())
        raise UsageError(f"`outputs={path}`: the format follows from the extension", hint=f"use one of {extensions}")
    return known


def render(result: LoadTestReport | ReportSet, output_format: Format, *, width: int | None = None) -> str:
    """Write one report, or several side by side, in a format; the text ends in a newline.

    A table is kept within `width` columns, such as those of a terminal.
    """
    if output_format == "json":
        return result.model_dump_json(indent=2) + "\n"
    reports = result.reports if isinstance(result, ReportSet) else (NamedReport(name="", report=result),)
    if output_format == "table":
        from serve_deploy.rendering.text import render_text

        return render_text(reports, width)
    return _renderer(output_format)(reports)


def _renderer(output_format: Format) -> Callable[[Sequence[NamedReport]], str]:
    if output_format == "markdown":
        from serve_deploy.rendering.markdown import render_markdown

        return render_markdown
    if output_format == "csv":
        from serve_deploy.rendering.csv_rows import render_csv

        return render_csv
    if output_format == "junit":
        from serve_deploy.rendering.junit import render_junit

        return render_junit
    from serve_deploy.rendering.page.html_page import render_html

    return render_html
