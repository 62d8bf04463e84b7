"""Plans in files: written in the format of the extension, and read back for a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.planning.result import FORMAT_VERSION, DeploymentPlan, ProfilePlan
from serve_deploy.planning.tables import render_csv, render_table
from serve_deploy.rendering.result_files import Writers, check_files, write_files
from serve_deploy.reports.figures import format_list
from serve_deploy.reports.saved_reports import read_document


def _as_json(result: DeploymentPlan) -> str:
    return result.model_dump_json(indent=2) + "\n"


def _as_text(result: DeploymentPlan) -> str:
    # In a file, fields are not turned into flags.
    return render_table(result).replace("`", "")


def _as_page(result: DeploymentPlan) -> str:
    from serve_deploy.planning.page import render_page

    return render_page(result).replace("`", "")


_WRITERS: Writers[DeploymentPlan] = {
    ".json": _as_json,
    ".html": _as_page,
    ".csv": render_csv,
    ".txt": _as_text,
}


@dataclass(frozen=True)
class ChosenPlan:
    """A plan, and the profile that was named to be taken of it, if any."""

    plan: DeploymentPlan
    profile: str | None = None

    def choose(self, gpu: str | None) -> ProfilePlan:
        """The profile that was named, else the only one, else that of the GPU; UsageError where there is none."""
        profiles = {each.profile: each for each in self.plan.profiles}
        name = self.profile or (next(iter(profiles)) if len(profiles) == 1 else gpu)
        if name not in profiles:
            there = format_list(list(profiles))
            raise UsageError(
                f"the plan has no profile {name}" if name else f"the plan has the profiles {there}",
                hint=f"choose {'one of ' if len(profiles) > 1 else ''}{there}: `plan=PROFILE=plan.json`",
            )
        return profiles[name]


def read_plan(path: Path) -> DeploymentPlan:
    """Read a plan that `serve plan --output plan.json` or `--json` wrote; UsageError if it is not one."""
    hint = "make one with: serve plan sweep.json --base N --peak N --output plan.json"
    found = read_document(path, DeploymentPlan, "plan", hint)
    if found.format_version > FORMAT_VERSION:
        raise UsageError(f"{path} was written by a newer serve ({found.tool_version})", hint="update serve")
    return found


def check_destinations(files: Sequence[Path]) -> None:
    """UsageError for a file of an unknown format, DestinationError where one cannot be written."""
    check_files(files, _WRITERS)


def write_plan(result: DeploymentPlan, files: Sequence[Path]) -> None:
    """Write the plan to each file, in the format of its extension."""
    write_files(result, files, _WRITERS)
