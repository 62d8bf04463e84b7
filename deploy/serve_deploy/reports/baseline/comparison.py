"""Is a run slower than a saved one? Load by load, and by nothing that was not measured.

All figures of a comparison share the confidence (Bonferroni): it holds for the comparison as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from serve_deploy.errors import UsageError
from serve_deploy.reports.baseline.changes import (
    SINGLE_RUN_GUARD,
    compare_load,
    leave_uncompared,
)
from serve_deploy.reports.baseline.figures import Pair, count_figures
from serve_deploy.reports.figures import METRIC_NAMES, describe_data, format_list, format_load, format_share
from serve_deploy.reports.generation import Protocol
from serve_deploy.reports.point import Load, Point
from serve_deploy.reports.pooling import group_by_load
from serve_deploy.reports.report import BaselineComparison, LoadTestReport, MetricChange

# That of all figures together.
_CONFIDENCE = 0.95
_SEED = 0


def compare_with_baseline(
    now: LoadTestReport, before: LoadTestReport, name: str, minimum_effect: float = 0.05
) -> BaselineComparison:
    """Compare every load of this run; what cannot be compared has that verdict and the reason.

    Relative changes below `minimum_effect` are ignored.

    UsageError where the reports have no model in common, or a complete run has no load in common with the baseline.
    """
    notes = _require_same_target(now, before, name)
    if not before.complete:
        notes.append(f"The baseline is partial: {before.interrupted_reason or 'its run was interrupted'}.")
    pairs, missing = _match_loads(now, before, name)
    changes = _compare_loads(pairs, minimum_effect)
    for group in missing:
        changes += leave_uncompared(group, "the baseline did not measure this load")
    if not changes:
        notes.append("Not compared: the run ended before any load was measured.")
    if any(change.method == "single_run" for change in changes):
        notes.append(
            "Single runs do not show how much runs differ by chance, so only changes above "
            f"{format_share(SINGLE_RUN_GUARD)} count. Measure each load 5 times to decide."
        )
    notes += [f"Not compared: {line}." for line in list_uncompared(changes)]
    return BaselineComparison(
        baseline=name,
        baseline_started_at=before.points[0].started_at,
        confidence=_CONFIDENCE,
        minimum_effect=minimum_effect,
        regressed=any(change.verdict == "worse" for change in changes),
        changes=tuple(changes),
        notes=tuple(notes),
    )


def list_uncompared(changes: Iterable[MetricChange]) -> list[str]:
    """What could not be compared, a line a load and reason: 'p50 and p99 at 200/s: …'."""
    reasons: dict[tuple[Load, str], list[str]] = {}
    for change in changes:
        if change.verdict == "not_compared":
            reasons.setdefault((change.load, change.explanation), []).append(METRIC_NAMES[change.metric])
    return [
        f"{format_list(metrics)} at {format_load(load)}: {explanation}"
        for (load, explanation), metrics in reasons.items()
    ]


def _require_same_target(now: LoadTestReport, before: LoadTestReport, name: str) -> list[str]:
    for field in ("model", "protocol"):
        found, expected = getattr(before.target, field), getattr(now.target, field)
        if found != expected:
            raise UsageError(
                f"the baseline {name} measured {field} '{found}', this run '{expected}': they cannot be compared",
                hint="measure the baseline again with the same model and protocol",
            )
    if now.points:
        require_same_answers(_list_protocols(now.points), before, name)
    told = {"url": "address", "model_version": "model version", "server_version": "Triton version",
            "model_config_sha256": "model configuration"}  # fmt: skip
    notes = [
        f"The {word} differs from the baseline's ({getattr(before.target, field)} then)."
        for field, word in told.items()
        if getattr(now.target, field) != getattr(before.target, field)
    ]
    # The same data may lie elsewhere.
    if now.data and before.data and now.data != before.data.model_copy(update={"path": now.data.path}):
        notes.append(f"The data differs from the baseline's ({describe_data(before.data)} then).")
    return notes


def require_same_answers(protocols: Sequence[Protocol], before: LoadTestReport, name: str) -> None:
    """UsageError where a run of token streams by these protocols (of whole answers: by none) is not comparable."""
    was = _list_protocols(before.points)
    if before.points and list(protocols) != was:
        raise UsageError(
            f"the baseline {name} measured {_name_answers(was)}, this run {_name_answers(protocols)}: "
            "they cannot be compared",
            hint="measure the baseline again in the same way",
        )


def _list_protocols(points: Iterable[Point]) -> list[Protocol]:
    return list(dict.fromkeys(point.generation.protocol for point in points if point.generation))


def _name_answers(protocols: Sequence[Protocol]) -> str:
    return f"token streams ({', '.join(protocols)})" if protocols else "whole answers"


def _match_loads(now: LoadTestReport, before: LoadTestReport, name: str) -> tuple[list[Pair], list[tuple[Point, ...]]]:
    measured = {group[0].load: group for group in group_by_load(before.points)}
    groups = group_by_load(now.points)
    pairs = [(measured[group[0].load], group) for group in groups if group[0].load in measured]
    if not measured or (not pairs and now.complete):
        raise UsageError(
            f"the baseline {name} was measured at {_list_loads(measured)}, this run at "
            f"{_list_loads(group[0].load for group in groups)}: they have no load in common",
            hint="compare runs of the same load",
        )
    return pairs, [group for group in groups if group[0].load not in measured]


def _list_loads(loads: Iterable[Load]) -> str:
    return ", ".join(format_load(load) for load in loads) or "no load"


def _compare_loads(pairs: Sequence[Pair], minimum_effect: float) -> list[MetricChange]:
    random = np.random.default_rng(_SEED)
    each = 1 - (1 - _CONFIDENCE) / max(1, sum(map(count_figures, pairs)))
    return [change for pair in pairs for change in compare_load(pair, each, minimum_effect, random)]
