"""Plans of measured sweeps, worked by hand: one replica, a step, money, energy and tokens.

The sweep of `sweeps`: 100, 180, 240, 250 requests/s with 1, 2, 4, 8 in flight; its knee is 240/s under 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from repositories import TENSORS, add_model
from sweeps import SWEEP, TARGET, point, report, streams

from serve_deploy.autoscaling.replay import Delays, daily_curve, replay
from serve_deploy.autoscaling.sweep import MeasuredReplica
from serve_deploy.autoscaling.targets import autoscaler
from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.plan import plan_chart
from serve_deploy.errors import InvalidModelError, ThresholdError, UsageError
from serve_deploy.planning.arrival_traces import Trace
from serve_deploy.planning.options import PlanOptions, ProfileSweep, split_profile
from serve_deploy.planning.plan import plan
from serve_deploy.planning.prices import Prices
from serve_deploy.planning.profiles import sample_curve
from serve_deploy.planning.result import DeploymentPlan, ReplayedCurve
from serve_deploy.planning.saved import ChosenPlan, read_plan, write_plan
from serve_deploy.reports.point import Load, Point
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.repository.model_folder import read_models

Planner = Callable[..., DeploymentPlan]
WATTS = "nv_gpu_power_usage"


@pytest.fixture
def planned(tmp_path: Path) -> Planner:
    """Plan with reports by profile, one a profile, for 100 requests/s that stay, on one replica."""

    def run(*, prices: dict[str, float] | None = None, **options: object) -> DeploymentPlan:
        reports = options.pop("reports", {"l4": report()})
        assert isinstance(reports, dict)
        named = (ProfileSweep(name, each, f"{name}.json") for name, each in reports.items())
        if prices:
            options["prices"] = Prices(currency="EUR", per_hour=prices)
        given: dict[str, object] = {
            "sweeps": tuple(named), "base_rate": 100.0, "peak_rate": 100.0, "slo": ("p99<50ms",), "min_replicas": 1,
            "cold_start_seconds": 60.0,
        }  # fmt: skip
        return plan(PlanOptions(**(given | options)))  # type: ignore[arg-type]

    return run


def curve(found: DeploymentPlan, name: str, profile: int = 0) -> ReplayedCurve:
    return next(each for each in found.profiles[profile].curves if each.name == name)


def with_watts(points: Sequence[Point], *watts: float) -> list[Point]:
    return [each.model_copy(update={"server_metrics": {WATTS: watt}}) for each, watt in zip(points, watts, strict=True)]


def test_a_load_that_one_replica_bears_takes_one_replica(planned: Planner) -> None:
    """A day of 100/s on one replica is 24 replica-hours for 8.64 million inferences, none beyond the objective."""
    day = curve(planned(), "day")
    assert (day.replica_hours, day.requests, day.breach_seconds) == (24.0, 8_640_000, 0.0)


def test_a_step_takes_a_second_replica_from_when_it_is_asked_for(planned: Planner) -> None:
    """From 100/s to 200/s at 600 s.

    The target is 1.93 in flight; 1.1 of it is passed when 9 of the 12 measurements in the window have the 2.67 of
    200/s, the last of them at 640 s. That is seen 30 s later, and the autoscaler looks at 675 s: one replica for 675 s,
    and two for 6525 s.
    """
    step = curve(planned(peak_rate=200.0), "doubling")
    assert step.replicas == ((0.0, 1), (675.0, 2))
    assert step.replica_hours == pytest.approx((675 + 2 * 6525) / 3600)


def test_a_million_inferences_cost_their_replica_hours(planned: Planner) -> None:
    """24 hours at 2.40 are 57.60, for 8.64 million: 6.67 a million."""
    found = planned(prices={"l4": 2.4})
    day = curve(found, "day")
    assert found.currency == "EUR"
    assert day.cost == pytest.approx(57.6)
    assert day.cost_per_million == pytest.approx(57.6 / 8.64)


def test_requests_of_several_rows_are_several_inferences(planned: Planner) -> None:
    """At four rows a request the same day serves four times the inferences."""
    batches = [each.model_copy(update={"load": Load(mode="closed", concurrency=each.load.concurrency, batch_size=4)})
               for each in SWEEP]  # fmt: skip
    assert curve(planned(reports={"l4": report(*batches)}), "day").produced == 4 * 8_640_000


def test_energy_is_the_power_at_each_replicas_rate(planned: Planner) -> None:
    """One replica at 100/s draws 50 W for 24 h: 1.2 kWh; on two at 50/s each, no less than at the lightest load."""
    sweep = report(*with_watts(SWEEP, 50, 70, 90, 95))
    assert curve(planned(reports={"l4": sweep}), "day").energy_kwh == pytest.approx(1.2)
    assert curve(planned(reports={"l4": sweep}, min_replicas=2), "day").energy_kwh == pytest.approx(2.4)
    assert curve(planned(), "day").energy_kwh is None


def test_power_between_two_loads_lies_between_theirs(planned: Planner) -> None:
    """140/s is half-way between 100/s at 50 W and 180/s at 70 W."""
    found = planned(reports={"l4": report(*with_watts(SWEEP, 50, 70, 90, 95))}, base_rate=140.0, peak_rate=140.0)
    assert curve(found, "day").energy_kwh == pytest.approx(0.06 * 24)


def test_profiles_stand_side_by_side(planned: Planner) -> None:
    """One twice as fast needs half the replicas, under the same traffic; what has no price is said."""
    fast = report(
        *(point(c, 2 * rate, p99) for c, rate, p99 in ((1, 100, 12), (2, 180, 20), (4, 240, 45), (8, 250, 90)))
    )
    found = planned(
        reports={"l4": report(), "h100": fast},
        base_rate=1000.0,
        peak_rate=1000.0,
        prices={"l4": 1},
    )
    slow, quick = (curve(found, "day", number) for number in (0, 1))
    assert (slow.fewest_replicas, quick.fewest_replicas) == (6, 3)
    assert quick.cost is None
    assert "no price of h100" in "".join(found.notes)


def test_a_profile_that_cannot_keep_the_objective_says_so(planned: Planner) -> None:
    """It has no scaling but a problem; where no profile has any, the plan fails."""
    slow = report(*(point(c, 10 * c, 900) for c in (1, 2)))
    found = planned(reports={"l4": report(), "cpu": slow})
    assert [each.scaling is None for each in found.profiles] == [False, True]
    assert "no measured load keeps p99" in (found.profiles[1].problem or "")
    with pytest.raises(ThresholdError, match="no measured load keeps p99"):
        planned(reports={"cpu": slow})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_rate": None}, "a plan needs the traffic"),
        ({"base_rate": 300.0}, "no higher than the peak"),
        ({"base_rate": 0.0}, "above 0"),
        ({"min_replicas": 9, "max_replicas": 3}, "exceeds max replicas"),
        ({"reports": {}}, "a plan needs a sweep"),
    ],
)
def test_what_cannot_be_planned_for_is_refused(planned: Planner, options: dict[str, object], message: str) -> None:
    """Each is said in one sentence."""
    with pytest.raises(UsageError, match=message):
        planned(**options)


@pytest.mark.parametrize(
    ("text", "profile", "path"),
    [
        ("l4=x/sweep.json", "l4", "x/sweep.json"),
        ("x/sweep.json", None, "x/sweep.json"),
        ("x/a=b.json", None, "x/a=b.json"),
    ],
)
def test_a_sweep_may_name_its_profile(text: str, profile: str | None, path: str) -> None:
    """What stands before the = is the profile, unless it is part of a path."""
    assert split_profile(text) == (profile, Path(path))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    add_model(tmp_path / "models")
    return tmp_path / "models"


def measured(repository: Path) -> LoadTestReport:
    (model,) = read_models(repository)
    target = TARGET.model_copy(update={"model_config_sha256": model.config_sha256})
    return report().model_copy(update={"target": target})


def test_a_chart_of_a_plan_is_that_of_its_sweep(planned: Planner, repository: Path, tmp_path: Path) -> None:
    """With the same sweep, traffic, objective and cold start, every value of the chart is the same."""
    sweep = measured(repository)
    found = planned(reports={"l4": sweep}, peak_rate=900.0, min_replicas=None, repository=repository)
    write_plan(found, [tmp_path / "plan.json"])
    models = read_models(repository)
    by_plan = plan_chart(models, ChartOptions(plan=ChosenPlan(read_plan(tmp_path / "plan.json"))))
    by_sweep = plan_chart(
        models,
        ChartOptions(
            reports=(sweep,), slo=("p99<50ms",), base_rate=100.0, peak_rate=900.0,
            overrides={"autoscaling": {"coldStartSeconds": 60}},
        ),
    )  # fmt: skip
    assert by_plan.values == by_sweep.values
    assert by_plan.values.autoscaling.max_replicas == 7


def chart(repository: Path, found: DeploymentPlan, **options: object) -> None:
    chosen = ChosenPlan(found, options.pop("profile", None))  # type: ignore[arg-type]
    plan_chart(read_models(repository), ChartOptions(plan=chosen, **options))  # type: ignore[arg-type]


def test_a_plan_of_another_configuration_is_refused(planned: Planner, repository: Path) -> None:
    """The plan is of what was measured: another configuration, or another model, has other targets."""
    with pytest.raises(InvalidModelError, match="the plan measured digits with another configuration"):
        chart(repository, planned())
    found = planned(reports={"l4": measured(repository)})
    add_model(repository, "other")
    with pytest.raises(InvalidModelError, match="clients call other, and the plan was made without it"):
        chart(repository, found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slo": ("p99<9ms",)}, "`plan` excludes `slo`"),
        ({"min_replicas": 3, "peak_rate": 3.0}, "`plan` excludes `min_replicas` and `peak_rate`"),
        ({"growth_percent_per_minute": 30.0}, "`plan` excludes `growth_percent_per_minute`"),
        ({"overrides": {"autoscaling": {"coldStartSeconds": 600}}}, "was tried with a cold start of 60 s"),
        ({"autoscaling": "keda", "prometheus": "http://p"}, "the plan is for hpa"),
        ({"profile": "h100"}, "the plan has no profile h100"),
    ],
)
def test_what_a_plan_was_not_tried_with_is_refused(
    planned: Planner, repository: Path, options: dict[str, object], message: str
) -> None:
    """The targets hold only for the numbers that they were tried with."""
    with pytest.raises(UsageError, match=message):
        chart(repository, planned(reports={"l4": measured(repository)}), **options)


def test_two_sweeps_of_one_model_are_named_by_their_hardware() -> None:
    """Files that are called alike are one profile, unless each is given a name."""
    files = [ProfileSweep("sweep", report(), f"{name}/sweep.json") for name in ("l4", "h100")]
    with pytest.raises(UsageError, match="are both sweeps of digits on the profile sweep") as refused:
        plan(PlanOptions(sweeps=tuple(files), base_rate=100.0, peak_rate=100.0))
    assert "l4=l4/sweep.json" in (refused.value.hint or "")


def test_no_replicas_are_not_planned_for_an_hpa(planned: Planner) -> None:
    """Nothing would ever start one."""
    with pytest.raises(UsageError, match="`min_replicas=0`"):
        planned(min_replicas=0)


def test_a_fleet_that_may_sleep_is_replayed_awake(planned: Planner) -> None:
    """Nobody asks for the first replica on the metrics of replicas, and a note says that it is paid for."""
    found = planned(min_replicas=0, autoscaling="keda")
    assert curve(found, "day").fewest_replicas == 1
    assert any("replayed with one replica at least" in note for note in found.notes)


def test_the_gpu_chooses_the_profile(planned: Planner, repository: Path) -> None:
    """Of several profiles, the one that is called as the chart's GPU is taken, and none by chance."""
    sweep = measured(repository)
    found = planned(reports={"l4": sweep, "h100": sweep})
    chart(repository, found, gpu="l4")
    with pytest.raises(UsageError, match="the plan has the profiles l4 and h100"):
        chart(repository, found)


