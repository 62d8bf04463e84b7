"""`serve chart`: a Helm chart for a model repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_cli import chart_options as asked
from serve_cli import output
from serve_cli.chart_text import WrittenChart, print_chart
from serve_cli.options import DryRun, Force, Json, Release, Repository
from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.chart.plan import ChartPlan


def chart(
    repository: Repository,
    directory: asked.Output = Path("deploy-chart"),
    name: asked.Name = None,
    gpu: asked.Gpu = None,
    cloud: asked.Cloud = "",
    source: asked.Source = None,
    autoscaling: asked.Scaler = asked.Autoscaler.hpa,
    minimum: asked.Min = None,
    maximum: asked.Max = None,
    slo: asked.Slo = None,
    capacity: asked.Capacity = None,
    base_rate: asked.BaseRate = None,
    peak_rate: asked.PeakRate = None,
    growth: asked.Growth = 10.0,
    prometheus: asked.Prometheus = None,
    settings: asked.Set = None,
    values: asked.Values = None,
    release: Release = None,
    package: asked.Package = False,
    push: asked.Push = None,
    diff: asked.Diff = False,
    dry_run: DryRun = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write a Helm chart for a model repository, each number with where it came from.

    \b
    serve chart models/ -o deploy-chart --gpu l4 --cloud gke --source s3://bucket/models
    serve chart models/ --slo 'p99<50ms' --capacity sweep.json --peak-rate 2000
    serve chart models/ --diff
    """
    from serve_deploy.chart.plan import ChartRequest, plan_chart
    from serve_deploy.repository.model_folder import read_models

    request = ChartRequest(
        release=release,
        gpu=gpu,
        cloud=cloud,
        source=source,
        autoscaling=autoscaling.value,
        min_replicas=minimum,
        max_replicas=maximum,
        slo_p99_seconds=asked.read_objective(slo),
        base_rate=base_rate,
        peak_rate=peak_rate,
        growth_per_second=growth / 100 / 60,
        prometheus=prometheus,
        report=asked.read_capacity(capacity),
        overrides=asked.read_overrides(values or [], settings or []),
    )
    if push and not push.startswith("oci://"):
        raise UsageError(f"--push {push}: helm pushes to OCI registries", hint="such as --push oci://registry/charts")
    with output.progress() as progress:
        progress(f"reading {repository}")
        models = read_models(repository)
        progress("deriving values")
        plan = plan_chart(models, request)
        result = _write(plan, models, directory, name, package, push, diff=diff, dry_run=dry_run, force=force)
    output.emit(result, as_json=json, render=print_chart)


def _write(
    plan: ChartPlan, models: Any, directory: Path, name: str | None, package: bool, push: str | None, *,
    diff: bool, dry_run: bool, force: bool,
) -> WrittenChart:  # fmt: skip
    from serve_deploy.chart.archive import compare_chart, package_chart
    from serve_deploy.chart.write import build_chart, write_chart
    from serve_deploy.cluster.helm import Helm

    chart_name = name or directory.resolve().name
    files = build_chart(plan, models, chart_name)
    result = WrittenChart(chart_name, directory, False, plan.release, plan.derived, plan.notes)
    if diff:
        return replace(result, changes=compare_chart(files, directory))
    if dry_run:
        return replace(result, values=plan.values.model_dump(mode="json", by_alias=True))
    helm = Helm()
    write_chart(files, directory, force=force, check=helm.check if helm.is_installed else None)
    packed = package_chart(files, directory.resolve().parent) if package or push else None
    pushed = helm.push(packed, push) if push and packed else None
    unchecked = () if helm.is_installed else ("helm is not installed here, so the chart was not rendered as a check",)
    return replace(result, written=True, package=packed, pushed=pushed, notes=plan.notes + unchecked)
