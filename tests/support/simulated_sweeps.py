"""Sweeps of a server whose every number is known: simulated closed loops, as a load test would report them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sweeps import point, report

from serve_deploy.model_config import parse_config
from serve_deploy.model_config.scheduling import keep_scheduling
from serve_deploy.reports.histogram import Histogram
from serve_deploy.reports.latencies import summarize
from serve_deploy.reports.point import BatchStatistics, ModelStatistics, Point
from serve_deploy.reports.report import LoadTestReport, Member
from serve_deploy.twin import (
    Batching,
    ClosedLoop,
    ModelResult,
    ServedModel,
    ServerModel,
    ServiceTimes,
    simulate,
)

USERS = (1, 2, 4, 8, 16, 32)
SECONDS = 20.0


def scheduling(text: str) -> dict[str, Any]:
    """What a report keeps of a configuration."""
    from google.protobuf.json_format import MessageToDict

    return keep_scheduling(MessageToDict(parse_config(text), preserving_proto_field_name=True))


def simulated_sweep(
    model: ServedModel, text: str = 'name: "m"', *, seen_as: ServedModel | None = None
) -> LoadTestReport:
    """The sweep of a model of this configuration, whose batches Triton says to take what those of `seen_as` would."""
    server = ServerModel(models=(model,))
    sweep = report(*(_point(server, users, (seen_as or model,)) for users in USERS))
    changes = {"instances": model.instances, "model": model.name, "scheduling": scheduling(text)}
    return sweep.model_copy(update={"target": sweep.target.model_copy(update=changes)})


@cache
def digits_sweep(fixed_seconds: float, row_seconds: float, watts: float) -> LoadTestReport:
    """A server of the example that takes so long for a batch and for each row, and draws more, the busier it is."""
    service = ServiceTimes.linear(fixed_seconds, row_seconds, 8)
    model = ServedModel(name="digits", service=service, max_batch_size=8, batching=Batching())
    found = simulated_sweep(model, 'name: "digits" max_batch_size: 8 dynamic_batching { }')
    top = max(point.request_rate for point in found.points)
    points = tuple(
        point.model_copy(update={"server_metrics": {"nv_gpu_power_usage": watts * (1 + point.request_rate / top) / 2}})
        for point in found.points
    )
    return found.model_copy(update={"points": points})


def simulated_ensemble_sweep(server: ServerModel, text: str, members: dict[str, str]) -> LoadTestReport:
    """The sweep of the server's ensemble, of this configuration, and of its members'."""
    (ensemble,) = server.ensembles
    sweep = report(*(_point(server, users, server.models) for users in USERS))
    served = {model.name: model.instances for model in server.models}
    target = sweep.target.model_copy(
        update={
            "model": ensemble.name,
            "scheduling": scheduling(text),
            "members": tuple(
                Member(model=name, model_config_sha256="", instances=served.get(name), scheduling=scheduling(each))
                for name, each in members.items()
            ),
        }
    )
    return sweep.model_copy(update={"target": target})


def _point(server: ServerModel, users: int, seen_as: Sequence[ServedModel]) -> Point:
    found = simulate(server, ClosedLoop(users), seconds=SECONDS)
    stream = found.stream
    accounts = [_account(model, seen, users) for model, seen in zip(found.models, seen_as, strict=True)]
    if server.cores is not None:
        accounts = [_stretch(account, model.mean_busy) for account, model in zip(accounts, found.models, strict=True)]
    for ensemble in server.ensembles:
        own = {"model": ensemble.name, "requests": stream.succeeded, "batches": ()}
        accounts.insert(0, accounts[0].model_copy(update=own))
    histogram = Histogram()
    histogram.record_seconds(stream.response.seconds)
    response = summarize(histogram)
    return point(
        users, stream.throughput, 0.0, duration_seconds=SECONDS, response=response, service=response,
        server=tuple(accounts),
    )  # fmt: skip


def _account(model: ModelResult, seen_as: ServedModel, users: int) -> ModelStatistics:
    busy = min(users, seen_as.instances)
    batches = tuple(
        BatchStatistics(batch_size=size, executions=count, compute_us=seen_as.service.at(size, busy).mean * 1e6)
        for size, count in model.batch_sizes.items()
    )
    executed = sum(batch.batch_size * batch.executions for batch in batches)
    spent_us = sum(batch.batch_size * batch.executions * batch.compute_us for batch in batches)
    return ModelStatistics(
        model=model.model, requests=executed, inferences=executed, executions=model.executions, failures=0,
        queue_us=model.queue.mean * 1e6, compute_input_us=0, compute_infer_us=spent_us / executed,
        compute_output_us=0, average_batch_size=model.mean_batch_size, batches=batches,
    )  # fmt: skip


def _stretch(account: ModelStatistics, mean_busy: float) -> ModelStatistics:
    """Executions that took as long as they did beside others, and not as long as alone."""
    alone = sum(batch.executions * batch.compute_us for batch in account.batches) / 1e6
    factor = mean_busy * SECONDS / alone
    batches = tuple(batch.model_copy(update={"compute_us": batch.compute_us * factor}) for batch in account.batches)
    return account.model_copy(update={"batches": batches, "compute_infer_us": account.compute_infer_us * factor})