def test_a_trace_is_replayed_and_paid_for(planned: Planner, tmp_path: Path) -> None:
    """An hour of 100/s is a replica-hour, whose price is spread over 360,000 inferences; base and peak are its own."""
    trace = Trace("arrivals.csv", (0.0,), (100.0,), 3600.0)
    found = planned(trace=trace, base_rate=None, peak_rate=None, prices={"l4": 0.9})
    (profile,) = found.profiles
    assert (found.traffic.base_rate, found.traffic.peak_rate) == (100.0, 100.0)
    assert profile.main_curve is profile.curves[-1]
    last = profile.curves[-1]
    assert (last.name, last.replica_hours, last.requests) == ("trace", 1.0, 360_000)
    assert last.cost_per_million == pytest.approx(2.5)


def test_a_trace_that_outruns_the_replicas_is_said(planned: Planner, tmp_path: Path) -> None:
    """Traffic that trebles at once misses the objective until the replicas are there, however small its share."""
    trace = Trace("arrivals.csv", (0.0, 3600.0, 5400.0), (150.0, 600.0, 150.0), 9000.0)
    found = planned(trace=trace, peak_rate=600.0)
    last = found.profiles[0].curves[-1]
    assert last.within_budget is None
    # Not a second before the load rises, and longer than a cold start.
    assert 60 < last.breach_seconds < 900
    assert "the trace has" in "".join(found.notes)


