"""The generated pages of the docs site: every command from the program itself, every value from the chart's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1] / "charts" / "triton"
Rows = list[tuple[str, str]]


def render_commands() -> str:
    """Return the page of all commands, each with its examples, arguments and options."""
    from typer import Context
    from typer.main import get_command

    from serve_cli.app import app

    page = ["# Commands", "What `serve COMMAND --help` says, generated from the program."]
    for name, command in getattr(get_command(app), "commands", {}).items():
        summary, _, examples = (command.help or "").partition("\b\n")
        page += [f"## serve {name}", _escape(summary)]
        page += [f"```sh\n{examples.strip()}\n```"] if examples.strip() else []
        page += _option_tables(command, Context(command, info_name=f"serve {name}"))
    return "\n\n".join(page) + "\n"


def _option_tables(command: Any, context: Any) -> Iterator[str]:
    """A table of the arguments and one for each heading of the options, those without a heading last."""
    from serve_cli.help import describe_parameter

    tables: dict[str, Rows] = {"Argument": []}
    others: Rows = []
    for parameter in command.get_params(context):
        if (record := describe_parameter(parameter, context)) is None:
            continue
        row = (_code(record[0]), _escape(record[1]))
        heading = "Argument" if parameter.param_type_name == "argument" else parameter.rich_help_panel
        (tables.setdefault(heading, []) if heading else others).append(row)
    last = "Other options" if len(tables) > 1 else "Option"
    return (_table(heading, "What it does", rows) for heading, rows in {**tables, last: others}.items() if rows)


def render_values() -> str:
    """Return the page of all values of the chart: a section for each group, and one for those in none."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    page = ["# Values of the chart", "What `values.yaml` can set, generated from its schema."]
    single: Rows = []
    for name, node in schema["properties"].items():
        rows = list(_value_rows(name, node, defaults[name]))
        if "properties" in node:
            page += [f"## {name}", _escape(node.get("description", "")), _table("Value", "What it is", rows[1:])]
        else:
            single += rows
    return "\n\n".join([*page, "## Others", _table("Value", "What it is", single)]) + "\n"


def _value_rows(path: str, node: dict[str, Any], default: Any) -> Iterator[tuple[str, str]]:
    description = _escape(node.get("description", ""))
    if "properties" not in node:
        shown = _code(json.dumps(default, ensure_ascii=False))
        yield _code(path), f"{description}<br>{' or '.join(_types(node))}; default {shown}"
        return
    yield f"**{_code(path)}**", description
    for name, member in node["properties"].items():
        yield from _value_rows(f"{path}.{name}", member, default[name])


def _types(node: dict[str, Any]) -> list[str]:
    if "anyOf" in node:
        return [name for choice in node["anyOf"] for name in _types(choice)]
    choices = node.get("enum", [node["const"]] if "const" in node else [])
    return [_code(json.dumps(choice)) for choice in choices] or [str(node.get("type", "any"))]


def _table(name: str, text: str, rows: Rows) -> str:
    lines = [(name, text), (":--", ":--"), *rows]
    return "\n".join(f"| {name} | {text} |" for name, text in lines)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _escape(text: str) -> str:
    """A sentence of the program as Markdown: its `code` stays code, nothing else means anything."""
    words = re.split(r"(`[^`]*`)", " ".join(text.split()))
    escaped = (word if word.startswith("`") else re.sub(r"([\\*_<>\[\]~])", r"\\\1", word) for word in words)
    return "".join(escaped).replace("|", "\\|")
