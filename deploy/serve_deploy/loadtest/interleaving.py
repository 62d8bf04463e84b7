"""Measure several models of one endpoint under one load, whose requests keep a ratio whichever model is quicker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from serve_deploy.arrivals.mixing import interleave
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Model
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.clients.exchange import Request
from serve_deploy.loadtest.data import read_request_data
from serve_deploy.loadtest.interleaved import Interleaved, InterleavedMeasurement
from serve_deploy.loadtest.loads import Search
from serve_deploy.loadtest.measurement import Measurement
from serve_deploy.loadtest.messages import Job, PeriodEnd
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.points import ServerShare, build_point
from serve_deploy.loadtest.requests import Rotation, build_source, check_options
from serve_deploy.loadtest.seat import Seat, sit_alone
from serve_deploy.loadtest.session import Session
from serve_deploy.loadtest.workers import Workers
from serve_deploy.progress import silent
from serve_deploy.reports.point import Point, RequestData
from serve_deploy.reports.report import LoadTestReport

_CONTROL_SECONDS = 30.0


def run_interleaved(
    parts: Sequence[LoadTestOptions], weights: Sequence[float], *, workers: Workers | None = None
) -> tuple[LoadTestReport, tuple[tuple[Point, ...], ...]]:
    """Measure the loads of the first part with requests to all parts, as often as their weights say.

    Returns a report of all together, and for each of its points that of each model, in order. The parts say which
    models there are and what is sent to each; all else is the first one's. UsageError where a model keeps state or
    streams, or takes other requests.
    """
    options = parts[0]
    if isinstance(options.loads, Search):
        raise UsageError("a load is searched for one model at a time", hint="name one model")
    with ControlPlane(options.endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
        version = str(control.server_metadata().get("version", ""))
        models = [control.describe_model(part.model, part.model_version) for part in parts]
        read = [_read(part, model) for part, model in zip(parts, models, strict=True)]
        source = Interleaved(tuple(requests for requests, _ in read), interleave(weights))
        with sit_alone(options.processes, workers) as seat:
            session = _InterleavedSession(options, control, models[0], seat, lambda _: None, silent)
            session.models = models
            validates = any(part.validate for part in parts)
            with seat.workers.run(seat.interruption, partial(_build_job, options, source, validates, seat)):
                session.sweep(options.loads)
        return session.report(version, read[0][1]), tuple(session.shares)


def _read(options: LoadTestOptions, model: Model) -> tuple[tuple[Request, ...], RequestData]:
    check_options(options, model)
    rows = read_request_data(options, model)
    source = build_source(options, model, rows.samples, [None] * len(rows.samples))
    if not isinstance(source, Rotation):
        raise UsageError(f"{model.name} keeps state between requests", hint="measure it alone")
    return source.requests, rows.data


def _build_job(options: LoadTestOptions, source: Interleaved, validates: bool, seat: Seat, number: int) -> Job:
    return Job(
        endpoint=options.endpoint,
        source=source,
        validate=validates,
        streaming=False,
        timeout_seconds=options.patience_seconds,
        worker=number,
        workers=seat.workers.count,
    )


@dataclass
class _InterleavedSession(Session):
    """A session whose requests go to several models; `shares` has, for each point, that of each model."""

    models: Sequence[Model] = ()
    shares: list[tuple[Point, ...]] = field(default_factory=list)

    def _open_measurement(self, start: float) -> Measurement:
        return InterleavedMeasurement(start, models=len(self.models))

    def _executing(self) -> dict[str, str]:
        return {name: "" for model in self.models for name in (model.name, *self._composition(model))}

    def _keep(self, point: Point, measurement: Measurement, ends: Mapping[int, PeriodEnd]) -> None:
        super()._keep(point, measurement, ends)
        if isinstance(measurement, InterleavedMeasurement):
            self.shares.append(
                tuple(self._share(point, measurement, ends, number) for number in range(len(self.models)))
            )

    def _share(
        self, whole: Point, measurement: InterleavedMeasurement, ends: Mapping[int, PeriodEnd], number: int
    ) -> Point:
        model = self.models[number]
        statistics = tuple(each for each in whole.server if each.model in (model.name, *self._composition(model)))
        point = build_point(
            whole.load, whole.repeat, whole.started_at, whole.duration_seconds, measurement.parts[number], ends,
            ServerShare(statistics), users_rest=True,
        )  # fmt: skip
        # The generator is the limit of all or of none.
        return point.model_copy(
            update={"client_bound": whole.client_bound, "client_bound_reasons": whole.client_bound_reasons}
        )
