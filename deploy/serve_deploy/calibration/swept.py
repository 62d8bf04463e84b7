"""From a load-test sweep to the twin of what was swept: a model, or an ensemble with all the models that it runs. Pure.

Triton accounts for each member of an ensemble, so that a load of the ensemble is one of each member as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.calibration.accuracy import ModelAtWork, explain
from serve_deploy.calibration.fit import lone_seconds, mean_execution
from serve_deploy.calibration.scheduler import not_simulated
from serve_deploy.calibration.swept_model import SweptLoad, SweptModel
from serve_deploy.model_config.flows import read_flow
from serve_deploy.model_config.scheduling import read_scheduling
from serve_deploy.reports.point import Point
from serve_deploy.reports.report import LoadTestReport, Member, Target
from serve_deploy.twin import Ensemble, ModelResult, ServedModel, ServerModel, Simulated, Times, simulate

_COLLAPSE = 0.9
# Requests in a moment that make a p99.
_SAID = 100
_LONE_REQUESTS = 1000
# Executions that take so much longer beside others are slowed by more than chance.
_SLOWED = 1.05


def build_twin(report: LoadTestReport) -> ServerModel | str:
    """The twin of the model or the ensemble that was swept, or why there is none."""
    if any(point.generation for point in report.points):
        return "token streams are not simulated"
    measured: list[Target | Member] = [report.target, *report.target.members]
    served = {each.model: each for each in measured}
    configs = {each.model: read_scheduling(each.scheduling) for each in measured}
    if None in configs.values() or not _run_by(configs) <= configs.keys():
        return "its configuration is not known"
    ensemble, points = read_flow(report.target.model, configs).ensemble, bearable_points(report)
    models = {}
    for name in dict.fromkeys(step.model for step in ensemble.steps) or (report.target.model,):
        loads = tuple(SweptLoad.of(point, name) for point in points)
        reason = not_simulated(configs[name]) or _find_gap(served[name], loads)
        if reason:
            return f"{reason} ({name})" if ensemble.steps else reason
        models[name] = SweptModel(configs[name], served[name].instances or 1, loads)
    if ensemble.steps:
        return _join(ensemble, list(models.values()), points[0])
    (model,) = models.values()
    fitted = model.fit(varies=True, is_limit=True)
    return ServerModel(models=(model.serve(fitted),), outside=fitted.outside)


def _run_by(configs: Mapping[str, Any]) -> set[str]:
    return {step.model_name for config in configs.values() for step in config.ensemble_scheduling.step}


def _find_gap(served: Target | Member, loads: Sequence[SweptLoad]) -> str | None:
    """What the report lacks of a model, if anything."""
    alone = loads[0] if loads and loads[0].point.load.concurrency == 1 else None
    if alone is None or not alone.executions or served.instances is None:
        return "the report lacks a load of one user, or the server's own figures of each batch size"
    if not alone.single.count:
        return "the sweep was too short to tell how long its batches take"
    return None


def _join(ensemble: Ensemble, members: Sequence[SweptModel], alone: Point) -> ServerModel:
    """The twin of an ensemble.

    Its response times are taken to vary by the doing of the slowest member, and the busiest to limit what it serves.
    """
    limit = max(range(len(members)), key=lambda index: members[index].used)
    slowest = max(range(len(members)), key=lambda index: mean_execution(members[index].loads[0]))
    alike, cores = _share_cores(members)
    models = [
        each.serve(each.fit(varies=index == slowest, is_limit=index == limit), 1.0 if cores else 0.0)
        for index, each in enumerate(alike)
    ]
    bare = ServerModel(models=tuple(models), ensembles=(ensemble,), cores=cores)
    inside = simulate(bare, ClosedLoop(1), requests=_LONE_REQUESTS).stream.response.mean
    outside = members[limit].fit_outside(max(0.0, lone_seconds(alone) - inside))
    # Times that are all alike would keep users in step for good, from one member to the next.
    return replace(bare, outside=replace(outside, times=Times.exponential(outside.times.mean)))


def _share_cores(members: Sequence[SweptModel]) -> tuple[Sequence[SweptModel], float | None]:
    """The members at the pace that each has alone, and how many executions keep it at once; None: any number.

    Single requests tell, by how long they take beside what else executes, on average, and how long for a lone user.
    """
    executing = [sum(of_load) for of_load in zip(*(each.executing for each in members), strict=True)]
    company = [
        [1 + whole - own / each.instances for whole, own in zip(executing, each.executing, strict=True)]
        for each in members
    ]
    singles = [
        (load.single.count, load.single.mean_seconds / each.loads[0].single.mean_seconds, beside)
        for each, of_loads in zip(members, company, strict=True)
        for load, beside in zip(each.loads[1:], of_loads[1:], strict=True)
    ]
    if sum(count * (ratio - _SLOWED) for count, ratio, _ in singles) <= 0:
        return members, None
    slowed = [(count * ratio, count * beside) for count, ratio, beside in singles if ratio > _SLOWED]
    cores = max(1.0, sum(beside for _, beside in slowed) / sum(ratio for ratio, _ in slowed))
    paced = [
        each.quickened([1.0, *(max(1.0, beside / cores) for beside in of_loads[1:])])
        for each, of_loads in zip(members, company, strict=True)
    ]
    return paced, cores


def bearable_points(report: LoadTestReport) -> list[Point]:
    """By rising users, without loads beyond the one that served most that served far less: clients took the CPU."""
    swept = [point for point in report.points if point.load.batch_size == 1 and point.server]
    best = max(swept, key=lambda point: point.throughput, default=None)
    borne = [
        point
        for point in swept
        if best is None or _users(point) <= _users(best) or point.throughput > _COLLAPSE * best.throughput
    ]
    return sorted(borne, key=lambda point: _users(point) or math.inf)


def _users(point: Point) -> int:
    return point.load.concurrency or 0


def explain_load(twin: ServerModel, point: Point, found: Simulated) -> tuple[str, ...]:
    """Why the twin was off under a load, as far as the measurement tells."""
    p99s = [each.response_p99_us for each in point.timeline if each.succeeded >= _SAID]
    seconds = found.end_seconds - found.start_seconds
    work = [
        _at_work(model, SweptLoad.of(point, model.name), simulated, seconds)
        for model, simulated in zip(twin.models, found.models, strict=True)
    ]
    only = [replace(each, name="") for each in work]
    return explain(point, work if twin.ensembles else only, p99s, "within the load")


def _at_work(model: ServedModel, load: SweptLoad, simulated: ModelResult, seconds: float) -> ModelAtWork:
    known = max(size for size, _ in model.service.measured)
    alone = sum(count * model.service.at(size).mean for size, count in simulated.batch_sizes.items())
    # Beside others, or waiting for a lock, the twin's executions take longer as well.
    slowed = simulated.mean_busy * seconds / alone if (model.cores_used or model.exclusive) and alone else 1.0
    executed = [each for each in load.quickened(slowed).executions if each.batch_size <= known]
    busy = 1 if _users(load.point) == 1 or not model.service.contend else model.instances
    waits = (sum(each.queue_us for each in load.point.server[:1]), simulated.queue.mean * 1e6)
    return ModelAtWork(executed, model.service, busy, simulated.mean_batch_size, model.name, *waits)
