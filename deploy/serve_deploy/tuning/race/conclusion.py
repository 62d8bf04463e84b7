"""What is said of a tuning: its verdict, figures and reasons, from what was simulated and raced. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serve_deploy.calibration.fit import mean_rows
from serve_deploy.reports.figures import format_change, format_number, format_plainly, format_share
from serve_deploy.tuning.candidates.candidate import BATCH, Candidate, describe_value, join_path, split_path
from serve_deploy.tuning.measured import MixedPoint
from serve_deploy.tuning.prediction.together import SLOWER, Together
from serve_deploy.tuning.prediction.twins import Prediction, Twins
from serve_deploy.tuning.race.assurance import CONFIDENCE, Assurance
from serve_deploy.tuning.race.race import Race, Runner
from serve_deploy.tuning.race.racing import (
    MORE_FAILED,
    Contestant,
    assurances,
    describe_failed,
    failed_share,
    is_assured,
)
from serve_deploy.tuning.results.result import (
    AssuredGate,
    Confirmation,
    FieldChange,
    FieldEffect,
    Figures,
    PartFigures,
    TunedCandidate,
    Verdict,
)
from serve_deploy.tuning.task.objective import Goal, describe_score, names

# Below this the twin does not tell an effect from none.
_LEAST_EFFECT = 0.005


def measured_figures(contestant: Contestant, goal: Goal, rate: float | None) -> Figures | None:
    """All rounds of a contestant together; None where it was not raced."""
    if not contestant.found:
        return None
    point = contestant.point
    return Figures(
        concurrency=None if rate else contestant.concurrency,
        request_rate=rate,
        score=goal.score(point),
        throughput=point.throughput,
        p50_us=point.response.p50_us,
        p99_us=point.response.p99_us,
        mean_batch_size=mean_rows(each for found in contestant.found for each in found.executions),
        server_cpu_cores=point.server_cpu_cores,
        memory_bytes=contestant.memory_bytes,
        meets=goal.is_met(point) and contestant.fits,
        parts=_part_figures(point),
    )


def _part_figures(point: MixedPoint) -> tuple[PartFigures, ...]:
    return tuple(
        PartFigures(
            model=part.model,
            throughput=part.throughput,
            p50_us=part.response.p50_us,
            p99_us=part.response.p99_us,
        )
        for part in point.parts
    )


def predicted_figures(prediction: Prediction, rate: float | None) -> Figures:
    """What the twin says of a configuration."""
    point = prediction.point
    return Figures(
        concurrency=prediction.concurrency or None,
        request_rate=rate,
        score=prediction.score,
        throughput=point.throughput,
        p50_us=point.response.p50_us,
        p99_us=point.response.p99_us,
        mean_batch_size=_mean_of(point),
        server_cpu_cores=point.server_cpu_cores,
        meets=prediction.meets,
        parts=_part_figures(point),
    )


def _mean_of(point: MixedPoint) -> float:
    executions = sum(each.executions for each in point.server)
    return sum(each.inferences for each in point.server) / executions if executions else 0.0


def describe_contestant(
    contestant: Contestant, runner: Runner | None, goal: Goal, twins: Twins, baseline: Candidate
) -> TunedCandidate:
    """A row of the result; `runner` is None for the baseline."""
    rate = twins.rate
    low, high = runner.interval if runner else (None, None)
    said = [*goal.missed(contestant.point), *_explain_failed(contestant)] if contestant.found else [contestant.missed]
    missed = "; ".join(said)
    return TunedCandidate(
        values=dict(contestant.candidate.values),
        description=contestant.candidate.describe(baseline),
        predicted=predicted_figures(contestant.prediction, rate),
        measured=measured_figures(contestant, goal, rate),
        curve=tuple(predicted_figures(each, rate) for each in twins.curve(contestant.candidate)),
        gain=runner.gain if runner else None,
        gain_low=low,
        gain_high=high,
        standing=runner.standing if runner else "baseline",
        reason=(runner.reason if runner else "") or missed,
    )


def _explain_failed(contestant: Contestant) -> Iterator[str]:
    if failed_share(contestant.point) > MORE_FAILED:
        yield describe_failed(contestant.point)


def describe_prediction(prediction: Prediction, rate: float | None, baseline: Candidate) -> TunedCandidate:
    """A row of what was simulated."""
    return TunedCandidate(
        values=dict(prediction.candidate.values),
        description=prediction.candidate.describe(baseline),
        predicted=predicted_figures(prediction, rate),
    )


def describe_failures(failed: Mapping[Candidate, str], baseline: Candidate) -> Iterator[TunedCandidate]:
    """What was left out, and why."""
    for candidate, reason in failed.items():
        described = candidate.describe(baseline)
        yield TunedCandidate(values=dict(candidate.values), description=described, standing="left out", reason=reason)


def judge_confirmation(
    baseline: Contestant, winner: Contestant, goal: Goal, rate: float | None, min_gain: float
) -> Confirmation:
    """Whether fresh servers say the same as the race, which one server of each ran: some are quicker than others."""
    own, mine = (measured_figures(each, goal, rate) for each in (baseline, winner))
    if own is None or mine is None:
        raise ValueError("nothing was measured")
    gain = mine.score / own.score - 1 if own.score else math.inf
    meets = mine.meets and is_assured(winner, goal)
    return Confirmation(
        winner=mine.model_copy(update={"meets": meets}),
        baseline=own,
        gain=gain,
        runs=len(winner.found),
        holds=meets and (gain > min_gain or not own.meets),
        gates=tuple(map(_describe_gate, assurances(winner, goal))),
    )


def _describe_gate(assured: Assurance) -> AssuredGate:
    gate = assured.gate
    return AssuredGate(
        model=assured.model,
        expression=gate.expression,
        figure=gate.figure,
        mean=assured.mean,
        bound=assured.bound,
        threshold=gate.threshold,
        unit=gate.unit,
        confidence=CONFIDENCE,
        holds=assured.holds,
    )


def reach_verdict(
    goal: Goal, baseline: Contestant, runners: Sequence[Contestant], race: Race, confirmed: Confirmation | None,
    winner: Contestant | None, min_gain: float,
) -> tuple[Verdict, str]:  # fmt: skip
    """The verdict, and the sentence that explains it."""
    if winner is None or confirmed is None:
        return _explain_none(goal, baseline, runners, race, min_gain)
    told = winner.candidate.describe(baseline.candidate)
    figures, against = (describe_score(goal.objective, each.score) for each in (confirmed.winner, confirmed.baseline))
    if confirmed.holds:
        better = (
            f"score {format_change(confirmed.gain)}" if goal.objective == "latency" else format_change(confirmed.gain)
        )
        return "better", f"{told}: {figures} against {against} ({better}), on fresh servers"
    missed = "" if confirmed.winner.meets else f", and it does not surely hold {names(goal)}"
    if confirmed.winner.meets:
        missed = f" ({format_change(confirmed.gain)}; {format_plainly(min_gain * 100)} % is the least worth a change)"
    return "not confirmed", f"{told} won the race, but not on a fresh server: {figures} against {against}{missed}"


def _explain_none(
    goal: Goal, baseline: Contestant, runners: Sequence[Contestant], race: Race, min_gain: float
) -> tuple[Verdict, str]:
    if not baseline.fits:
        asked = names(goal) or "the limits"
        return "no configuration meets the gates", f"no configuration that was tried meets {asked}"
    ran = [each for each in race.runners if each.differences]
    rounds = "1 round" if race.rounds == 1 else f"{race.rounds} rounds"
    if not ran and any(each.restarts for each in race.runners):
        return "nothing better", (
            f"after {rounds} nothing is decided: gates were missed, and fewer users at a time were to be raced next; "
            "a race of more rounds may decide it"
        )
    if not ran:
        return "nothing better", "no other configuration was left to race"
    best = max(ran, key=lambda each: each.gain)
    told = runners[best.number].candidate.describe(baseline.candidate)
    open_end = "; a race of more rounds may decide it" if best.standing == "undecided" and best.gain > min_gain else ""
    return "nothing better", (
        f"after {rounds} no configuration is better by {format_plainly(min_gain * 100)} % beyond doubt; "
        f"the best of them ({told}) {'lost' if best.gain < 0 else 'gained'} {format_share(abs(best.gain))}{open_end}"
    )


def explain_changes(winner: Candidate, baseline: Candidate, twins: Twins) -> Iterator[FieldChange]:
    """Each field that differs, with what the twin says of the winner without it."""
    own = twins.predict(winner).score
    for path, value in winner.values:
        before = baseline[path]
        if value == before:
            continue
        without = winner.changed({path: before})
        effect = 1 - twins.predict(without).score / own if twins.knows(without) and own else None
        reason = f"tuned, was: {describe_value(split_path(path)[1], before)}"
        if effect is not None and effect >= _LEAST_EFFECT:
            reason += f"; with that {format_share(effect)} worse, by simulation"
        yield FieldChange(path=path, before=before, after=value, effect=effect, reason=reason)


def explain_ensembles(old: Mapping[str, int], new: Mapping[str, int]) -> Iterator[FieldChange]:
    """The ensembles whose max_batch_size became smaller with their members', by name."""
    for name, before in old.items():
        after = new[name]
        if after != before:
            yield FieldChange(
                path=join_path(name, BATCH),
                before=before,
                after=after,
                reason=f"no more than its members take, was: {describe_value(BATCH, before)}",
            )


