"""The Typer app, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from serve_cli import output, streams
from serve_cli.commands import (
    chart,
    check,
    deploy,
    diff,
    infer,
    loadtest,
    logs,
    models,
    package,
    pipeline,
    plan,
    prune,
    pull,
    push,
    report,
    rollback,
    run,
    snapshots,
    status,
    tune,
    undeploy,
)
from serve_cli.help import GroupedCommand, SummarizedGroup
from serve_deploy.errors import Interrupted, ServeError, UsageError
from serve_deploy.refused_values import say_plainly
from serve_deploy.version import __version__

app = typer.Typer(
    name="serve",
    cls=SummarizedGroup,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"serve {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """From a model file to a measured, autoscaled Triton deployment."""
    if context.invoked_subcommand is None:
        sys.stderr.write(f"{context.get_help()}\n")
        raise typer.Exit(UsageError.exit_code)


for _command in (
    package.package, pipeline.pipeline, check.check, diff.diff, prune.prune, run.run, models.models, infer.infer,
    loadtest.loadtest, report.report, tune.tune, push.push, pull.pull, snapshots.snapshots,
    plan.plan, chart.chart, deploy.deploy, status.status, logs.logs, rollback.rollback, undeploy.undeploy,
):  # fmt: skip
    app.command(cls=GroupedCommand)(_command)


def _terminate(_signal_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line and exit with the code that fits the outcome."""
    signal.signal(signal.SIGTERM, _terminate)
    code = _run()
    problem = streams.flush_stdout()
    if problem is not None:
        output.print_error(problem)
    sys.exit(code or (problem.exit_code if problem else 0))


def _print_usage_error(error: TyperException) -> None:
    context = getattr(error, "ctx", None)
    if context is not None:
        sys.stderr.write(f"{context.get_usage()}\n")
    hint = f"{context.command_path} --help lists the options" if context is not None else None
    said, colon, why = error.format_message().partition(": ")
    output.print_error(UsageError(f"{said}{colon}{say_plainly(why)}", hint=hint))


def _run() -> int:
    try:
        outcome = app(standalone_mode=False)
    except ServeError as error:
        output.print_error(error)
        return error.exit_code
    except TyperException as error:
        _print_usage_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        outcome = Interrupted.exit_code
    except Exception as error:
        if os.environ.get("SERVE_DEBUG"):
            raise
        output.print_error(
            ServeError(
                f"unexpected {type(error).__name__}: {error}",
                hint="this is a bug in serve; SERVE_DEBUG=1 shows the traceback to report",
            )
        )
        return ServeError.exit_code
    if outcome == Interrupted.exit_code:  # typer itself turns Ctrl-C within a command into this code
        output.print_error(Interrupted())
    return outcome if isinstance(outcome, int) else 0
