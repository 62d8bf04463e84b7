"""`serve tune`: the configuration that serves a model best, tried and confirmed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.errors import ThresholdError
from serve_deploy.tuning.options import TuneOptions

if TYPE_CHECKING:
    from serve_deploy.tuning.result import TuningResult

Outputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the result to a .json, .html, .csv or .txt file; repeatable.",
        show_default=False,
        rich_help_panel="Result",
    ),
]


@takes_options(
    arguments=["repository"],
    flags={"model": ("--model", "-m"), "shapes": "--shape", "max_memory_mb": "--max-memory", "release": "--triton"},
)
def tune(options: TuneOptions, outputs: Outputs = None, json: Json = False) -> None:
    """Find the configuration that serves a model best: measure little, simulate the rest, race the best, confirm.

    \b
    serve tune models -m digits --slo 'p99<50ms'
    serve tune models -m digits --objective latency --rate 200 -o tuning.html
    serve tune models -m digits --vary parameters.enable_mem_arena=0,1
    """
    from serve_deploy.tuning.saved import check_destinations, write_results
    from serve_deploy.tuning.tune import tune as run

    output.name_flags({"outputs": "--output"})
    files = tuple(outputs or ())
    check_destinations(files)
    with output.progress() as progress:
        result = run(options, progress=progress if sys.stderr.isatty() else _tell_stages())
    output.emit(result, as_json=json, render=print_result)
    write_results(result, files)
    if result.verdict == "no configuration meets the gates":
        raise ThresholdError(result.explanation, hint="allow more in `slo`, or serve it on a faster machine")


def _tell_stages() -> Callable[[str], None]:
    """Without a terminal, a line whenever something else is being done, without the numbers in it."""
    told = ""

    def tell(message: str) -> None:
        nonlocal told
        stage = re.split(r" \(|:| \d", message)[0]
        if stage != told:
            told = stage
            output.stderr().print(stage, markup=False)

    return tell


def print_result(result: TuningResult) -> None:
    """The verdict, the race and the changes."""
    from serve_deploy.tuning.tables import render_table

    sys.stdout.write(render_table(result, output.stdout().width if sys.stdout.isatty() else None))
