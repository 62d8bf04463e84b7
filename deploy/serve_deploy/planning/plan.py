"""`serve plan`: from measured sweeps to replicas and targets for a traffic, tried and priced, profile by profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from serve_deploy.errors import ThresholdError, TritonStartError, UsageError
from serve_deploy.planning.cold_start import MeasuredStart, find_cold_start, measure_start
from serve_deploy.planning.exporters import Exporter, choose_exporter, read_metric
from serve_deploy.planning.objectives import lowest_p99_seconds, of_streams
from serve_deploy.planning.options import PlanOptions, ProfileSweep
from serve_deploy.planning.prices import Prices
from serve_deploy.planning.profiles import Conditions, Fleet, plan_profile
from serve_deploy.planning.result import DeploymentPlan, PlannedTraffic, ProfilePlan
from serve_deploy.planning.traffic import by_model, plan_traffic, share_traffic
from serve_deploy.progress import Progress, silent
from serve_deploy.reports.figures import format_list, format_share
from serve_deploy.repository.model_folder import ModelFolder, read_models
from serve_deploy.version import __version__

# A day's budget. The targets need not pass a trace, but it is compared with the same.
_TOLERATED = 0.001
_ASSUMED_EXPORTER = (
    "streams are taken to be counted as Triton's vLLM backend counts them; `repository` or `metric` says otherwise"
)


def plan(options: PlanOptions, *, progress: Progress = silent) -> DeploymentPlan:
    """Plan replicas and targets for each profile by the rules of `serve chart`, and replay and price the load.

    UsageError and InvalidModelError say what cannot be planned with; ThresholdError that no profile keeps the
    objectives.
    """
    if options.min_replicas == 0 and options.autoscaling == "hpa":
        raise UsageError(
            "`min_replicas=0`: replicas that do not run report no metric, so nothing would ever start one",
            hint="at least 1, or `autoscaling=keda` and a trigger upstream of Triton",
        )
    models = read_models(options.repository) if options.repository else ()
    fleets = _read_fleets(options, models)
    exporter = _choose_exporter(options, models, fleets)
    conditions = Conditions(
        traffic=_read_traffic(options),
        slo_p99_seconds=lowest_p99_seconds(options.objectives),
        gates=of_streams(options.objectives),
        exporter=exporter.name,
        keda=options.autoscaling == "keda",
        min_replicas=options.min_replicas,
        max_replicas=options.max_replicas,
        trace=options.trace,
        prices=options.prices,
    )
    started, unstarted = _start_once(options, models, progress)
    planned = []
    for fleet in fleets:
        progress(f"planning {fleet.profile}")
        served = [model.under(fleet.profile) for model in models]
        cold_start = find_cold_start(served, options.cold_start_seconds, started, gpu=fleet.has_gpu)
        planned.append(plan_profile(fleet, cold_start, conditions))
    _require_one(planned)
    return DeploymentPlan(
        tool_version=__version__,
        traffic=conditions.traffic,
        slo=options.slo,
        autoscaling=options.autoscaling,
        exporter=exporter.name,
        currency=options.prices.currency if options.prices else None,
        profiles=tuple(planned),
        notes=(*unstarted, *_note_sleep(options), *_note(planned, options.prices, started, exporter)),
    )


def _read_fleets(options: PlanOptions, models: Sequence[ModelFolder]) -> list[Fleet]:
    if not options.sweeps:
        raise UsageError("a plan needs a sweep", hint="make one: serve loadtest URL -m MODEL -c 1..64 -o sweep.json")
    profiles: dict[str, list[ProfileSweep]] = defaultdict(list)
    for sweep in options.sweeps:
        profiles[sweep.profile].append(sweep)
    return [_read_fleet(profile, sweeps, options, models) for profile, sweeps in profiles.items()]


def _read_fleet(
    profile: str, sweeps: Sequence[ProfileSweep], options: PlanOptions, models: Sequence[ModelFolder]
) -> Fleet:
    models = [model.under(profile) for model in models]
    reports = [sweep.report for sweep in sweeps]
    _require_one_a_model(profile, sweeps)
    files = {sweep.report.target.model: sweep.source for sweep in sweeps}
    if models:
        return Fleet(profile, plan_traffic(models, reports, options.mix), files)
    measured = by_model(reports)
    return Fleet(profile, share_traffic(tuple(measured), measured, options.mix), files)


def _require_one_a_model(profile: str, sweeps: Sequence[ProfileSweep]) -> None:
    seen: dict[str, str] = {}
    for sweep in sweeps:
        model = sweep.report.target.model
        if model in seen:
            raise UsageError(
                f"{seen[model]} and {sweep.source} are both sweeps of {model} on the profile {profile}",
                hint=f"where they are of different hardware, name it: l4={seen[model]} h100={sweep.source}",
            )
        seen[model] = sweep.source


def _start_once(
    options: PlanOptions, models: Sequence[ModelFolder], progress: Progress
) -> tuple[MeasuredStart | None, tuple[str, ...]]:
    """What a start here took; None where none was asked for, or none succeeds, and then a note says why."""
    if options.repository is None or options.cold_start_seconds is not None:
        return None, ()
    try:
        return measure_start(options.repository, models, options.runtime, progress), ()
    except TritonStartError as error:
        reason = error.message.partition("; its last lines:")[0].splitlines()[0]
        return None, (f"the start could not be measured here: {reason}; `cold_start_seconds` takes yours",)


def _choose_exporter(options: PlanOptions, models: Sequence[ModelFolder], fleets: Sequence[Fleet]) -> Exporter:
    """What counts the requests in flight; of streams without a repository, what Triton's vLLM backend exports."""
    if models:
        return choose_exporter(models, options.metric)
    if options.metric:
        return read_metric(options.metric)
    streams = any(point.generation for fleet in fleets for each in fleet.traffic for point in each.report.points)
    return Exporter("vllm-backend", origin=_ASSUMED_EXPORTER) if streams else Exporter()


