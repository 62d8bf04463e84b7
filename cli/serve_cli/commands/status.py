"""`serve status`: what a release does in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import output
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.cluster.options import ReleaseOptions

if TYPE_CHECKING:
    from serve_deploy.cluster.autoscaler import AutoscalerState
    from serve_deploy.cluster.pods import PodState
    from serve_deploy.cluster.release import ReleaseState


@takes_options(arguments=["release"], flags={"namespace": ("--namespace", "-n")})
def status(options: ReleaseOptions, json: Json = False) -> None:
    """Show a release's replicas, which model is ready where, its autoscaler and why, and its last rollout.

    \b
    serve status demo -n models
    """
    from serve_deploy.cluster.release import read_status

    with output.progress() as progress:
        progress(f"asking the cluster for {options.release}")
        state = read_status(options)
    output.emit(state, as_json=json, render=print_state)


def print_state(state: ReleaseState) -> None:
    """Print a release's state for a person."""
    console = output.stdout()
    console.print(f"{state.release} in {state.namespace}: {state.workload}, {state.image}", markup=False)
    revision = f" (revision {state.rollout.revision})" if state.rollout.revision else ""
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
    if state.unknown:
        console.print(f"not known, because you may not read them here: {', '.join(state.unknown)}", markup=False)


def _list_models(pod: PodState) -> str:
    """Each model with the versions that Triton loaded and its state, such as `digits 2 ready`."""
    versions = {name: ", ".join(map(str, loaded)) for name, loaded in pod.versions.items()}
    return ", ".join(
        f"{name} {versions.get(name, '')} {state}".replace("  ", " ") for name, state in pod.models.items()
    )


def _print_autoscaler(scaler: AutoscalerState) -> None:
    console = output.stdout()
    console.print(
        f"autoscaler {scaler.name}: {scaler.current} replicas, wants {scaler.wanted}"
        f" (between {scaler.min_replicas} and {scaler.max_replicas}); {scaler.why}",
        markup=False,
    )
    for metric in scaler.metrics:
        now = "not read yet" if metric.current is None else f"{metric.current:g}"
        target = "" if metric.target is None else f", target {metric.target:g}"
        console.print(f"  {metric.name}: {now}{target}", markup=False)
