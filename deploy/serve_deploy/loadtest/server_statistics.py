"""The server's own account of a period: the difference of Triton's model statistics before and after. Pure."""

from __future__ import annotations

from typing import Any

from serve_deploy.reports.point import ModelStatistics

Document = dict[str, Any]


def statistics_difference(before: list[Document], after: list[Document]) -> ModelStatistics | None:
    """What happened between two answers about one model, over all its versions; None where it is gone."""
    if not after:
        return None
    delta = {key: max(_sum(after, key) - _sum(before, key), 0) for key in _KEYS}
    requests, executions = delta["success", "count"], delta["execution_count", ""]
    inferences = delta["inference_count", ""]
    return ModelStatistics(
        model=str(after[0]["name"]),
        requests=requests,
        inferences=inferences,
        executions=executions,
        failures=delta["fail", "count"],
        queue_us=_mean_us(delta, "queue"),
        compute_input_us=_mean_us(delta, "compute_input"),
        compute_infer_us=_mean_us(delta, "compute_infer"),
        compute_output_us=_mean_us(delta, "compute_output"),
        average_batch_size=inferences / executions if executions else 0.0,
    )


_STAGES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
_KEYS = [
    ("inference_count", ""),
    ("execution_count", ""),
    *((stage, part) for stage in _STAGES for part in ("count", "ns")),
]


def _sum(documents: list[Document], key: tuple[str, str]) -> int:
    name, part = key
    if not part:
        return sum(int(document.get(name, 0)) for document in documents)
    return sum(int(document.get("inference_stats", {}).get(name, {}).get(part, 0)) for document in documents)


def _mean_us(delta: dict[tuple[str, str], int], stage: str) -> float:
    count = delta[stage, "count"]
    return delta[stage, "ns"] / count / 1e3 if count else 0.0
