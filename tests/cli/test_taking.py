"""A command's options come from the library's options classes: their types, defaults, flags and help."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.exceptions import TyperException
from typer.main import get_command
from typer.testing import CliRunner

from serve_cli.app import app as serve_app
from serve_cli.help import GroupedCommand
from serve_cli.output import in_flags
from serve_cli.taking import takes_options
from serve_deploy.errors import UsageError
from serve_deploy.option import Made, Option

# What a command cannot do without.
_NEEDED = {
    "infer": ("--model", "m"), "loadtest": ("--model", "m"), "deploy": ("--release", "r"), "push": ("store",)
}  # fmt: skip


def _sum(first: Annotated[int, Option("One.")] = 1, second: Annotated[int, Option("Two.")] = 2) -> int:
    return first + second


@dataclass(frozen=True, kw_only=True)
class _Options:
    source: Annotated[Path, Option("Where from.")]
    total: Annotated[int, Made(_sum)]
    wait_seconds: Annotated[float, Option("How long.", minimum=1, group="Time")] = 5.0
    verify: Annotated[bool, Option("Do not check.")] = True
    kind: Annotated[Literal["a", "b"] | None, Option("Which; with `wait_seconds`.")] = None
    names: Annotated[tuple[str, ...], Option("Names.", metavar="NAME")] = ("default",)
    sizes: Annotated[tuple[int, ...], Option("Sizes.", read=len)] = ()
    loads: Annotated[str | None, Option("Loads.", metavar="1,2", joined=True)] = None
    hidden: int = 7


@pytest.fixture
def run() -> Callable[..., _Options]:
    """Runs a command line and returns the options that the command was handed."""
    taken: list[_Options] = []
    app = typer.Typer(rich_markup_mode=None)

    @takes_options(arguments=["source"], flags={"names": ("--name", "-n")})
    def command(options: _Options, again: bool = False) -> None:
        taken.append(options)

    app.command(cls=GroupedCommand)(command)

    def invoke(*line: str) -> _Options:
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 0, result.output
        return taken.pop()

    invoke.help = CliRunner().invoke(app, ["--help"]).output  # type: ignore[attr-defined]
    return invoke


def test_a_list_that_is_given_in_parts_is_one_list(run: Callable[..., _Options]) -> None:
    """Neither part is dropped without a word."""
    assert run("here", "--loads", "1,2", "--loads", "8").loads == "1,2,8"
    assert run("here").loads is None


def _numbers() -> list[tuple[str, str]]:
    commands = getattr(get_command(serve_app), "commands", {})
    return [
        (name, flag)
        for name, command in sorted(commands.items())
        for option in command.params
        for flag in [flag for flag in option.opts if flag.startswith("--")][:1]
        if option.metavar in ("N", "X", "US", "SECONDS", "PERCENT")
        and flag not in ("--rate", "--concurrency", "--model-version", "--version")
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "flag"), _numbers())
def test_an_absurd_number_is_a_usage_error(command: str, flag: str) -> None:
    """No number, infinity, too many digits and negative ones are refused, naming the flag, by every command."""
    for value in ("nan", "inf", "1e400", "-1", "1" + "0" * 30, "9" * 400):
        with pytest.raises((UsageError, TyperException)) as caught:
            get_command(serve_app).main(
                [command, "x", f"{flag}={value}", *_NEEDED.get(command, ())], standalone_mode=False
            )
        error = caught.value
        assert flag in in_flags(error.message if isinstance(error, UsageError) else error.format_message())


def _paths() -> list[tuple[str, str]]:
    commands = getattr(get_command(serve_app), "commands", {})
    return [
        (name, option.opts[0])
        for name, command in sorted(commands.items())
        for option in command.params
        if option.opts[0].startswith("-") and option.name in command.callback.paths
    ]


@pytest.mark.parametrize(("command", "flag"), _paths())
def test_an_empty_path_is_a_usage_error(command: str, flag: str) -> None:
    """It would be the current folder: every option that takes a path refuses it by its flag."""
    with pytest.raises(UsageError, match=f"{flag} is empty"):
        get_command(serve_app).main([command, "x", flag, "", *_NEEDED.get(command, ())], standalone_mode=False)


@pytest.mark.parametrize(
    ("line", "called"),
    [
        (["push", "", "store"], "REPOSITORY"),
        (["push", "models", ""], "STORE"),
        (["pull", "store", ""], "REPOSITORY"),
        (["prune", ""], "REPOSITORY|STORE"),
        (["chart", ""], "REPOSITORY"),
        (["package", "a.onnx", ""], "MODEL"),
        (["report", ""], "FILE"),
        (["plan", ""], "[PROFILE=]REPORT"),
        (["run", "models", "--", ""], "FLAGS"),
        (["undeploy", ""], "RELEASE"),
    ],
)
def test_an_empty_argument_is_a_usage_error(line: list[str], called: str) -> None:
    """By the name that the usage line has for it, whatever kind of argument it is."""
    with pytest.raises(UsageError, match=f"^{re.escape(called)} is empty$"):
        get_command(serve_app).main(line, standalone_mode=False)


def test_defaults_are_those_of_the_options_class(run) -> None:
    """What the command line leaves out is as the library has it."""
    assert run("x") == _Options(source=Path("x"), total=3)


def test_values_of_every_kind_arrive_as_the_fields_types(run) -> None:
    """Numbers, choices, repeated and parsed values, negated flags and made fields all reach their field."""
    taken = run(
        "x", "--wait", "2", "--no-verify", "--kind", "b", "-n", "p", "--name", "q", "--sizes", "abc", "--first", "5"
    )
    expected = _Options(
        source=Path("x"), total=7, wait_seconds=2.0, verify=False, kind="b", names=("p", "q"), sizes=(3,)
    )
    assert taken == expected


def test_help_groups_options_and_says_flags_for_fields(run) -> None:
    """Groups are headings, help names other options by their flags, and a field without an Option is not offered."""
    assert "Time:\n  --wait SECONDS" in run.help
    assert "Which; with --wait." in run.help
    assert "hidden" not in run.help


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("`fix` helps", "--fix helps"),
        ("`release=25.08`", "--triton 25.08"),
        ("leave out `verify=False`", "leave out --no-verify"),
        ("`unknown=1` stays", "unknown=1 stays"),
    ],
)
def test_messages_say_the_flag_for_a_field(text: str, said: str) -> None:
    """A field in backticks becomes the flag that sets it, with its value unless that is a truth value."""
    assert in_flags(text, {"fix": "--fix", "release": "--triton", "verify": "--no-verify"}) == said


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("package", "--preferred-batch-size=1"),
        ("package", "--gpu=1"),
        ("package", "--version-policy=latest:1"),
        ("infer", "--shape=a:1"),
        ("loadtest", "--shape=a:1"),
    ],
)
def test_a_number_within_a_text_is_limited_too(command: str, option: str) -> None:
    """What Triton's configuration cannot hold is refused by name before anything is read or sent."""
    line = [command, "x", f"{option}{'0' * 30}", *_NEEDED.get(command, ())]
    with pytest.raises(UsageError) as caught:
        get_command(serve_app).main(line, standalone_mode=False)
    assert option.split("=", maxsplit=1)[0] in in_flags(caught.value.message)