def test_the_day_is_the_one_that_the_autoscaler_was_tried_on(planned: Planner) -> None:
    """The same curve, targets and delays replayed by hand come to the same replicas."""
    found = planned(peak_rate=900.0)
    targets = found.profiles[0].scaling and found.profiles[0].scaling.targets
    assert targets
    replica = MeasuredReplica(((100.0, 1.0), (180.0, 2.0), (240.0, 4.0), (250.0, 8.0)), knee_rate=240.0)
    by_hand = replay("day", daily_curve(100.0, 900.0), 86_400, autoscaler(targets, 60), replica, Delays(60))
    assert curve(found, "day").replicas == by_hand.replicas


def test_tokens_are_what_a_language_model_is_paid_for(planned: Planner) -> None:
    """A stream of 250 tokens each second is 21.6 million tokens a day, for 24 hours of a replica at 6.48: 7.20."""
    points = [
        streams(*load, succeeded=4).model_copy(update={"failed": 0})  # 1000 tokens of 4 streams
        for load in ((1, 0.5, 100.0, 20.0), (8, 2.0, 150.0, 30.0), (16, 3.2, 300.0, 45.0), (24, 4.0, 400.0, 60.0))
    ]
    found = planned(
        reports={"l4": report(*points)}, slo=("ttft_p99<500ms",), base_rate=1.0, peak_rate=1.0,
        prices={"l4": 6.48},
    )  # fmt: skip
    day = curve(found, "day")
    assert (found.profiles[0].unit, day.replica_hours) == ("output tokens", 24.0)
    assert day.produced == pytest.approx(250 * 86_400)
    assert day.cost_per_million == pytest.approx(24 * 6.48 / 21.6)
    assert found.exporter == "vllm-backend"
    assert "Triton's vLLM backend" in "".join(found.notes)


