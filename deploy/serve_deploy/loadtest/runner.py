"""Carry out a load test: check what is asked for, ask the model what it takes, start the workers, judge the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.readiness import wait_until_ready
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.clients.shared_memory import shared_inputs
from serve_deploy.loadtest.live import Listener, LiveSnapshot
from serve_deploy.loadtest.measurements.token_questions import TokenQuestions
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.options.limits import check_limits
from serve_deploy.loadtest.options.loads import Search, describe_load
from serve_deploy.loadtest.requests.data import read_request_data
from serve_deploy.loadtest.requests.generating import (
    build_prompting,
    check_generation,
    choose_prompts,
    describe_model,
    replay_arrivals,
    which_protocol,
)
from serve_deploy.loadtest.requests.source import RequestSource, build_source, check_options
from serve_deploy.loadtest.session import Session
from serve_deploy.loadtest.workers.messages import Job
from serve_deploy.loadtest.workers.seat import Seat, TakeSeat, sit_alone
from serve_deploy.progress import Progress
from serve_deploy.prompts.prompt import PromptSet
from serve_deploy.prompts.tokenizer import read_tokenizer
from serve_deploy.reports.baseline.comparison import require_same_answers
from serve_deploy.reports.figures import describe_data
from serve_deploy.reports.gates import Gate, parse_gate
from serve_deploy.reports.judging import Baseline, check_comparable, judge_report, read_baseline
from serve_deploy.reports.objectives import Objective, check_gates, gather_objectives
from serve_deploy.reports.point import RequestData
from serve_deploy.reports.report import LoadTestReport

_CONTROL_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is measured and what it is sent; `control` is None where nothing can be asked in Triton's protocol."""

    model: Model
    server_version: str
    data: RequestData
    source: RequestSource
    control: ControlPlane | None
    tokens: TokenQuestions | None = None


def run(
    options: LoadTestOptions, *, on_snapshot: Listener, progress: Progress, take_seat: TakeSeat = sit_alone
) -> LoadTestReport:
    """Measure and judge; see `serve_deploy.loadtest.run_loadtest`."""
    check_limits(options)
    check_generation(options)
    gates = [parse_gate(text) for text in options.judging.slo]
    if isinstance(options.loads, Search) and not gates:
        raise UsageError("`find` needs a gate that the load must pass", hint="such as `slo='p99<50ms'`")
    objectives = gather_objectives(options.generation.objectives, gates) if options.generates else ()
    check_gates(gates, objectives, generates=options.generates)
    prompts = choose_prompts(options) if options.generates else None
    if prompts:
        options = replay_arrivals(options, prompts)
    baseline = _read_baseline(options)
    if options.wait_seconds:
        wait_until_ready(
            options.endpoint,
            options.model,
            options.model_version,
            timeout_seconds=options.wait_seconds,
            speaks=which_protocol(options),
            progress=progress,
        )
    with (
        _live_metrics(options, on_snapshot) as listener,
        ControlPlane(options.endpoint, timeout_seconds=_control_timeout(options)) as control,
    ):
        progress(f"asking {options.endpoint.url} about {options.model}")
        subject = _prompted(options, control, prompts, objectives) if prompts else _plain(options, control)
        seat = take_seat(options.processes)
        report = _measure(options, subject, seat, gates, baseline, listener, progress)
    return judge_report(report, gates, baseline, allow_partial=options.judging.allow_partial)


def _control_timeout(options: LoadTestOptions) -> float:
    return min(options.patience_seconds, _CONTROL_TIMEOUT_SECONDS)


def _read_baseline(options: LoadTestOptions) -> Baseline | None:
    baseline = read_baseline(options.judging)
    if baseline is None:
        return None
    if isinstance(options.loads, Search):
        raise UsageError("`find` and `baseline` exclude each other", hint="leave out `baseline`")
    loads = [describe_load(shape, options.batch_size) for shape in options.loads]
    check_comparable(
        baseline, options.model, options.endpoint.protocol, loads, allow_partial=options.judging.allow_partial
    )
    return baseline


@contextlib.contextmanager
def _live_metrics(options: LoadTestOptions, on_snapshot: Listener) -> Iterator[Listener]:
    if options.metrics_port is None:
        yield on_snapshot
        return
    from serve_deploy.loadtest.live_metrics import LiveMetrics, serve_metrics

    metrics = LiveMetrics(options.model)

    def tell_both(snapshot: LiveSnapshot) -> None:
        on_snapshot(snapshot)
        metrics.listen(snapshot)

    with serve_metrics(metrics, options.metrics_port):
        yield tell_both


@contextlib.contextmanager
def _plain(options: LoadTestOptions, control: ControlPlane) -> Iterator[_Subject]:
    server_version = str(control.server_metadata().get("version", ""))
    model = control.describe_model(options.model, options.model_version)
    check_options(options, model)
    rows = read_request_data(options, model)
    samples = rows.samples
    placed = (
        shared_inputs(control, model, samples)
        if options.shared_memory == "system"
        else contextlib.nullcontext([None] * len(samples))
    )
    with placed as regions:
        source = build_source(options, model, samples, regions)
        yield _Subject(model=model, server_version=server_version, data=rows.data, source=source, control=control)


@contextlib.contextmanager
def _prompted(
    options: LoadTestOptions, control: ControlPlane, prompts: PromptSet, objectives: tuple[Objective, ...]
) -> Iterator[_Subject]:
    asked = describe_model(options, control, _control_timeout(options))
    tokenizer = options.generation.prompts.tokenizer
    count_tokens = read_tokenizer(tokenizer).count_tokens if tokenizer else None
    yield _Subject(
        model=asked.model,
        server_version=asked.server_version,
        data=prompts.origin,
        source=build_prompting(options, asked, prompts),
        control=control if asked.speaks_triton else None,
        tokens=TokenQuestions(asked.protocol, objectives, count_tokens),
    )


def _measure(
    options: LoadTestOptions,
    subject: contextlib.AbstractContextManager[_Subject],
    taken: contextlib.AbstractContextManager[Seat],
    gates: Sequence[Gate],
    baseline: Baseline | None,
    on_snapshot: Listener,
    progress: Progress,
) -> LoadTestReport:
    def build_job(number: int) -> Job:
        return Job(
            endpoint=options.endpoint,
            source=asked.source,
            validate=options.validate,
            streaming=options.streaming,
            timeout_seconds=options.patience_seconds,
            worker=number,
            workers=seat.workers.count,
        )

    with subject as asked, taken as seat:
        if baseline:
            require_same_answers([asked.tokens.protocol] if asked.tokens else [], baseline.report, baseline.name)
        progress(f"sending {describe_data(asked.data)}")
        session = Session(options, asked.control, asked.model, seat, on_snapshot, progress, asked.tokens)
        with seat.workers.run(seat.interruption, build_job):
            if isinstance(options.loads, Search):
                session.search(options.loads, gates)
            else:
                session.sweep(options.loads)
    return session.report(asked.server_version, asked.data)
