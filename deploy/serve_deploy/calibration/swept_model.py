"""The loads of a sweep as one model had them, alone or as a member of the ensemble that was swept. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve_deploy.calibration.fit import FEWEST, Fitted, fit, fit_outside, utilisation
from serve_deploy.calibration.scheduler import read_served_model
from serve_deploy.reports.point import Point
from serve_deploy.twin import Outside, ServedModel


@dataclass(frozen=True)
class Executions:
    """Executions of one batch size: how many, and the mean time of one."""

    batch_size: int
    count: int
    mean_seconds: float


@dataclass(frozen=True)
class SweptLoad:
    """A load as one model had it, and what it executed."""

    point: Point
    executions: tuple[Executions, ...]

    @classmethod
    def of(cls, point: Point, model: str) -> SweptLoad:
        """Of a member the requests that it got, and in place of users what it had in flight, by Little's law."""
        account = next((each for each in point.server if each.model == model), None)
        if account is None:
            return cls(point, ())
        executions = (Executions(each.batch_size, each.executions, each.compute_us / 1e6) for each in account.batches)
        if account is not point.server[0]:
            rate = point.throughput * account.requests / max(1, point.server[0].requests)
            users = max(1, math.ceil(rate * account.inside_us / 1e6))
            load = point.load.model_copy(update={"concurrency": users})
            point = point.model_copy(update={"server": (account,), "throughput": rate, "load": load})
        return cls(point, tuple(executions))

    @property
    def single(self) -> Executions:
        """Those of one request; a count of 0 where there were too few."""
        single = (each for each in self.executions if each.batch_size == 1 and each.count >= FEWEST)
        return next(single, Executions(1, 0, 0.0))

    def quickened(self, factor: float) -> SweptLoad:
        """The same executions at so many times the pace."""
        executions = tuple(replace(each, mean_seconds=each.mean_seconds / factor) for each in self.executions)
        point = self.point.model_copy(update={"throughput": self.point.throughput * factor})
        return SweptLoad(point, executions)

    @property
    def steady(self) -> SweptLoad:
        """Without how its response times vary, which is another model's doing."""
        response = self.point.response.model_copy(update={"histogram": ()})
        return replace(self, point=self.point.model_copy(update={"response": response}))


@dataclass(frozen=True)
class SweptModel:
    """A model that executes requests, its ModelConfig, and the loads as it had them, the lightest first."""

    config: Any
    instances: int
    loads: tuple[SweptLoad, ...]

    @property
    def largest(self) -> int:
        """The largest batch that was seen often enough."""
        return max(each.batch_size for load in self.loads for each in load.executions if each.count >= FEWEST)

    @property
    def used(self) -> float:
        """The share of the time that its instances executed under the heaviest load."""
        return utilisation(max(self.loads, key=lambda load: load.point.throughput), self.instances)

    @property
    def executing(self) -> tuple[float, ...]:
        """How many of its instances executed under each load, on average."""
        return tuple(utilisation(load, 1) for load in self.loads)

    def quickened(self, factors: Sequence[float]) -> SweptModel:
        """The same loads, each at so many times the pace."""
        pairs = zip(self.loads, factors, strict=True)
        return replace(self, loads=tuple(load.quickened(factor) for load, factor in pairs))

    def fit(self, *, varies: bool, is_limit: bool) -> Fitted:
        """Its times: all alike unless the response times vary by its doing."""
        loads = [each if varies else each.steady for each in self.loads]
        return fit({self.instances: loads}, self.largest, is_limit=is_limit)

    def fit_outside(self, seconds: float) -> Outside:
        """What a request costs outside of an ensemble that this member limits, of so many seconds in all."""
        # How late answers come within a batch is not to be told from waiting for the other members.
        loads = [replace(load, point=load.point.model_copy(update={"server": ()})) for load in self.loads]
        return fit_outside({self.instances: loads}, seconds, self.largest)

    def serve(self, fitted: Fitted, cores_used: float = 0.0) -> ServedModel:
        """The model with these times, and batches no larger than were seen."""
        model = read_served_model(self.config, fitted.times, self.instances)
        waits = fitted.dispatch_seconds
        if model.batching:
            kept = tuple(size for size in model.batching.preferred_sizes if size <= self.largest)
            waits = max(0.0, waits - model.batching.max_queue_delay_seconds)
            if self.largest < model.max_batch_size:
                batching = replace(model.batching, preferred_sizes=kept)
                model = replace(model, max_batch_size=self.largest, batching=batching)
        return replace(model, dispatch_seconds=waits, cores_used=cores_used)
