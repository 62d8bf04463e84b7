"""A twin of Triton's scheduler: what a server would do under a load, from measured service times."""

from serve_deploy.arrivals.shapes import ClosedLoop, ConstantRate, PoissonRate, Ramp, Replay
from serve_deploy.twin.results import Durations, ModelResult, Simulated, StreamResult
from serve_deploy.twin.server import (
    Batching,
    Ensemble,
    Outside,
    QueuePolicy,
    ServedModel,
    ServerModel,
    Step,
    Stream,
)
from serve_deploy.twin.simulation import simulate
from serve_deploy.twin.times import ServiceTimes, Times

__all__ = [
    "Batching",
    "ClosedLoop",
    "ConstantRate",
    "Durations",
    "Ensemble",
    "ModelResult",
    "Outside",
    "PoissonRate",
    "QueuePolicy",
    "Ramp",
    "Replay",
    "ServedModel",
    "ServerModel",
    "ServiceTimes",
    "Simulated",
    "Step",
    "Stream",
    "StreamResult",
    "Times",
    "simulate",
]
