"""The winner once more: on fresh servers, and with as many users as it surely bears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.errors import InvalidModelError
from serve_deploy.tuning.candidates.candidate import Candidate
from serve_deploy.tuning.measured import Fallen
from serve_deploy.tuning.measuring.bench import Bench
from serve_deploy.tuning.measuring.settings import period_seconds
from serve_deploy.tuning.prediction.twins import Twins
from serve_deploy.tuning.race.racing import Contestant, assurances, fewer_users, is_assured
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.tuning.task.options import TuneOptions

# Runs on fresh servers, and so many where more of them may show that the gates hold.
_RUNS, _MOST_RUNS = 3, 6
# Configurations and loads that are tried.
_ATTEMPTS, _LOWERED = 5, 3
# What misses a time by less may have done so by chance.
_INDULGENCE = 1.1


@dataclass
class Confirming:
    """Runs each configuration on servers that nothing ran on before, in turn and for longer than in the race.

    `failed` says why a configuration could not be measured.
    """

    bench: Bench
    options: TuneOptions
    goal: Goal
    twins: Twins
    failed: dict[Candidate, str]

    def confirm(self, baseline: Contestant, winners: Sequence[Contestant]) -> tuple[Contestant, Contestant] | None:
        """The baseline, and of the winners the one that serves most and surely holds the gates.

        One that may miss them is tried with fewer users, if that promises more than the other winners do. One that is
        no better on fresh servers gives way to the next. Where none holds the gates, the last one that was tried; None
        where none could be measured.
        """
        self.bench.plan((1 + len(winners)) * _RUNS)
        own, *waiting = (self._again(each, each.concurrency) for each in (baseline, *winners))
        ran: list[Contestant] = []
        for _ in range(_ATTEMPTS):
            if not waiting:
                break
            tried = max(waiting, key=lambda each: each.promise)
            waiting.remove(tried)
            try:
                self._run([own, tried])
                self._run_further(tried)
            except Fallen as fallen:
                self.failed[tried.candidate] = str(fallen)
                continue
            ran.append(tried)
            if not is_assured(tried, self.goal):
                if fewer := fewer_users(tried, self.goal, self.twins):
                    waiting.append(self._again(tried, fewer))
            elif self._is_worth(own, tried):
                break
        sure = [each for each in ran if is_assured(each, self.goal)]
        best = max(sure, key=lambda each: self.goal.score(each.point)) if sure else next(reversed(ran), None)
        return (self._match(own, best), best) if best else None

    def _is_worth(self, own: Contestant, other: Contestant) -> bool:
        """Whether it serves enough more than the baseline, or that is under a load at which it may miss the gates."""
        least = (1 + self.options.min_gain) * self.goal.score(own.point)
        return self.goal.score(other.point) > least or not is_assured(own, self.goal)

    def _match(self, own: Contestant, best: Contestant) -> Contestant:
        """The baseline under the winner's load if it bears that, or under one that it surely bears."""
        for _ in range(_LOWERED):
            ahead = own.fits and not self._is_behind(own, best) and not is_assured(own, self.goal)
            fewer = fewer_users(own, self.goal, self.twins) if ahead else None
            if not fewer:
                break
            # What it serves more it may owe to a load at which it misses a gate now and then.
            own = self._again(own, fewer)
            self._run([own])
        if own.concurrency >= best.concurrency or self.twins.rate:
            return own
        # With some indulgence.
        other = self._again(own, best.concurrency)
        self._run([other])
        bears = self.goal.with_times(_INDULGENCE).is_met(other.point)
        return other if bears and self._is_behind(own, other) else own

    def _is_behind(self, one: Contestant, other: Contestant) -> bool:
        return self.goal.score(one.point) < self.goal.score(other.point)

    def _again(self, contestant: Contestant, users: int) -> Contestant:
        """The same, to be measured anew; with another number of users the twin says what that does to the score."""
        load, score = contestant.concurrency, self.goal.score(contestant.point)
        if users != load and not self.twins.rate:
            server = self.twins.server(contestant.candidate)
            then, now = (
                self.goal.score(self.twins.simulate(contestant.candidate, server, ClosedLoop(each)))
                for each in (users, load)
            )
            score *= then / now if now else 0.0
        return Contestant(
            contestant.candidate,
            contestant.prediction,
            users,
            earlier=(*contestant.earlier, tuple(contestant.found)),
            promise=score,
            fits=contestant.fits,
        )

    def _run(self, contestants: Sequence[Contestant]) -> None:
        """So often that each has its runs, in turn."""
        for number in range(_RUNS):
            for each in contestants if number % 2 == 0 else contestants[::-1]:
                if len(each.found) <= number:
                    self._measure(each)

    def _run_further(self, contestant: Contestant) -> None:
        """While it is only because of the small number of runs that the gates are not sure to hold."""
        while len(contestant.found) < _MOST_RUNS and not is_assured(contestant, self.goal):
            met = all(self.goal.is_met(each.point) for each in contestant.found)
            if not met or not all(each.may_hold for each in assurances(contestant, self.goal)):
                break
            self._measure(contestant)

    def _measure(self, contestant: Contestant) -> None:
        self.bench.stop_all()
        users, run = contestant.concurrency, len(contestant.found) + 1
        purpose = f"confirming, run {run}" + ("" if self.twins.rate else f" with {users} at a time")
        seconds = 2 * period_seconds(self.options, [contestant.prediction.point], self.twins.rate)
        try:
            found = self.bench.measure(contestant.candidate, self.twins.load(users), purpose, seconds=seconds)
            contestant.found.append(found)
        except Fallen as fallen:
            subject = self.bench.subject
            if contestant.candidate != subject.baseline:
                raise
            raise InvalidModelError(f"{subject.name} cannot be measured as it is: {fallen}") from fallen
