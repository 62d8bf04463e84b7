"""Tuning, start to end: measure little, simulate all, race the best, confirm the winner."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.loadtest.workers import Workers
from serve_deploy.progress import Progress, silent
from serve_deploy.reports.figures import format_plainly
from serve_deploy.reports.gates import parse_gate
from serve_deploy.tuning.apply import apply_winner
from serve_deploy.tuning.bench import Bench, RequestSource
from serve_deploy.tuning.candidates import SCHEDULING, Setting
from serve_deploy.tuning.checkpoint import Checkpoint, fingerprint, state_folder
from serve_deploy.tuning.conclusion import (
    describe_contestant,
    describe_failures,
    describe_prediction,
    explain_changes,
    find_effects,
    judge_confirmation,
    reach_verdict,
)
from serve_deploy.tuning.measuring import Measuring, Settings
from serve_deploy.tuning.objective import Goal
from serve_deploy.tuning.options import TuneOptions
from serve_deploy.tuning.racing import Contestant, Racing
from serve_deploy.tuning.ranking import Prediction, Twins, choose_finalists, make_space, rank
from serve_deploy.tuning.remote import Restored, describe_restored, remote_servers, restore_overrides
from serve_deploy.tuning.result import Effort, TuningResult
from serve_deploy.tuning.search import require_search
from serve_deploy.tuning.servers import Servers, local_servers
from serve_deploy.tuning.service import Service
from serve_deploy.tuning.subject import Subject, read_subject
from serve_deploy.version import __version__

_KEPT = 20


def tune(options: TuneOptions, *, progress: Progress = silent) -> TuningResult:
    """Find the configuration that serves a model best for an objective, and show that it does.

    UsageError says what cannot be tuned, InvalidModelError that the model does not load as it is. A run that is cut
    short goes on where it was when it is called again with the same options.
    """
    if options.rate is not None and options.objective == "throughput":
        raise UsageError("`rate` fixes the throughput", hint="use it with `objective=latency` or `objective=cost`")
    require_search({path: values for path, values in options.vary if path not in SCHEDULING})
    goal = Goal(options.objective, tuple(parse_gate(text) for text in options.slo))
    subject = read_subject(options)
    state = state_folder(options.state)
    restored = restore_overrides(state, options.endpoint)
    notes = [*map(describe_restored, restored)]
    path = state / "tune" / f"{subject.name}-{fingerprint(options, subject.folder)}.jsonl"
    checkpoint = Checkpoint(path, fresh=options.fresh, note=notes.append)
    with _open_servers(options, subject, state) as servers, Workers(1) as workers:
        requests = RequestSource(options.data, options.shapes, options.seed)
        bench = Bench(subject, servers, checkpoint, requests, workers, progress)
        result = run_tuning(options, subject, goal, bench, notes)
    return apply_winner(result, subject) if options.apply else result


def run_tuning(options: TuneOptions, subject: Subject, goal: Goal, bench: Bench, notes: list[str]) -> TuningResult:
    """All of a tuning on a bench, whose servers end with it; `notes` may become more meanwhile."""
    try:
        return _Run(options, subject, goal, bench, notes).go()
    finally:
        bench.stop_all()


def _open_servers(options: TuneOptions, subject: Subject, state: Path) -> AbstractContextManager[Servers]:
    if options.endpoint is None:
        return local_servers(subject.folder, options.runtime, options.release)
    if options.max_memory_mb or options.runtime or options.objective == "cost":
        raise UsageError(
            "`url` excludes `max_memory_mb`, `runtime` and `objective=cost`: of a running server memory and CPU are "
            "not seen",
            hint="leave them out, or leave out `url` to tune on servers of our own",
        )
    return remote_servers(options.endpoint, subject.folder, state)


def restore(options: TuneOptions) -> tuple[Restored, ...]:
    """Put back what runs that were killed left on running servers."""
    return restore_overrides(state_folder(options.state), options.endpoint)


def make_twins(options: TuneOptions, subject: Subject, goal: Goal, services: Mapping[Setting, Service]) -> Twins:
    """The twins of a model's settings; for latency without a rate, at half of what the baseline serves."""
    twins = Twins(
        subject.name, services, goal.with_margin, options.concurrency, options.rate,
        batches=subject.largest_batch > 1, seed=options.seed,
    )  # fmt: skip
    if options.objective != "latency" or options.rate is not None:
        return twins
    own = replace(twins, goal=Goal("throughput")).predict(subject.baseline)
    return replace(twins, rate=float(f"{own.point.throughput / 2:.2g}"))