def called_sums(found: LoadTestReport) -> LoadTestReport:
    return found.model_copy(update={"target": TARGET.model_copy(update={"model": "sums"})})


def test_the_power_of_a_pod_is_its_models_by_their_work(planned: Planner) -> None:
    """Half of the time like one model, whose 50 W are those of 100/s, and half like another with 200 W: 125 W."""
    sweeps = [report(*with_watts(SWEEP, 50, 70, 90, 95)), called_sums(report(*with_watts(SWEEP, 200, 200, 200, 200)))]

    def energy(reports: Sequence[LoadTestReport]) -> float | None:
        pod = tuple(ProfileSweep("l4", each) for each in reports)
        return curve(planned(sweeps=pod, reports={}, mix={"digits": 1, "sums": 1}), "day").energy_kwh

    assert energy(sweeps) == pytest.approx(0.125 * 24)
    assert energy([sweeps[0], called_sums(report())]) is None


def test_models_of_one_profile_share_a_pod(planned: Planner, tmp_path: Path) -> None:
    """Two models alike, each with half of the requests, take what one of them takes."""
    sweeps = tuple(ProfileSweep("l4", each) for each in (report(), called_sums(report())))
    (both,) = planned(sweeps=sweeps, reports={}, mix={"digits": 1, "sums": 1}).profiles
    assert [(model.model, model.share) for model in both.models] == [("digits", 0.5), ("sums", 0.5)]
    assert both.curves == planned().profiles[0].curves


def test_a_spike_of_a_month_is_among_the_samples() -> None:
    """However long a load lasts, its highest and its lowest rate are drawn."""
    month, spike = 31 * 86_400.0, 777_777.0
    samples = sample_curve(lambda second: 900.0 if spike <= second < spike + 60 else 100.0 + (second >= spike), month)
    assert len(samples) <= 240
    assert [rate for _, rate in samples if rate > 101] == [900.0]
    assert samples == tuple(sorted(samples))
    assert samples[0] == (0.0, 100.0)


def test_a_sweep_is_compared_with_the_configuration_of_its_profile(planned: Planner, tmp_path: Path) -> None:
    """A model that has one for the GPU was measured with that, and not with config.pbtxt."""
    folder = add_model(tmp_path / "models")
    (folder / "configs").mkdir()
    (folder / "configs" / "l4.pbtxt").write_text(f'name: "digits" {TENSORS.replace("size: 8", "size: 4")}')
    (model,) = read_models(tmp_path / "models")
    target = TARGET.model_copy(update={"model_config_sha256": model.under("l4").config_sha256})
    measured = report().model_copy(update={"target": target})
    assert planned(reports={"l4": measured}, repository=tmp_path / "models").profiles[0].problem is None
    with pytest.raises(InvalidModelError, match="another configuration"):
        planned(reports={"h100": measured}, repository=tmp_path / "models")
