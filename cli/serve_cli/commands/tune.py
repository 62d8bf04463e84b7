"""`serve tune`: the configuration that serves a model best, tried and confirmed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import output
from serve_cli.options import ENDPOINT_FLAGS, Json, output_files
from serve_cli.taking import takes_options
from serve_deploy.errors import DestinationError, EndpointError, ThresholdError
from serve_deploy.tuning.task.options import TuneOptions

if TYPE_CHECKING:
    from serve_deploy.tuning.results.result import TuningResult
    from serve_deploy.tuning.servers.overrides import Restored

Outputs = Annotated[list[Path] | None, output_files("result")]


Restore = Annotated[
    bool,
    typer.Option(
        "--restore",
        help="Only put back what a killed run left on running servers, and read it back.",
        rich_help_panel="Server",
    ),
]


@takes_options(
    arguments=["repository"],
    flags={
        **ENDPOINT_FLAGS,
        "models": ("--model", "-m"),
        "weights": "--weight",
        "shapes": "--shape",
        "max_memory_mb": "--max-memory",
        "release": "--triton",
    },
    needs="models",
)
def tune(options: TuneOptions, outputs: Outputs = None, restore: Restore = False, json: Json = False) -> None:
    """Find the configuration that serves models best: measure little, simulate the rest, race the best, confirm.

    \b
    serve tune models -m digits --slo 'p99<50ms'
    serve tune models -m digits --objective latency --rate 200 -o tuning.html
    serve tune models -m digits --url http://triton.example:8000
    serve tune models -m digits --vary parameters.enable_mem_arena=0,1 --apply
    serve tune models -m ensemble --vary encoder:instance_group.count=1,2
    serve tune models -m a -m b --weight a=3 --slo 'p99<50ms' --slo 'b:p99<20ms'
    """
    from serve_deploy.tuning.results.saved import check_destinations, write_results
    from serve_deploy.tuning.tune import tune as run

    if restore:
        _restore(options, as_json=json)
        return
    output.name_flags({"outputs": "--output"})
    files = tuple(outputs or ())
    check_destinations(files)
    with output.progress() as progress:
        result = run(options, progress=progress if sys.stderr.isatty() else _tell_stages())
    output.emit(result, as_json=json, render=print_result)
    write_results(result, files)
    if options.apply and result.verdict == "better" and not result.applied:
        raise DestinationError(
            f"the winner was not written into {options.repository}", hint="; ".join(result.notes[-1:])
        )
    if result.verdict == "no configuration meets the gates":
        raise ThresholdError(result.explanation, hint="allow more in `slo`, or serve it on a faster machine")


def _restore(options: TuneOptions, *, as_json: bool) -> None:
    from serve_deploy.tuning.servers.overrides import describe_restored
    from serve_deploy.tuning.tune import restore

    def show(restored: tuple[Restored, ...]) -> None:
        lines = [describe_restored(each) for each in restored] or ["nothing to put back"]
        sys.stdout.write("".join(f"{line}\n" for line in lines))

    restored = restore(options)
    output.emit(restored, as_json=as_json, render=show)
    left = [each.model for each in restored if each.problem]
    if left:
        raise EndpointError(f"not put back: {', '.join(left)}", hint="start the server again, or check its address")


def _tell_stages() -> Callable[[str], None]:
    """Without a terminal, a line whenever something else is being done, without the numbers in it."""
    told = ""

    def tell(message: str) -> None:
        nonlocal told
        stage = re.split(r" \(|[:,]", message)[0]
        if stage != told and not stage.startswith("starting"):
            told = stage
            output.stderr().print(stage, markup=False)

    return tell


def print_result(result: TuningResult) -> None:
    """The verdict, the race and the changes."""
    from serve_deploy.tuning.results.tables import render_table

    sys.stdout.write(render_table(result, output.table_width()))
