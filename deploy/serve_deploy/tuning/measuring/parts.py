"""Each tuned model by itself: what was measured of it, its twin, and what is combined of its configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from serve_deploy.tuning.candidates.candidate import Candidate
from serve_deploy.tuning.measuring.bench import Bench
from serve_deploy.tuning.measuring.settings import Measuring, Settings
from serve_deploy.tuning.prediction.ranking import Space, make_space
from serve_deploy.tuning.prediction.twins import PartTwin, Twins
from serve_deploy.tuning.results.result import SettingMeasured
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.tuning.task.subject import Subject


@dataclass(frozen=True)
class PartSettings:
    """What was measured, and what is to be combined, by the model's name in the paths."""

    measured: Mapping[str, Settings]
    spaces: Mapping[str, Space]

    @property
    def evidence(self) -> tuple[SettingMeasured, ...]:
        """All that the twins know."""
        return tuple(each for settings in self.measured.values() for each in settings.evidence)

    @property
    def failed(self) -> dict[Candidate, str]:
        """What could not be measured, and why."""
        return {candidate: why for settings in self.measured.values() for candidate, why in settings.failed.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was asked for and not measured."""
        return tuple(note for settings in self.measured.values() for note in settings.notes)

    def memory_bytes(self, candidate: Candidate) -> int:
        """What a server was seen to use at least: what the largest of the models used alone; 0 where not known."""
        return max(settings.memory_bytes(candidate.of_model(model)) for model, settings in self.measured.items())


def measure_parts(bench: Bench, subject: Subject, options: TuneOptions, goal: Goal) -> PartSettings:
    """Measure every model alone, with the requests that it gets; InvalidModelError where one cannot be."""
    measured, spaces = {}, {}
    for part in subject.parts:
        found = Measuring(bench, part, options, goal).measure_settings()
        measured[part.prefix] = found
        spaces[part.prefix] = make_space(part.choose(options), part.baseline, found.largest_batch, found.counts)
    return PartSettings(measured, spaces)


def make_twins(options: TuneOptions, subject: Subject, goal: Goal, settings: PartSettings) -> Twins:
    """The twins of all candidates, from the times of each model alone."""
    return Twins(
        parts=tuple(
            PartTwin(part.name, part.prefix, settings.measured[part.prefix].services) for part in subject.parts
        ),
        targets=subject.weights,
        goal=goal.with_room,
        limit=options.concurrency,
        rate=options.rate,
        ensembles=tuple(flow.ensemble for flow in subject.flows),
        seed=options.seed,
    )


def choose_rate(twins: Twins, options: TuneOptions, baseline: Candidate) -> Twins:
    """The twins at a rate, for latency: the one that was asked for, or half of what the baseline serves."""
    if options.objective != "latency" or options.rate is not None:
        return twins
    own = replace(twins, goal=Goal("throughput")).predict(baseline)
    return replace(twins, rate=float(f"{own.point.throughput / 2:.2g}"))