@dataclass
class _Run:
    options: TuneOptions
    subject: Subject
    goal: Goal
    bench: Bench
    notes: list[str]
    started: float = field(default_factory=time.monotonic)
    simulating_seconds: float = 0.0

    def go(self) -> TuningResult:
        self.bench.prepare(self.options, self.notes.append)
        settings = Measuring(self.bench, self.subject, self.options, self.goal).measure_settings()
        twins, ranked = self._simulate(settings)
        racing = Racing(self.bench, self.subject, self.options, self.goal, twins.rate, settings.failed)
        finalists = choose_finalists(self._affordable(ranked, settings), self.subject.baseline, self.options.finalists)
        predictions = (twins.predict(self.subject.baseline), *finalists)
        baseline, *runners = racing.qualify([Contestant(each.candidate, each) for each in predictions])
        race = racing.race(baseline, runners)
        winner = racing.pick(baseline, runners, race)
        confirmed = None
        if winner:
            confirmed = judge_confirmation(*racing.confirm(baseline, winner), self.goal, twins.rate)
        verdict, explanation = reach_verdict(
            self.goal, baseline, runners, race, confirmed, winner, self.options.min_gain
        )
        own = self.subject.baseline
        rows = [describe_contestant(runners[runner.number], runner, self.goal, twins, own) for runner in race.runners]
        won = rows[runners.index(winner)] if winner and verdict == "better" else None
        self.bench.checkpoint.finish()
        return TuningResult(
            tool_version=__version__,
            model=self.subject.name,
            repository=str(self.options.repository),
            server=self.bench.servers.description,
            objective=self.options.objective,
            gates=self.options.slo,
            verdict=verdict,
            explanation=explanation,
            baseline=describe_contestant(baseline, None, self.goal, twins, own),
            winner=won,
            changes=tuple(explain_changes(winner.candidate, own, twins)) if winner and won else (),
            race=tuple(rows),
            rounds=race.rounds,
            ranked=tuple(describe_prediction(each, twins.rate, own) for each in ranked[:_KEPT]),
            effects=tuple(find_effects(ranked, own)),
            measured_settings=tuple(settings.evidence),
            confirmation=confirmed,
            failed=tuple(describe_failures(settings.failed, own)),
            notes=tuple(self.notes),
            effort=self._effort(len(ranked)),
        )

    def _simulate(self, settings: Settings) -> tuple[Twins, tuple[Prediction, ...]]:
        begun = time.monotonic()
        self.bench.progress("simulating every configuration")
        twins = make_twins(self.options, self.subject, self.goal, settings.services)
        if twins.rate is not None and self.options.rate is None:
            self.notes.append(
                f"latency is compared at {format_plainly(twins.rate)} requests/s, "
                "half of what the current configuration serves by simulation"
            )
        space = make_space(self.options, self.subject.baseline, self.subject.largest_batch, settings.counts)
        ranked = rank(twins, space)
        self.simulating_seconds = time.monotonic() - begun
        return twins, ranked

    def _affordable(self, ranked: Sequence[Prediction], settings: Settings) -> list[Prediction]:
        """Those whose memory, as far as it was measured, stays within the limit."""
        most = (self.options.max_memory_mb or 0) * 1_000_000
        return [each for each in ranked if not most or settings.memory_bytes(each.candidate) <= most]

    def _effort(self, simulated: int) -> Effort:
        wall, starts = time.monotonic() - self.started, self.bench.starts
        measuring = self.bench.measuring_seconds
        return Effort(
            wall_seconds=wall,
            measuring_seconds=measuring,
            simulating_seconds=self.simulating_seconds,
            waiting_seconds=max(0.0, wall - measuring - self.simulating_seconds),
            measurements=self.bench.measurements,
            resumed_measurements=self.bench.checkpoint.resumed,
            servers_started=len(starts),
            mean_start_seconds=sum(starts) / len(starts) if starts else None,
            simulated_configurations=simulated,
        )
