"""Tuning, start to end: measure little, simulate all, race the best, confirm the winner."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.errors import Interrupted, InvalidModelError, UsageError
from serve_deploy.files.temporary import remove_abandoned
from serve_deploy.loadtest.workers.pool import start_workers
from serve_deploy.progress import Progress, silent
from serve_deploy.reports.figures import format_plainly
from serve_deploy.tuning.candidates.candidate import SCHEDULING, Candidate
from serve_deploy.tuning.candidates.search import require_search
from serve_deploy.tuning.measured import Fallen, Measured, MixedPoint
from serve_deploy.tuning.measuring.bench import Bench
from serve_deploy.tuning.measuring.checkpoint import Checkpoint, fingerprint, hold, state_folder
from serve_deploy.tuning.measuring.parts import PartSettings, choose_rate, make_twins, measure_parts
from serve_deploy.tuning.measuring.settings import period_seconds, require_arrivals
from serve_deploy.tuning.prediction.joint import rank_together
from serve_deploy.tuning.prediction.ranking import add_boldest, choose_finalists
from serve_deploy.tuning.prediction.together import fullest, measure_together
from serve_deploy.tuning.prediction.twins import Prediction, Twins
from serve_deploy.tuning.race.accuracy import explain_misses
from serve_deploy.tuning.race.conclusion import (
    describe_contestant,
    describe_failures,
    describe_prediction,
    describe_together,
    explain_changes,
    explain_ensembles,
    explain_limits,
    find_effects,
    judge_confirmation,
    reach_verdict,
)
from serve_deploy.tuning.race.confirming import Confirming
from serve_deploy.tuning.race.racing import Contestant, Racing
from serve_deploy.tuning.results.apply import apply_winner
from serve_deploy.tuning.results.result import Confirmation, Effort, FieldChange, TuningResult
from serve_deploy.tuning.servers.overrides import Restored, describe_restored, restore_overrides
from serve_deploy.tuning.servers.remote import remote_servers
from serve_deploy.tuning.servers.servers import Servers, local_servers
from serve_deploy.tuning.task.objective import Goal, read_goal
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.tuning.task.subject import Subject, read_subject
from serve_deploy.version import __version__

_KEPT = 20
# Characters of the models' names in that of a file.
_LONGEST_NAME = 100


def tune(options: TuneOptions, *, progress: Progress = silent) -> TuningResult:
    """Find the configuration that serves models best for an objective, and show that it does.

    UsageError says what cannot be tuned, InvalidModelError that a model does not load as it is, Interrupted that the
    user ended the run. One that is cut short goes on where it was when it is called again with the same options.
    """
    if options.rate is not None and options.objective == "throughput":
        raise UsageError("`rate` fixes the throughput", hint="use it with `objective=latency` or `objective=cost`")
    subject = read_subject(options)
    links = [folder.path for folder in subject.folders.values() if folder.path.is_symlink()]
    if options.apply and links:
        raise UsageError(
            f"`apply` would put a folder in the place of {links[0]}, which is a link",
            hint="tune the repository that it leads to, or leave out `apply`",
        )
    for part in subject.parts:
        require_search({path: values for path, values in part.choose(options).vary if path not in SCHEDULING})
    if options.rate is not None:
        require_arrivals(options, options.rate)
    goal = read_goal(options.objective, options.slo, [target.name for target in subject.targets])
    state = state_folder(options.state)
    name = f"{'+'.join(subject.weights)[:_LONGEST_NAME]}-{fingerprint(options, subject.folders.values())}.jsonl"
    with hold(state / "tune" / name):
        restored = restore_overrides(state, options.endpoint)
        notes = [*map(describe_restored, restored)]
        checkpoint = Checkpoint(state / "tune" / name, fresh=options.fresh, note=notes.append)
        with _open_servers(options, subject, state) as servers, start_workers(1, len(subject.targets)) as workers:
            bench = Bench(subject, servers, checkpoint, workers, progress)
            try:
                result = run_tuning(options, subject, goal, bench, notes)
            except KeyboardInterrupt:
                kept = checkpoint.problem or "the same command goes on with what was measured"
                raise Interrupted(f"interrupted; {kept}") from None
    return apply_winner(result, subject) if options.apply else result


def run_tuning(options: TuneOptions, subject: Subject, goal: Goal, bench: Bench, notes: list[str]) -> TuningResult:
    """All of a tuning on a bench, whose servers end with it; `notes` may become more meanwhile."""
    try:
        return _Run(options, subject, goal, bench, notes).go()
    finally:
        bench.stop_all()


def _open_servers(options: TuneOptions, subject: Subject, state: Path) -> AbstractContextManager[Servers]:
    if options.endpoint is None:
        return local_servers(subject.folders, options.runtime, options.release)
    if options.max_memory_mb or options.runtime or options.objective == "cost":
        raise UsageError(
            "`url` excludes `max_memory_mb`, `runtime` and `objective=cost`: of a running server memory and CPU are "
            "not seen",
            hint="leave them out, or leave out `url` to tune on servers of our own",
        )
    return remote_servers(options.endpoint, subject.folders, state)


def restore(options: TuneOptions) -> tuple[Restored, ...]:
    """Put back what runs that were killed left on running servers, and remove their folders."""
    remove_abandoned(Path(tempfile.gettempdir()))
    return restore_overrides(state_folder(options.state), options.endpoint)


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
        if kept := self.bench.checkpoint.resumed:
            self.bench.progress(f"going on with what was measured before it was cut short ({kept:,} so far)")
        settings = measure_parts(self.bench, self.subject, self.options, self.goal)
        self.notes += settings.notes
        twins = self._make_twins(settings)
        ranked = self._rank(twins, settings)
        racing = Racing(self.bench, self.subject, self.options, self.goal, twins, settings.failed)
        predictions = (twins.predict(self.subject.baseline), *self._finalists(twins, ranked, settings))
        baseline, *runners = racing.qualify([Contestant(each.candidate, each) for each in predictions])
        race = racing.race(baseline, runners)
        winner, confirmed = self._confirm(baseline, racing.pick(baseline, runners, race), twins, settings)
        verdict, explanation = reach_verdict(
            self.goal, baseline, runners, race, confirmed, winner, self.options.min_gain
        )
        own = self.subject.baseline
        with self._simulating():
            current = describe_contestant(baseline, None, self.goal, twins, own)
            rows = [describe_contestant(runners[each.number], each, self.goal, twins, own) for each in race.runners]
            won = rows[runners.index(winner)] if winner and verdict == "better" else None
            changes = self._changes(winner.candidate, twins) if winner and won else ()
            self.notes += explain_misses([baseline, *runners], twins, own)
            self.notes += explain_limits([baseline, *runners], own)
        self.bench.checkpoint.finish()
        return TuningResult(
            tool_version=__version__,
            model=self.subject.name,
            weights=self.subject.weights,
            repository=str(self.options.pulled_from or self.options.repository),
            server=self.bench.servers.description,
            objective=self.options.objective,
            gates=self.options.slo,
            verdict=verdict,
            explanation=explanation,
            baseline=current,
            winner=won,
            changes=changes,
            race=tuple(rows),
            rounds=race.rounds,
            ranked=tuple(describe_prediction(each, twins.rate, own) for each in ranked[:_KEPT]),
            effects=tuple(find_effects(ranked, own)),
            measured_settings=settings.evidence,
            confirmation=confirmed,
            failed=tuple(describe_failures(racing.failed, own)),
            notes=tuple(self.notes),
            effort=self._effort(len(ranked)),
        )

    def _confirm(
        self, baseline: Contestant, winners: Sequence[Contestant], twins: Twins, settings: PartSettings
    ) -> tuple[Contestant | None, Confirmation | None]:
        """The winner that was tried on fresh servers, and what they showed."""
        confirming = Confirming(self.bench, self.options, self.goal, twins, settings.failed)
        pair = confirming.confirm(baseline, winners) if winners else None
        if pair is None:
            return None, None
        confirmed = judge_confirmation(*pair, self.goal, twins.rate, self.options.min_gain)
        return next(each for each in winners if each.candidate == pair[1].candidate), confirmed

    def _changes(self, winner: Candidate, twins: Twins) -> tuple[FieldChange, ...]:
        configs = self.subject.configs(winner)
        old = {folder.name: folder.max_batch_size for folder in self.subject.ensembles}
        new = {name: int(configs[name].max_batch_size) for name in old}
        return *explain_changes(winner, self.subject.baseline, twins), *explain_ensembles(old, new)

    def _make_twins(self, settings: PartSettings) -> Twins:
        twins = make_twins(self.options, self.subject, self.goal, settings)
        if len(self.subject.parts) > 1:
            twins = self._run_together(twins, settings)
        twins = choose_rate(twins, self.options, self.subject.baseline)
        if twins.rate is not None:
            require_arrivals(self.options, twins.rate)
        if twins.rate is not None and self.options.rate is None:
            self.notes.append(
                f"latency is compared at {format_plainly(twins.rate)} requests/s, "
                "half of what the current configuration serves by simulation"
            )
        return twins

    def _run_together(self, twins: Twins, settings: PartSettings) -> Twins:
        def measure(candidate: Candidate, users: int, expected: MixedPoint, purpose: str) -> Measured:
            seconds = period_seconds(self.options, [expected])
            return self.bench.measure(candidate, ClosedLoop(users), f"{purpose}, {users} at a time", seconds=seconds)

        self.bench.plan(3)
        everything = fullest(settings.spaces)
        try:
            fitted, found = measure_together(twins, everything, measure)
        except Fallen as fallen:
            raise InvalidModelError(f"{self.subject.name} could not be measured together: {fallen}") from fallen
        finally:
            self.bench.stop(everything)
        self.notes.append(describe_together(found))
        return fitted

    def _rank(self, twins: Twins, settings: PartSettings) -> tuple[Prediction, ...]:
        self.bench.progress("simulating every configuration")
        with self._simulating():
            return rank_together(twins, settings.spaces)

    def _finalists(self, twins: Twins, ranked: Sequence[Prediction], settings: PartSettings) -> tuple[Prediction, ...]:
        most = self.options.finalists
        chosen = choose_finalists(self._affordable(ranked, settings), self.subject.baseline, most)
        with self._simulating():
            return add_boldest(chosen, replace(twins, goal=self.goal), settings.spaces, most)

    @contextmanager
    def _simulating(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.simulating_seconds += time.monotonic() - begun

    def _affordable(self, ranked: Sequence[Prediction], settings: PartSettings) -> list[Prediction]:
        """Those whose memory, as far as it was measured, stays within the limit."""
        most = (self.options.max_memory_mb or 0) * 1_000_000
        return [each for each in ranked if not most or settings.memory_bytes(each.candidate) <= most]

    def _effort(self, simulated: int) -> Effort:
        wall, starts = time.monotonic() - self.started, self.bench.starts
        measuring, warming = self.bench.measuring_seconds, self.bench.warming_seconds
        return Effort(
            wall_seconds=wall,
            measuring_seconds=measuring,
            warming_seconds=warming,
            simulating_seconds=self.simulating_seconds,
            waiting_seconds=max(0.0, wall - measuring - warming - self.simulating_seconds),
            measurements=self.bench.measurements,
            resumed_measurements=self.bench.checkpoint.resumed,
            servers_started=len(starts),
            mean_start_seconds=sum(starts) / len(starts) if starts else None,
            simulated_configurations=simulated,
        )
