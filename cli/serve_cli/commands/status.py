"""`serve status`: what a release does in the cluster."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.cluster.options import FleetOptions, StatusOptions
from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.cluster.state.autoscaler import AutoscalerState
    from serve_deploy.cluster.state.fleet import Fleet
    from serve_deploy.cluster.state.pods import PodState
    from serve_deploy.cluster.state.release import ReleaseState


@takes_options(
    arguments=["release"],
    flags={"namespace": ("--namespace", "-n"), "all_namespaces": ("--all-namespaces", "-A")},
    defaults={"release": ""},
)
def status(
    options: StatusOptions,
    fleet: FleetOptions,
    every: Annotated[
        bool, typer.Option("--all", help="Show every release of the namespace, a line each.", rich_help_panel="Release")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Show it again at each change, until Ctrl-C.", rich_help_panel="Output"),
    ] = False,
    json: Json = False,
) -> None:
    """Show a release's replicas, which model is ready where, its autoscaler and why, and its last rollout.

    \b
    serve status demo -n models
    serve status demo -n models --timings
    serve status --all -n models
    """
    from serve_deploy.cluster.state.fleet import read_fleet
    from serve_deploy.cluster.state.release import read_status, watch_status

    show = functools.partial(print_state, timings=options.timings)
    if (every or fleet.all_namespaces) == bool(options.release):
        raise UsageError(
            "name one release, or ask for --all", hint="serve status demo -n models, or serve status --all"
        )
    if not options.release:
        if watch:
            raise UsageError("--watch is for one release", hint="serve status demo -n models --watch")
        with output.progress() as progress:
            found = read_fleet(fleet, progress)
        output.emit(found, as_json=json, render=print_fleet)
        return
    if not watch:
        with output.progress() as progress:
            progress(f"asking the cluster for {options.release}")
            state = read_status(options)
        output.emit(state, as_json=json, render=show)
        return
    for state in watch_status(options):
        if sys.stdout.isatty() and not json:
            output.stdout().clear()
        output.emit(state, as_json=json, render=show)
        sys.stdout.flush()


def print_fleet(fleet: Fleet) -> None:
    """Print a line for each release, and why one does not serve."""
    from serve_deploy.cluster.changes.wait import explain_waiting

    rows = [
        (state.namespace, state.release, f"{state.ready} of {state.wanted}", ", ".join(state.models) or "-",
         "serves" if state.serves else explain_waiting(state))
        for state in fleet.releases
    ]  # fmt: skip
    output.print_table(("namespace", "release", "ready", "models", "state"), rows)
    _print_unknown(fleet.unknown)


def print_state(state: ReleaseState, *, timings: bool = False) -> None:
    """Print a release's state for a person."""
    console = output.stdout()
    console.print(f"{state.release} in {state.namespace}: {state.workload}, {state.image}", markup=False)
    revision = f" (Deployment revision {state.rollout.revision})" if state.rollout.revision else ""
    console.print(f"rollout{revision}: {state.rollout.message}", markup=False)
    rows = [
        (pod.name, pod.node or "-", "ready" if pod.ready else pod.phase.lower(), pod.restarts, _list_models(pod) or "-")
        for pod in state.pods
    ]
    output.print_table(("replica", "node", "state", "restarts", "models"), rows)
    if len(state.revisions) > 1:
        console.print("the replicas serve different revisions of the repository:", markup=False)
        for pod in state.staying:
            console.print(f"  {pod.name}: {pod.revision or 'none'}", markup=False)
    for pod in state.pods:
        if pod.waits_for:
            console.print(f"{pod.name} is not ready: {pod.waits_for.message}", markup=False)
    if state.autoscaler:
        _print_autoscaler(state.autoscaler)
    if timings:
        _print_timings(state)
    _print_unknown(state.unknown)


def _print_unknown(kinds: Sequence[str]) -> None:
    if kinds:
        output.stdout().print(f"not known, because you may not read them here: {', '.join(kinds)}", markup=False)


def _print_timings(state: ReleaseState) -> None:
    """The seconds of each step, and what the autoscaler should be told."""
    steps = ("schedule", "pull", "fetch", "load", "ready")
    rows = [
        (pod.name, *("not known" if seconds is None else f"{seconds:.1f} s" for seconds in each))
        for pod in state.staying
        for each in [[getattr(pod.timings, step) for step in steps]]
    ]
    output.print_table(("start of", *steps[:-1], "ready after"), rows)
    if state.cold_start_seconds is not None:
        output.stdout().print(f"the slowest start, for autoscaling.coldStartSeconds: {state.cold_start_seconds}")


def _list_models(pod: PodState) -> str:
    """Each model with the versions that Triton loaded and its state, such as `digits 2 ready`."""
    versions = {name: ", ".join(map(str, loaded)) for name, loaded in pod.versions.items()}
    return ", ".join(
        f"{name} {versions.get(name, '')} {state}".replace("  ", " ") for name, state in pod.models.items()
    )


def _print_autoscaler(scaler: AutoscalerState) -> None:
    console = output.stdout()
    console.print(
        f"autoscaler {scaler.name}: {output.count(scaler.current, 'replica')}, wants {scaler.wanted}"
        f" (between {scaler.min_replicas} and {scaler.max_replicas}); {scaler.why}",
        markup=False,
    )
    for metric in scaler.metrics:
        now = "not read yet" if metric.current is None else _say_number(metric.current)
        target = "" if metric.target is None else f", target {_say_number(metric.target)}"
        console.print(f"  {metric.name}: {now}{target}", markup=False)


def _say_number(value: float) -> str:
    """Three digits, more where the whole number has more, and no exponent."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{Decimal(f'{value:.3g}'):f}"
