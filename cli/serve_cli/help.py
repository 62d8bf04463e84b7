"""How help looks: options under the headings of their groups, and each command's whole summary."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class GroupedCommand(TyperCommand):
    """A command whose options stand under the headings that they were declared with."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List arguments first, then each group in the order of its first option, then what belongs to none."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            heading = getattr(parameter, "rich_help_panel", None)
            if parameter.param_type_name == "argument":
                sections["Arguments"].append(record)
            elif heading:
                sections.setdefault(heading, []).append(record)
            else:
                others.append(record)
        for heading, records in (*sections.items(), ("Other options" if len(sections) > 1 else "Options", others)):
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class SummarizedGroup(TyperGroup):
    """A group of commands that cuts no summary short."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List every command with the first sentence of its help."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(1000)) for name, each in commands.items() if each])
