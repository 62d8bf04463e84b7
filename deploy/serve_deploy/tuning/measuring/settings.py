"""Measure little: a few loads on each setting that the twin cannot simulate, at one, two, four … instances."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.reports.figures import format_plainly
from serve_deploy.reports.point import Point
from serve_deploy.tuning.candidates.candidate import (
    BATCH,
    DELAY,
    INSTANCES,
    MODE,
    PREFERRED,
    SCHEDULING,
    THREADS,
    Candidate,
    Setting,
    Value,
)
from serve_deploy.tuning.candidates.search import FEW, TRIALS, count_combinations, search_settings
from serve_deploy.tuning.measured import Fallen, Measured
from serve_deploy.tuning.measuring.bench import Bench
from serve_deploy.tuning.prediction.service import Service, fit_service
from serve_deploy.tuning.results.result import SettingMeasured
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.tuning.task.subject import Part

_MOST_INSTANCES = 8
# Further instances are tried as long as the last ones brought so much.
_LEAST_RISE = 1.05
_MOST_USERS = 256
# A setting whose executions take so much longer, alone and in full batches, is not worth further measurements.
_FAR_SLOWER = 1.5
_EXECUTIONS_A_PERIOD = 20
_LONGEST_PERIOD_SECONDS = 10.0
_FEWEST_ARRIVALS = 10
# With one and two instances; further ones are tried only where they help.
_MEASUREMENTS_A_SETTING = 8


def period_seconds(options: TuneOptions, points: Sequence[Point], rate: float | None = None) -> float:
    """As long as asked for, or as a number of executions takes of a slow model, or of arrivals where few come."""
    slowest = max((point.response.p50_us / 1e6 for point in points), default=0.0)
    arriving = _EXECUTIONS_A_PERIOD / rate if rate else 0.0
    longest = max(_LONGEST_PERIOD_SECONDS, options.period_seconds)
    return min(max(options.period_seconds, _EXECUTIONS_A_PERIOD * slowest, arriving), longest)


def require_arrivals(options: TuneOptions, rate: float) -> None:
    """UsageError where a measurement would have so few requests that a p99 of them says nothing."""
    seconds = period_seconds(options, (), rate)
    if rate * seconds < _FEWEST_ARRIVALS:
        raise UsageError(
            f"at {format_plainly(rate)} requests/s a measurement of {seconds:g} s has too few requests",
            hint=f"`period_seconds={math.ceil(_EXECUTIONS_A_PERIOD / rate)}`, or a higher `rate`",
        )


@dataclass
class Settings:
    """What was measured of each setting: its service times, how many instances to try, and the evidence."""

    services: dict[Setting, Service] = field(default_factory=dict)
    counts: dict[Setting, tuple[int, ...]] = field(default_factory=dict)
    evidence: list[SettingMeasured] = field(default_factory=list)
    failed: dict[Candidate, str] = field(default_factory=dict)
    scores: dict[Setting, float] = field(default_factory=dict)
    # 0 where the model does not batch.
    largest_batch: int = 0
    # What was asked for and not measured.
    notes: list[str] = field(default_factory=list)

    def memory_bytes(self, candidate: Candidate) -> int:
        """What a server with so many instances of the setting was seen to use; 0 where that is not known."""
        return max(
            (
                each.memory_bytes or 0
                for each in self.evidence
                if each.setting == dict(candidate.setting) and each.instances <= candidate.number(INSTANCES)
            ),
            default=0,
        )


class Measuring:
    """Measures the settings of one model, one after the other."""

    def __init__(self, bench: Bench, part: Part, options: TuneOptions, goal: Goal) -> None:
        self._bench, self._part, self._options, self._goal = bench, part, part.choose(options), goal
        # How long one user waits with the file's setting, alone and in full batches, in µs.
        self._alone: list[float] = []

    def measure_settings(self) -> Settings:
        """Measure the file's setting, some others, and those that `vary` makes.

        InvalidModelError where not even the file's own can be measured.
        """
        found = Settings()
        own = self._part.baseline.setting
        others = tuple(dict.fromkeys(self._list_settings()))
        asked = self._asked_choices()
        further = min(count_combinations(asked), max(TRIALS, FEW)) if asked else 0
        for number, setting in enumerate((own, *others)):
            self._bench.plan(_MEASUREMENTS_A_SETTING * (1 + len(others) - number + further))
            self._measure(setting, found)
            while own not in found.services and self._lower_largest_batch():
                self._measure(own, found)
        found.largest_batch = self._part.largest_batch
        if own not in found.services:
            reason = next(iter(found.failed.values()), "")
            raise InvalidModelError(f"{self._part.name} could not be measured as its file says: {reason}")
        if asked:
            search_settings(asked, lambda values: self._score(values, found), seed=self._options.seed)
            if (named := count_combinations(asked)) > FEW:
                found.notes.append(
                    f"{self._part.name}: {min(TRIALS, named)} of the {named:,} combinations that were asked for were "
                    "measured, chosen by what the others served"
                )
        return found

    def _lower_largest_batch(self) -> bool:
        """Halve it, down to the file's: an engine may take no larger ones. False where it is those."""
        smaller = max(self._part.largest_batch // 2, int(self._part.config.max_batch_size))
        is_smaller = smaller < self._part.largest_batch
        self._part = replace(self._part, largest_batch=smaller)
        return is_smaller

    def _score(self, values: Mapping[str, Value], found: Settings) -> float | None:
        """The most that was measured of a setting under any load."""
        setting = self._part.baseline.changed(values).setting
        if setting not in found.scores:
            self._measure(setting, found)
        return found.scores.get(setting)

    def _measure(self, setting: Setting, found: Settings) -> None:
        levels = self._measure_setting(setting, found)
        if not levels:
            return
        service = fit_service(levels, self._part.largest_batch)
        found.services[setting] = service
        found.counts[setting] = self._instance_counts(setting, levels, found)
        found.scores[setting] = max(self._goal.score(each.point) for periods in levels.values() for each in periods)
        model = self._part.prefix
        found.evidence += [_describe(model, setting, count, service, each) for count, each in levels.items()]

    def _list_settings(self) -> Iterator[Setting]:
        """Each that differs from the file's in its threads or in its execution mode."""
        baseline = self._part.baseline
        if not self._part.is_onnx or self._options.keep_threads:
            return
        half = max(1, (os.cpu_count() or 1) // 2)
        asked = dict(self._options.vary)
        for path, value in ((THREADS, 1), (THREADS, half), (MODE, 1)):
            if path not in asked and value != baseline[path]:
                yield baseline.changed({path: value}).setting

    def _asked_choices(self) -> dict[str, tuple[Value, ...]]:
        """What `vary` names of fields that the twin cannot simulate, each with the file's own value too."""
        baseline = self._part.baseline
        return {
            path: tuple(dict.fromkeys((baseline[path], *values)))
            for path, values in self._options.vary
            if path not in SCHEDULING
        }

    @property
    def _asked_counts(self) -> tuple[int, ...]:
        """The instances that `vary` names."""
        asked = dict(self._options.vary).get(INSTANCES, ())
        return tuple(sorted(each for each in asked if isinstance(each, int)))

    def _instance_counts(self, setting: Setting, levels: Mapping[int, object], found: Settings) -> tuple[int, ...]:
        """Those to simulate: what was asked for, or all that was measured within the limit."""
        most = max(levels)
        for count in self._asked_counts:
            if count > most:
                found.failed.setdefault(self._probe(setting, count), "not tried: fewer instances could not be measured")
        limit = self._options.max_instances or most
        return tuple(each for each in self._asked_counts or sorted(levels) if each <= min(limit, most))

    def _measure_setting(self, setting: Setting, found: Settings) -> dict[int, list[Measured]]:
        """Its measurements by instance count: twice as many as long as that helps, or up to what was asked for."""
        levels: dict[int, list[Measured]] = {}
        own, asked = self._part.baseline.number(INSTANCES), max(self._asked_counts, default=0)
        most = max(asked or self._options.max_instances or _MOST_INSTANCES, own)
        best, count = 0.0, 1
        while count <= most:
            candidate = self._probe(setting, count)
            try:
                levels[count] = self._measure_level(candidate, count, thorough=not found.services)
            except Fallen as fallen:
                found.failed[candidate] = str(fallen)
                break
            finally:
                self._bench.stop(candidate)
            highest = max(each.point.throughput for each in levels[count])
            if highest <= _LEAST_RISE * best and count >= max(own, asked):
                break
            best = max(best, highest)
            count = min(count * 2, most) if count < most else most + 1
        return levels

    def _probe(self, setting: Setting, count: int) -> Candidate:
        """The configuration that shows every batch size: the largest one, without a delay."""
        values: dict[str, Value] = {**dict(setting), INSTANCES: count}
        if self._part.largest_batch:
            values |= {BATCH: self._part.largest_batch, DELAY: 0, PREFERRED: None}
        return self._part.baseline.changed(values).placed(self._part.prefix)

    def _measure_level(self, candidate: Candidate, count: int, *, thorough: bool) -> list[Measured]:
        largest = max(self._part.largest_batch, 1)
        periods: list[Measured] = []

        def measure(users: int, rows: int = 1) -> None:
            seconds = period_seconds(self._options, [each.point for each in periods])
            purpose = f"measuring, {users} at a time" + (f", {rows} rows each" if rows > 1 else "")
            periods.append(self._bench.measure(candidate, ClosedLoop(users), purpose, seconds=seconds, rows=rows))

        if count == 1:
            measure(1)
            if largest > 1:
                measure(1, largest)
            self._require_promise(periods)
        most = min(_MOST_USERS, max(2 * largest * count, 4 * count))
        steps = (most // 16, most // 4, most) if thorough else (most // 4, most)
        for users in sorted({max(2 * count, step) for step in steps}):
            measure(users)
        return periods

    def _require_promise(self, periods: Sequence[Measured]) -> None:
        """Fallen where one user waits far longer than with the file's setting, alone and in full batches."""
        means = [each.point.response.mean_us for each in periods]
        if not self._alone:
            self._alone = means
            return
        slower = [mean / own for mean, own in zip(means, self._alone, strict=True)]
        if min(slower) > _FAR_SLOWER:
            raise Fallen(f"not pursued: a request takes {max(slower):.1f} times as long as with the current setting")


def _describe(
    model: str, setting: Setting, count: int, service: Service, periods: Sequence[Measured]
) -> SettingMeasured:
    sizes = _few_sizes(max(service.largest_batch, 1))
    outside = service.outside
    return SettingMeasured(
        model=model,
        setting=dict(setting),
        instances=count,
        batch_sizes=sizes,
        execution_us=tuple(service.times.at(size, count).mean * 1e6 for size in sizes),
        outside_us=(outside.times.mean + outside.latency_seconds) * 1e6,
        outside_workers=outside.workers,
        memory_bytes=max((each.memory_bytes for each in periods if each.memory_bytes), default=None),
    )


def _few_sizes(largest: int) -> tuple[int, ...]:
    """1, 2, 4 … and the largest."""
    powers = (1 << power for power in range(largest.bit_length()))
    return tuple(dict.fromkeys([*powers, largest]))