def _read_traffic(options: PlanOptions) -> PlannedTraffic:
    trace = options.trace
    base, peak = options.base_rate, options.peak_rate
    if trace:
        base = _rounded(trace.base_rate) if base is None else base
        peak = _rounded(trace.peak_rate) if peak is None else peak
    if base is None or peak is None:
        raise UsageError(
            "a plan needs the traffic: `base_rate` and `peak_rate` in requests/s, or a `trace` of it",
            hint="for example `base_rate=100` and `peak_rate=2000`",
        )
    if not 0 < base <= peak:
        raise UsageError(
            f"the base of {base:g} requests/s has to be above 0 and no higher than the peak of {peak:g}",
            hint="`base_rate` is the quietest time, `peak_rate` the busiest",
        )
    return PlannedTraffic(
        base_rate=base,
        peak_rate=peak,
        growth_percent_per_minute=options.growth_percent_per_minute,
        trace=trace.name if trace else None,
    )


def _rounded(rate: float) -> float:
    return float(f"{rate:.4g}")


def _require_one(planned: Sequence[ProfilePlan]) -> None:
    if all(each.problem for each in planned):
        problems = "; ".join(f"{each.profile}: {each.problem}" for each in planned)
        raise ThresholdError(problems if len(planned) > 1 else planned[0].problem or "", hint=planned[0].hint)


def _note_sleep(options: PlanOptions) -> Iterator[str]:
    if options.min_replicas == 0:
        yield "replayed with one replica at least: from none to one is the doing of the trigger upstream of Triton"


def _note(
    planned: Sequence[ProfilePlan], prices: Prices | None, started: MeasuredStart | None, exporter: Exporter
) -> Iterator[str]:
    if exporter.origin == _ASSUMED_EXPORTER:
        yield _ASSUMED_EXPORTER
    unpriced = [each.profile for each in planned if each.price_per_hour is None]
    if prices and unpriced:
        yield f"`prices` has no price of {format_list(unpriced)}"
    yield from started.unanswered if started else ()
    if len({tuple(sorted((each.model, each.share) for each in profile.models)) for profile in planned}) > 1:
        yield "the profiles were measured with different models, so that their costs do not compare"
    for each in planned:
        last = each.main_curve
        if last and last.within_budget is None and last.breach_fraction > _TOLERATED:
            yield (
                f"{each.profile}: the trace has {format_share(last.breach_fraction)} of its requests beyond the"
                " objective; a higher `growth_percent_per_minute` or `min_replicas` leaves more room"
            )
