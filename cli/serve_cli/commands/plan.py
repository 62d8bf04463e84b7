"""`serve plan`: replicas, targets and costs for a traffic, from measured sweeps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from serve_cli import output
from serve_cli.options import Json, output_files
from serve_cli.taking import takes_options
from serve_deploy.planning.options import PlanOptions

if TYPE_CHECKING:
    from serve_deploy.planning.result import DeploymentPlan

Outputs = Annotated[list[Path] | None, output_files("plan")]


@takes_options(
    arguments=["sweeps"],
    flags={
        "base_rate": ("--base", "--base-rate"),
        "peak_rate": ("--peak", "--peak-rate"),
        "growth_percent_per_minute": "--growth",
        "min_replicas": "--min",
        "max_replicas": "--max",
    },
)
def plan(options: PlanOptions, outputs: Outputs = None, json: Json = False) -> None:
    """Plan replicas, targets and costs for a traffic, from sweeps of one or several hardware profiles.

    \b
    serve plan sweep.json --base 100 --peak 2000 --slo 'p99<50ms'
    serve plan l4=l4.json a100=a100.json --trace arrivals.csv --prices prices.toml -o plan.html
    serve plan sweep.json --base 100 --peak 2000 --repository models -o plan.json
    """
    from serve_deploy.planning.plan import plan as run
    from serve_deploy.planning.saved import check_destinations, write_plan

    output.name_flags({"outputs": "--output"})
    files = tuple(outputs or ())
    check_destinations(files)
    with output.progress() as progress:
        result = run(options, progress=progress)
    output.emit(result, as_json=json, render=print_plan)
    write_plan(result, files)


def print_plan(result: DeploymentPlan) -> None:
    """The profiles side by side, and what the numbers come from."""
    from serve_deploy.planning.tables import render_table

    sys.stdout.write(output.in_flags(render_table(result, output.table_width())))