def explain_limits(contestants: Sequence[Contestant], baseline: Candidate) -> Iterator[str]:
    """That the load generator was the limit in most rounds, where it was: what was measured then is its own pace."""
    limited = [
        each for each in contestants if 2 * sum(found.point.client_bound for found in each.found) > len(each.found)
    ]
    if limited:
        told = ", and ".join(each.candidate.describe(baseline) for each in limited)
        (reason, *_) = limited[0].point.client_bound_reasons or ("as it said",)
        yield (
            f"the load generator was the limit ({reason.partition(';')[0]}) for {told}: "
            "servers may serve more than was measured, and differ more"
        )


def describe_together(together: Together) -> str:
    """What was measured of all models at once, beside what the twin says of it."""
    slower = (
        f"executions took {together.slowdown:.2f} times as long as alone"
        if together.slowdown > SLOWER
        else "executions took no longer than alone"
    )
    return (
        f"all at work, {together.users} at a time, serve {format_number(together.measured)}/s, by the twin "
        f"{format_number(together.simulated)}/s; {slower}"
    )


def find_effects(ranked: Sequence[Prediction], baseline: Candidate) -> Iterator[FieldEffect]:
    """The best score with each value of a field, over all that was simulated and meets the gates."""
    for path, _ in baseline.values:
        best: dict[Any, float] = {}
        for each in ranked:
            if each.meets:
                value = each.candidate[path]
                best[value] = max(each.score, best.get(value, 0.0))
        if len(best) > 1:
            values = sorted(best, key=_by_value)
            yield FieldEffect(path=path, values=tuple(values), scores=tuple(best[value] for value in values))


def _by_value(value: Any) -> tuple[int, tuple[float, ...], str]:
    if value is None:
        return 0, (), ""
    if isinstance(value, tuple):
        return 1, value, ""
    return (1, (value,), "") if isinstance(value, int | float) else (2, (), str(value))
