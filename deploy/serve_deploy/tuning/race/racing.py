"""The race on real servers: answers first, then the load for each, the rounds, and the winner once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.reports.figures import format_share
from serve_deploy.reports.gates import Gate
from serve_deploy.tuning.candidates.candidate import BATCH, Candidate
from serve_deploy.tuning.measured import Fallen, Measured, MixedPoint, pool_points
from serve_deploy.tuning.measuring.bench import Bench
from serve_deploy.tuning.measuring.settings import period_seconds
from serve_deploy.tuning.prediction.twins import Prediction, Twins
from serve_deploy.tuning.race.assurance import Assurance, assure, burden
from serve_deploy.tuning.race.race import FEWEST_ROUNDS, Race, Restarted, run_race
from serve_deploy.tuning.task.objective import Goal, find_concurrency, names
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.tuning.task.subject import Subject

_RESTARTS = 3
# Shares of the users that are tried, on the twin, where a gate needs shorter times.
_FEWER = (0.97, 0.94, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
_SOME_FEWER = 0.85
# Times that are longer than this share of what they were are as long.
_HELPS = 0.95
# Of so many rounds one may miss the gates: what was found has to hold on nine days of ten.
_ROUNDS_A_MISS = 10
# A share of requests that fails by chance.
MORE_FAILED = 0.001
# Answers, and numbers of users until the best is found.
_TRIALS = 4


@dataclass
class Contestant:
    """A configuration in the race, the load that it is raced under, and what was measured.

    `fits` says whether there is a number of users at which the gates hold; `missed` what the fewest had. `earlier` are
    runs under other loads or on other servers, by these: they say how much its figures vary. `promise` is the score
    that is expected of it.
    """

    candidate: Candidate
    prediction: Prediction
    concurrency: int = 1
    found: list[Measured] = field(default_factory=list)
    earlier: tuple[tuple[Measured, ...], ...] = ()
    promise: float = 0.0
    fits: bool = True
    missed: str = ""
    restarts: int = 0

    @property
    def point(self) -> MixedPoint:
        """All of its rounds together."""
        return pool_points([each.point for each in self.found])

    @property
    def memory_bytes(self) -> int | None:
        """The most that its server used."""
        return max((each.memory_bytes for each in self.found if each.memory_bytes), default=None)


@dataclass
class Racing:
    """Races contestants, the baseline first among them; `failed` says why who fell."""

    bench: Bench
    subject: Subject
    options: TuneOptions
    goal: Goal
    twins: Twins
    failed: dict[Candidate, str]

    @property
    def rate(self) -> float | None:
        """Of independent arrivals; None in closed loops."""
        return self.twins.rate

    def qualify(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Those whose answers are right and that meet the gates, each with its best number of users."""
        standing = []
        for number, each in enumerate(contestants):
            self.bench.plan(_TRIALS * (len(contestants) - number))
            try:
                self._compare_answers(each)
                self._choose_load(each)
            except Fallen as fallen:
                if self._is_baseline(each):
                    raise InvalidModelError(f"{self.subject.name} cannot be measured as it is: {fallen}") from fallen
                self.failed[each.candidate] = str(fallen)
                self.bench.stop(each.candidate)
                continue
            standing.append(each)
        self._level_loads(standing)
        return standing

    def _level_loads(self, contestants: Sequence[Contestant]) -> None:
        """Give each the largest load of all that it can bear: none is better for having been asked for more."""
        if self.rate:
            return
        loads = sorted({each.concurrency for each in contestants}, reverse=True)
        for each in contestants:
            for users in (users for users in loads if users > each.concurrency and each.fits):
                if not self.goal.is_bound or self.goal.is_met(self._try(each, users)):
                    each.concurrency = users
                    break

    def _try(self, contestant: Contestant, users: int) -> MixedPoint:
        purpose, seconds = f"choosing loads, {users} at a time", self._seconds(contestant)
        return self.bench.measure(contestant.candidate, ClosedLoop(users), purpose, seconds=seconds).point

    def _is_baseline(self, contestant: Contestant) -> bool:
        return contestant.candidate == self.subject.baseline

    def _seconds(self, contestant: Contestant) -> float:
        return period_seconds(self.options, [contestant.prediction.point], self.rate)

    def _compare_answers(self, contestant: Contestant) -> None:
        """Fallen where answers under load, in batches, are not the file's configuration's to the same requests."""
        if not self.bench.expected or self._is_baseline(contestant):
            return
        users = min(self.options.concurrency, 2 * max(contestant.candidate.largest(BATCH), 1))
        checked = self.bench.measure(
            contestant.candidate,
            ClosedLoop(users),
            "comparing answers",
            seconds=self._seconds(contestant),
            validate=True,
        ).point
        wrong = next((kind for kind in checked.errors if kind.kind == "wrong_output"), None)
        if wrong is None and not checked.succeeded:
            raise Fallen(
                f"no request succeeded: {checked.errors[0].example if checked.errors else 'none was answered'}"
            )
        if wrong:
            raise Fallen(
                f"its answers differ from those of the current configuration: {wrong.example} "
                f"({wrong.count:,} of {checked.ended:,})"
            )

    def _choose_load(self, contestant: Contestant) -> None:
        if self.rate:
            return
        goal, start = self.goal.with_margin, contestant.prediction.concurrency or 1
        if not goal.is_bound:
            # More users wait longer, which nobody minds here.
            contestant.concurrency = start
            return
        contestant.concurrency, point = find_concurrency(
            lambda users: self._try(contestant, users), goal, start=start, limit=self.options.concurrency
        )
        contestant.fits = goal.is_met(point)
        if contestant.fits:
            return
        told = "; ".join(self.goal.missed(point)) or f"{names(self.goal)} holds, but not by 3 %"
        users = "1 request" if contestant.concurrency == 1 else f"{contestant.concurrency} requests"
        contestant.missed = f"{told} with {users} at a time"
        if not self._is_baseline(contestant):
            raise Fallen(contestant.missed)

    def race(self, baseline: Contestant, runners: Sequence[Contestant]) -> Race:
        """Round after round until it is decided."""
        if not runners:
            return Race(None, (), 0)

        self.bench.plan((1 + len(runners)) * self.options.max_rounds)

        def measure(number: int | None, round_number: int) -> float:
            contestant = baseline if number is None else runners[number]
            purpose, seconds = f"racing, round {round_number + 1}", self._seconds(contestant)
            load = self.twins.load(contestant.concurrency)
            found = self.bench.measure(contestant.candidate, load, purpose, seconds=seconds)
            contestant.found.append(found)
            self._require_answers(contestant, baseline)
            self._require_gates(contestant)
            score = self.goal.score(found.point)
            if score <= 0:
                raise Fallen(f"its {self.goal.objective} cannot be measured here")
            return score

        options = self.options
        try:
            return run_race(
                measure, len(runners), min_gain=options.min_gain, max_rounds=options.max_rounds, seed=options.seed
            )
        except Fallen as fallen:
            raise UsageError(f"{self.subject.name} cannot be raced as it is: {fallen}") from fallen

    def _require_answers(self, contestant: Contestant, baseline: Contestant) -> None:
        """Fallen for one that fails more requests than the baseline: those that it answers wait for none of these."""
        if len(contestant.found) < FEWEST_ROUNDS or contestant is baseline or not baseline.found:
            return
        failed, usual = failed_share(contestant.point), failed_share(baseline.point)
        if failed > usual + MORE_FAILED:
            raise Fallen(f"{describe_failed(contestant.point)}, {format_share(usual)} with the current configuration")

    def _require_gates(self, contestant: Contestant) -> None:
        """Take users away from a contestant that misses the gates after all: its load is too high."""
        enough = len(contestant.found) >= FEWEST_ROUNDS and contestant.fits and not self.rate
        if not enough or self._holds(contestant):
            return
        fewer = fewer_users(contestant, self.goal, self.twins)
        if contestant.restarts < _RESTARTS and fewer:
            contestant.restarts += 1
            contestant.concurrency = fewer
            contestant.found.clear()
            raise Restarted
        contestant.fits = False
        if not self._is_baseline(contestant):
            raise Fallen("; ".join(self.goal.missed(contestant.point)))

    def _holds(self, contestant: Contestant) -> bool:
        """Whether the gates hold over all rounds, and in nearly all of them."""
        missed = sum(not self.goal.is_met(each.point) for each in contestant.found)
        return self.goal.is_met(contestant.point) and missed <= max(1, len(contestant.found) // _ROUNDS_A_MISS)

    def meets(self, contestant: Contestant) -> bool:
        """Whether what was raced holds the gates and the memory limit."""
        fits = self._is_affordable(contestant) and contestant.fits
        return fits and bool(contestant.found) and self.goal.is_met(contestant.point)

    def _is_affordable(self, contestant: Contestant) -> bool:
        most, memory = self.options.max_memory_mb, contestant.memory_bytes
        return most is None or memory is None or memory <= most * 1_000_000

    def pick(self, baseline: Contestant, runners: Sequence[Contestant], race: Race) -> list[Contestant]:
        """Who is really better and meets every gate, best first; any that meets them where the file's cannot.

        Those that will miss a gate now and then come last.
        """
        fit = [each for each in race.runners if each.standing != "failed" and self.meets(runners[each.number])]
        baseline.fits = baseline.fits and self._is_affordable(baseline)
        if baseline.fits:
            fit = [each for each in fit if each.standing == "better"]
        ordered = sorted(fit, key=lambda each: (self._may_hold(runners[each.number]), each.gain), reverse=True)
        return [runners[each.number] for each in ordered]

    def _may_hold(self, contestant: Contestant) -> bool:
        return all(each.may_hold for each in assurances(contestant, self.goal))


def failed_share(point: MixedPoint) -> float:
    """The share of the requests that were not answered as they should be."""
    return point.unsuccessful / point.ended if point.ended else 0.0


def describe_failed(point: MixedPoint) -> str:
    """Such as "12 % of its requests failed (unavailable: the queue is full)"."""
    example = f" ({point.errors[0].kind}: {point.errors[0].example})" if point.errors else ""
    return f"{format_share(failed_share(point))} of its requests failed{example}"


def assurances(contestant: Contestant, goal: Goal) -> tuple[Assurance, ...]:
    """What is to be expected of each of its gates on a further run."""
    return assure(goal, [[each.point for each in runs] for runs in (*contestant.earlier, contestant.found)])


def is_assured(contestant: Contestant, goal: Goal) -> bool:
    """Whether the gates held in each run, and will on the next."""
    held = all(goal.is_met(each.point) for each in contestant.found)
    return held and all(each.holds for each in assurances(contestant, goal))


def fewer_users(contestant: Contestant, goal: Goal, twins: Twins) -> int | None:
    """The most users with which, by the twin, times are shorter by what they are too long, or those with the shortest.

    None where fewer users do not help: where batches are full, they often do not make a p99 shorter.
    """
    if twins.rate:
        return None
    excesses = {(each.model, each.gate): max(1.0, each.excess) for each in assurances(contestant, goal)}
    if max(excesses.values(), default=1.0) == 1.0:
        # What is missed is a share, of which the twin knows nothing.
        return round(_SOME_FEWER * contestant.concurrency) if contestant.concurrency > 1 else None
    server = twins.server(contestant.candidate)

    def burdens(users: int) -> dict[tuple[str, Gate], float]:
        point = twins.simulate(contestant.candidate, server, ClosedLoop(users))
        return {(model, gate): burden(gate, gate.read(part)) for model, part, gate in goal.ask(point)}

    now, left = burdens(contestant.concurrency), dict[int, float]()
    for users in dict.fromkeys(round(contestant.concurrency * share) for share in _FEWER):
        if 0 < users < contestant.concurrency:
            then = burdens(users)
            left[users] = max(then[each] * excess / now[each] for each, excess in excesses.items() if now[each])
            if left[users] <= 1:
                return users
    best = min(left, key=lambda users: left[users], default=0)
    return best if best and left[best] < _HELPS * max(excesses.values()) else None
