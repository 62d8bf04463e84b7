"""Sweeps of a server whose every number is known: simulated closed loops, as a load test would report them."""

from __future__ import annotations

from sweeps import latency, point, report

from serve_deploy.reports.point import BatchStatistics, ModelStatistics, Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.twin import ClosedLoop, ServedModel, ServerModel, simulate

USERS = (1, 2, 4, 8, 16, 32)
SECONDS = 20.0


def simulated_sweep(model: ServedModel, *, seen_as: ServedModel | None = None) -> LoadTestReport:
    """The sweep of a model, whose batches Triton says to take what those of `seen_as` would."""
    sweep = report(*(_point(ServerModel(models=(model,)), users, seen_as or model) for users in USERS))
    target = sweep.target.model_copy(update={"instances": model.instances, "model": model.name})
    return sweep.model_copy(update={"target": target})


def _point(server: ServerModel, users: int, seen_as: ServedModel) -> Point:
    found = simulate(server, ClosedLoop(users), seconds=SECONDS)
    stream, model = found.stream, found.model
    busy = min(users, seen_as.instances)
    batches = tuple(
        BatchStatistics(batch_size=size, executions=count, compute_us=seen_as.service.at(size, busy).mean * 1e6)
        for size, count in model.batch_sizes.items()
    )
    executed = sum(batch.batch_size * batch.executions for batch in batches)
    spent_us = sum(batch.batch_size * batch.executions * batch.compute_us for batch in batches)
    account = ModelStatistics(
        model=model.model, requests=executed, inferences=executed, executions=model.executions, failures=0,
        queue_us=model.queue.mean * 1e6, compute_input_us=0, compute_infer_us=spent_us / executed,
        compute_output_us=0, average_batch_size=model.mean_batch_size, batches=batches,
    )  # fmt: skip
    response = latency(stream.response.mean * 1e3, stream.response.percentile(99) * 1e3)
    return point(
        users, stream.throughput, 0.0, duration_seconds=SECONDS, response=response, service=response, server=(account,)
    )
