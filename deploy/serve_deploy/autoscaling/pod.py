"""What one replica can do with the traffic it is to have: of one model, or of several that share it.

Models that share a pod were measured one at a time. They are taken to share one bottleneck, so that the work of each
adds up: a model that gets the rate r of the x that it can do alone takes r/x of the pod. Rates are requests a second,
concurrencies requests in flight, of one replica.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from serve_deploy.autoscaling.derived import Derived
from serve_deploy.autoscaling.open_traffic import OpenReplica, replay_openly
from serve_deploy.autoscaling.sweep import Load, MeasuredReplica, find_knee, pending_guard, rising_branch, usable_loads
from serve_deploy.errors import UsageError
from serve_deploy.reports.gates import Gate
from serve_deploy.reports.report import LoadTestReport


@dataclass(frozen=True)
class ModelTraffic:
    """A model's sweep, and its share of the pod's requests (all make 1)."""

    report: LoadTestReport
    share: float = 1.0
    share_origin: str = "the only model"


@dataclass(frozen=True)
class Output:
    """What requests are answered with, and how much of it one request brings on average."""

    unit: Literal["inferences", "output tokens", "requests"] = "inferences"
    of_a_request: float = 1.0

    @classmethod
    def of(cls, knee: Load) -> Output:
        """Of one model: tokens of a language model."""
        return cls("output tokens", knee.output_tokens) if knee.output_tokens else cls("inferences", knee.inferences)

    @classmethod
    def mixed(cls, parts: Sequence[tuple[float, Output]]) -> Output:
        """Of several, each with its share of the requests; where tokens and inferences meet, requests."""
        units = {output.unit for _, output in parts}
        if len(units) > 1:
            return cls("requests")
        return cls(units.pop(), sum(part * each.of_a_request for part, each in parts))


@dataclass(frozen=True)
class MeasuredPod:
    """A replica as the sweeps saw it, under its objective, and how each number came about.

    `replayed` is the replica that the autoscaler is tried on: under independent arrivals where there is a twin.
    `watts` is what a replica's GPUs draw at each rate, where that was measured of every model.
    """

    replica: MeasuredReplica
    replayed: MeasuredReplica
    slo_p99_seconds: float
    pending: float
    measured_by: str
    derived: tuple[Derived, ...]
    slo_origin: str
    pending_origin: str
    dropped: tuple[str, ...]
    cpu_cores: float | None = None
    output: Output = Output()
    watts: tuple[tuple[float, float], ...] = ()


def measure_pod(
    traffic: Sequence[ModelTraffic], slo_p99_seconds: float | None, gates: Sequence[Gate] = ()
) -> MeasuredPod:
    """Find what a pod can do; raises where a sweep cannot tell, or where no load of one keeps the objectives.

    `gates` are further objectives, of which those of token streams hold for their models alone.
    """
    pods = [_measure_model(each, slo_p99_seconds, gates) for each in traffic]
    return pods[0] if len(pods) == 1 else _mix(traffic, pods)


def _measure_model(traffic: ModelTraffic, slo_p99_seconds: float | None, gates: Sequence[Gate]) -> MeasuredPod:
    report = traffic.report
    streams = any(point.generation for point in report.points)
    asked = [gate for gate in gates if streams or not gate.needs_tokens]
    loads, dropped = usable_loads(report, asked)
    if len(loads) < 2:
        raise UsageError(
            f"the capacity report of {report.target.model} has too few usable loads ({len(loads)}):"
            f" {'; '.join(dropped) or 'it is no sweep'}",
            hint="sweep over several loads: serve loadtest URL -m MODEL -c 1..64 -o report.json",
        )
    branch = rising_branch(loads)
    slo, slo_origin = _objective(branch[0], slo_p99_seconds)
    if asked and slo_p99_seconds is None:
        knee = find_knee(loads, math.inf)
        slo, slo_origin = knee.p99_seconds, f"measured at the knee: {', '.join(gate.expression for gate in asked)}"
    else:
        knee = find_knee(loads, slo)
    pending, pending_origin = pending_guard(branch[0], knee)
    replica, openly = MeasuredReplica.of(branch, knee), replay_openly(report, branch, slo_p99_seconds)
    return MeasuredPod(
        replica=replica,
        replayed=openly.replica or replica,
        slo_p99_seconds=slo,
        pending=pending,
        measured_by="by the server" if knee.server_side else "by the client",
        derived=(
            Derived("knee_rate", knee.rate, "requests/s", _explain_knee(knee, loads, asked)),
            _explain_replayed(openly, knee.rate),
        ),
        slo_origin=slo_origin,
        pending_origin=pending_origin,
        dropped=dropped,
        cpu_cores=knee.cpu_cores,
        output=Output.of(knee),
        watts=tuple((load.rate, load.watts) for load in branch if load.watts is not None),
    )


def _objective(lightest: Load, slo_p99_seconds: float | None) -> tuple[float, str]:
    if slo_p99_seconds is not None:
        return slo_p99_seconds, "`slo`"
    return 2 * lightest.p99_seconds, f"no `slo`: twice the p99 of the lightest load ({lightest.asked})"


def _explain_knee(knee: Load, loads: Sequence[Load], gates: Sequence[Gate]) -> str:
    kept = " and ".join(gate.expression for gate in gates) or "p99 <= objective"
    origin = f"highest throughput with {kept}, at {knee.asked}"
    heaviest = max(loads, key=lambda load: load.concurrency)
    return f"{origin}: the heaviest load measured, so it may serve more; sweep further" if knee is heaviest else origin


def _explain_replayed(openly: OpenReplica, knee_rate: float) -> Derived:
    if openly.replica is None:
        origin = f"as in the sweep, whose users wait for their answers: {openly.explanation}"
        return Derived("replayed_knee_rate", knee_rate, "requests/s", origin)
    origin = f"the same for independent arrivals, {openly.explanation}"
    return Derived("replayed_knee_rate", openly.replica.knee_rate, "requests/s", origin)


def _mix(traffic: Sequence[ModelTraffic], pods: Sequence[MeasuredPod]) -> MeasuredPod:
    names = [each.report.target.model for each in traffic]
    replicas = [pod.replica for pod in pods]
    knee, work = _share_work(traffic, replicas)
    slowest = max(pods, key=lambda pod: pod.slo_p99_seconds)
    facts = [
        fact
        for name, each, pod, part in zip(names, traffic, pods, work, strict=True)
        for fact in (
            *(replace(fact, name=f"{fact.name} of {name}") for fact in pod.derived),
            Derived(
                f"share of {name}",
                each.share,
                "of the requests",
                f"{each.share_origin}; {100 * part:.0f} % of the work",
            ),
        )
    ]
    origin = (
        "1 / the sum of share / knee rate: each model was measured alone, and all are taken to share one bottleneck;"
        " where they do not, the pod does more, and where they hamper each other beyond that, less"
    )
    measured_by = dict.fromkeys(pod.measured_by for pod in pods)
    cores = [pod.cpu_cores for pod in pods if pod.cpu_cores is not None]
    return MeasuredPod(
        replica=_mix_replicas(traffic, replicas),
        replayed=_mix_replicas(traffic, [pod.replayed for pod in pods]),
        slo_p99_seconds=slowest.slo_p99_seconds,
        pending=sum(part * pod.pending for part, pod in zip(work, pods, strict=True)),
        measured_by=f"{' and '.join(measured_by)}, each model's by its share of the work",
        derived=(*facts, Derived("knee_rate", knee, "requests/s of all models", origin)),
        slo_origin=slowest.slo_origin if len({pod.slo_p99_seconds for pod in pods}) == 1 else "the slowest model's",
        pending_origin="each model's guard, by its share of the work",
        dropped=tuple(f"{name}, {text}" for name, pod in zip(names, pods, strict=True) for text in pod.dropped),
        cpu_cores=max(cores) if len(cores) == len(pods) else None,
        output=Output.mixed([(each.share, pod.output) for each, pod in zip(traffic, pods, strict=True)]),
        watts=_mix_watts(pods, work, knee) if all(pod.watts for pod in pods) else (),
    )


def _mix_watts(pods: Sequence[MeasuredPod], work: Sequence[float], knee: float) -> tuple[tuple[float, float], ...]:
    """What the GPUs draw while models take turns: by its share of the work, what each drew alone when as busy."""
    levels = sorted({rate / pod.replica.knee_rate for pod in pods for rate, _ in pod.watts})

    def draw(pod: MeasuredPod, level: float) -> float:
        rates, powers = zip(*pod.watts, strict=True)
        return float(np.interp(level * pod.replica.knee_rate, rates, powers))

    return tuple(
        (level * knee, sum(part * draw(pod, level) for part, pod in zip(work, pods, strict=True))) for level in levels
    )


def _share_work(traffic: Sequence[ModelTraffic], replicas: Sequence[MeasuredReplica]) -> tuple[float, list[float]]:
    """The knee rate of all models together, and each one's part of the work."""
    shares = [(each.share, replica.knee_rate) for each, replica in zip(traffic, replicas, strict=True)]
    knee = 1 / sum(share / alone for share, alone in shares)
    return knee, [share * knee / alone for share, alone in shares]


def _mix_replicas(traffic: Sequence[ModelTraffic], replicas: Sequence[MeasuredReplica]) -> MeasuredReplica:
    knee, work = _share_work(traffic, replicas)
    # A model answers as fast as it did when it kept the pod this busy alone. By Little's law, its requests in flight
    # are then those that it had alone, by its share of the work.
    most = min(replica.capacity / replica.knee_rate for replica in replicas)
    levels = {rate / replica.knee_rate for replica in replicas for rate, _ in replica.points}
    kept = sorted({level for level in levels if level <= most} | {most})

    def add_up(read: Callable[[MeasuredReplica, float], float]) -> tuple[tuple[float, float], ...]:
        return tuple(
            (
                level * knee,
                sum(part * read(each, level * each.knee_rate) for part, each in zip(work, replicas, strict=True)),
            )
            for level in kept
        )

    queue = add_up(MeasuredReplica.waiting) if any(each.queue for each in replicas) else ()
    return MeasuredReplica(add_up(MeasuredReplica.in_flight), knee, queue)
