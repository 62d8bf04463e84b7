"""How help looks: examples that can be copied, options under the headings of their groups, limits in words."""

from __future__ import annotations

import inspect
import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from serve_deploy.errors import UsageError

# A word, quoted or not; an option together with its value.
_PIECE = re.compile(r"(?:-{1,2}[\w-]+ (?!-))?(?:'[^']*'|[^\s'])+")
_NARROW, _NARROW_NAMES, _NAMES = 70, 20, 30
_PLAIN = (
    (re.compile(r"; x>=0(?=[\];])|x>=0; "), ""),  # no number of a command line is below
    (re.compile(r"  \[x>=0\]$"), ""),
    (re.compile(r"(\S+)<=x<=(\S+?)(?=[\];])"), r"\1 to \2"),
    (re.compile(r"x>=(\S+?)(?=[\];])"), r"at least \1"),
    (re.compile(r"(default: \d+)\.0(?=[\];])"), r"\1"),
)


def describe_parameter(parameter: Any, context: Any) -> tuple[str, str] | None:
    """What help says of an option or argument, and how it is called; None for a hidden one."""
    record = parameter.get_help_record(context)
    if record is None:
        return None
    name, text = record
    name = re.sub(r" <.*>$", "", name) if parameter.param_type_name == "argument" else re.sub(r"[<>]", "", name)
    for pattern, words in _PLAIN:
        text = pattern.sub(words, text)
    return name, text


class GroupedCommand(TyperCommand):
    """A command whose options stand under the headings that they were declared with."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; a flag that may stand without a value never takes the next word for one."""
        bare: dict[str, str] = getattr(self.callback, "bare", {})
        words = [f"{word}={bare[word]}" if word in bare else word for word in args]
        self._refuse_empty(ctx, words)
        return super().parse_args(ctx, words)

    def _refuse_empty(self, ctx: Any, words: list[str]) -> None:
        """UsageError for an empty argument or path: pathlib takes an empty path for the current folder."""
        if ctx.resilient_parsing:
            return
        given, _rest, _order = self.make_parser(ctx).parse_args(args=list(words))
        for parameter in self.get_params(ctx):
            value = given.get(parameter.name)
            is_empty = "" in (value if isinstance(value, (list, tuple)) else (value,)) and parameter.default != ""
            is_argument = parameter.param_type_name == "argument"
            is_path = parameter.name in getattr(self.callback, "paths", ())
            if is_empty and (is_argument or is_path):
                called = parameter.metavar if is_argument else max(parameter.opts, key=len)
                current = "; the current folder is ." if is_path else ""
                raise UsageError(f"{called} is empty", hint=f"a shell variable may not be set{current}")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line's words, without marks for what is required."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as typer calls it
        """What the command does, then its examples."""
        summary, _, examples = inspect.cleandoc(self.help or "").partition("\n\n\b\n")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(summary)
        if examples:
            with formatter.section("Examples"):
                for example in examples.splitlines():
                    formatter.write(_continue_lines(example, formatter.width, " " * formatter.current_indent))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List arguments first, then each group in the order of its first option, then what belongs to none."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = describe_parameter(parameter, ctx)
            if record is None:
                continue
            heading = getattr(parameter, "rich_help_panel", None)
            if parameter.param_type_name == "argument":
                sections["Arguments"].append(record)
            elif heading:
                sections.setdefault(heading, []).append(record)
            else:
                others.append(record)
        names = _NARROW_NAMES if formatter.width < _NARROW else _NAMES
        for heading, records in (*sections.items(), ("Other options" if len(sections) > 1 else "Options", others)):
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=names)


def _continue_lines(command: str, width: int, indent: str) -> str:
    """A shell command in lines of the width, which the shell reads as one."""
    lines = [indent]
    for word in _PIECE.findall(command):
        if lines[-1].strip() and len(lines[-1]) + len(word) + 2 > width:
            lines.append(f"{indent}  ")
        lines[-1] += word if lines[-1].isspace() else f" {word}"
    return " \\\n".join(lines) + "\n"


class SummarizedGroup(TyperGroup):
    """A group of commands that cuts no summary short."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List every command with the first sentence of its help."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(1000)) for name, each in commands.items() if each])
        formatter.write_paragraph()
        formatter.write_text(f"{ctx.command_path} COMMAND --help shows examples and all options.")
