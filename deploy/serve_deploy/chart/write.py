"""`serve chart`: derive a chart's values from a repository, build its files, and write, compare or push them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.value_paths import DerivedValue
from serve_deploy.errors import UsageError
from serve_deploy.progress import Progress, silent

if TYPE_CHECKING:
    from serve_deploy.chart.folder import FileChange


@dataclass(frozen=True)
class WrittenChart:
    """Which chart, from which numbers, and what was done: written, packed, pushed, or (with `diff`) compared."""

    name: str
    directory: Path
    written: bool
    release: str
    derived: tuple[DerivedValue, ...]
    notes: tuple[str, ...]
    package: Path | None = None
    pushed: str | None = None
    changes: tuple[FileChange, ...] | None = None
    values: dict[str, Any] | None = None


def write_chart(repository: Path, options: ChartOptions, progress: Progress = silent) -> WrittenChart:
    """Write a Helm chart for a model repository, or say what would be written (`diff`, `dry_run`)."""
    from serve_deploy.chart.build import build_chart
    from serve_deploy.chart.folder import compare_chart, package_chart, write_files
    from serve_deploy.chart.plan import plan_chart
    from serve_deploy.chart.source_check import check_source
    from serve_deploy.cluster.changes.helm import Helm
    from serve_deploy.repository.model_folder import read_models

    if options.push and not options.push.startswith("oci://"):
        raise UsageError(
            f"`push={options.push}`: helm pushes to OCI registries", hint="for example `push=oci://registry/charts`"
        )
    progress(f"reading {repository}")
    models = read_models(repository)
    checked = check_source(repository, options, progress)
    progress("deriving values")
    plan = plan_chart(models, options, checked)
    directory = options.directory
    name = options.name or directory.resolve().name
    files = build_chart(plan, models, name)
    result = WrittenChart(name, directory, False, plan.release, plan.derived, plan.notes)
    if options.diff:
        return replace(result, changes=compare_chart(files, directory))
    if options.dry_run:
        return replace(result, values=plan.values.model_dump(mode="json", by_alias=True))
    helm = Helm()
    write_files(files, directory, force=options.force, check=helm.check if helm.is_installed else None)
    packed = package_chart(files, directory.resolve().parent) if options.package or options.push else None
    pushed = helm.push(packed, options.push) if options.push and packed else None
    unchecked = () if helm.is_installed else ("helm is not installed here, so the chart was not rendered as a check",)
    return replace(result, written=True, package=packed, pushed=pushed, notes=plan.notes + unchecked)
