"""What a chart takes of a saved plan, and what would make that plan untrue."""

from __future__ import annotations

from collections.abc import Sequence

from serve_deploy.autoscaling.scaling_plan import DerivedScaling
from serve_deploy.chart.options import ChartOptions
from serve_deploy.errors import UsageError
from serve_deploy.planning.exporters import Exporter
from serve_deploy.planning.result import ColdStart
from serve_deploy.planning.saved import ChosenPlan
from serve_deploy.planning.scaling_options import DEFAULT_GROWTH_PERCENT
from serve_deploy.planning.traffic import check_planned
from serve_deploy.reports.figures import format_list
from serve_deploy.repository.model_folder import ModelFolder


def check_options(options: ChartOptions, chosen: ChosenPlan) -> None:
    """A plan was tried with all of its numbers: UsageError for an option that would change one."""
    given = {
        "capacity": options.reports, "slo": options.slo, "mix": options.mix, "min_replicas": options.min_replicas,
        "max_replicas": options.max_replicas, "base_rate": options.base_rate, "peak_rate": options.peak_rate,
    }  # fmt: skip
    twice = [f"`{name}`" for name, value in given.items() if value not in (None, ())]
    if options.growth_percent_per_minute not in (DEFAULT_GROWTH_PERCENT, chosen.plan.traffic.growth_percent_per_minute):
        twice.append("`growth_percent_per_minute`")
    if twice:
        raise UsageError(
            f"`plan` excludes {format_list(twice)}: the plan has its own, and was tried with those",
            hint="leave them out, or plan again with them: serve plan",
        )
    planned = chosen.plan.autoscaling
    if options.autoscaling != planned:
        raise UsageError(
            f"the plan is for {planned}, and the chart for `autoscaling={options.autoscaling}`",
            hint=f"`autoscaling={planned}`, or plan again",
        )


def take_plan(
    models: Sequence[ModelFolder], gpu: str | None, chosen: ChosenPlan, exporter: Exporter
) -> tuple[DerivedScaling, ColdStart]:
    """The scaling and the cold start of the profile that fits; an error where it is of other models, or has none."""
    profile = chosen.choose(gpu)
    check_planned(models, profile.models)
    if profile.scaling is None:
        raise UsageError(f"the plan found no targets for {profile.profile}: {profile.problem}", hint=profile.hint)
    if chosen.plan.exporter != exporter.name:
        raise UsageError(
            f"the plan counts streams by {chosen.plan.exporter or 'Triton'}, and the chart by"
            f" {exporter.name or 'Triton'}",
            hint="plan again with `repository`, or with the same `metric`",
        )
    return profile.scaling, profile.cold_start
