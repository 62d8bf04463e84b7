"""The server's own account of a period: its model statistics before and after, and its /metrics meanwhile."""

from __future__ import annotations

import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from statistics import fmean
from types import TracebackType
from typing import Any

from serve_deploy.reports.point import BatchStatistics, ModelStatistics

Document = dict[str, Any]

_EVERY_SECONDS = 0.5
_TIMEOUT_SECONDS = 2.0
_PENDING = "nv_inference_pending_request_count"
_ADDED_UP = (_PENDING, "_bytes", "_usage", "_limit")


def statistics_difference(before: list[Document], after: list[Document]) -> ModelStatistics | None:
    """What happened between two answers about one model, over all its versions; None where it is gone."""
    if not after:
        return None

    def grown(*path: str) -> int:
        return max(_sum(after, path) - _sum(before, path), 0)

    def mean_us(stage: str) -> float:
        count = grown("inference_stats", stage, "count")
        return grown("inference_stats", stage, "ns") / count / 1e3 if count else 0.0

    inferences, executions = grown("inference_count"), grown("execution_count")
    return ModelStatistics(
        model=str(after[0]["name"]),
        requests=grown("inference_stats", "success", "count"),
        inferences=inferences,
        executions=executions,
        failures=grown("inference_stats", "fail", "count"),
        queue_us=mean_us("queue"),
        compute_input_us=mean_us("compute_input"),
        compute_infer_us=mean_us("compute_infer"),
        compute_output_us=mean_us("compute_output"),
        average_batch_size=inferences / executions if executions else 0.0,
        batches=tuple(_batches(before, after)),
    )


def _batches(before: list[Document], after: list[Document]) -> Iterator[BatchStatistics]:
    """The executions of each batch size between two answers."""
    then, now = _by_batch_size(before), _by_batch_size(after)
    for size in sorted(now):
        executions, spent_ns = (new - old for new, old in zip(now[size], then.get(size, (0, 0)), strict=True))
        if executions > 0:
            yield BatchStatistics(batch_size=size, executions=executions, compute_us=spent_ns / executions / 1e3)


def _by_batch_size(documents: list[Document]) -> dict[int, tuple[int, int]]:
    """Executions, and the nanoseconds that they took, by batch size over all versions."""
    found: dict[int, tuple[int, int]] = {}
    for batch in (batch for document in documents for batch in document.get("batch_stats", ())):
        executions, spent = found.get(size := int(batch["batch_size"]), (0, 0))
        parts = [batch.get(stage, {}) for stage in ("compute_input", "compute_infer", "compute_output")]
        found[size] = (
            executions + int(parts[1].get("count", 0)),
            spent + sum(int(part.get("ns", 0)) for part in parts),
        )
    return found


def _sum(documents: list[Document], path: tuple[str, ...]) -> int:
    total = 0
    for document in documents:
        value: Any = document
        for key in path:
            value = value.get(key, {})
        total += int(value or 0)
    return total


class MetricsSampler:
    """Reads /metrics gauges twice a second, on a thread of the parent, while its context lasts."""

    def __init__(self, url: str | None, model: str) -> None:
        self._url = url
        self._model = model
        self._samples: dict[str, list[float]] = defaultdict(list)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self.problem: str | None = None

    def __enter__(self) -> MetricsSampler:
        if self._url:
            self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._url:
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                with urllib.request.urlopen(self._url or "", timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as given
                    text = answer.read().decode()
                for name, value in read_gauges(text, self._model).items():
                    self._samples[name].append(value)
            except (OSError, ValueError) as error:
                self.problem = f"{self._url} cannot be read: {error}"
            if self._over.wait(_EVERY_SECONDS):
                return

    def means(self) -> dict[str, float]:
        """Each gauge's mean over the samples, by its own name."""
        return {name: fmean(values) for name, values in sorted(self._samples.items()) if name != _PENDING}

    def pending(self) -> float | None:
        """The model's requests that waited in the server, on average; None where that is not known."""
        return fmean(self._samples[_PENDING]) if _PENDING in self._samples else None


def read_gauges(text: str, model: str) -> dict[str, float]:
    """GPU and CPU gauges of an exposition, and this model's pending requests.

    Several GPUs: bytes and watts are added up, utilizations averaged.
    """
    from prometheus_client.parser import text_string_to_metric_families

    gauges: dict[str, list[float]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        if family.type != "gauge" or not family.name.startswith(("nv_gpu_", "nv_cpu_", _PENDING)):
            continue
        for sample in family.samples:
            if family.name != _PENDING or sample.labels.get("model") == model:
                gauges[family.name].append(sample.value)
    return {name: sum(values) if name.endswith(_ADDED_UP) else fmean(values) for name, values in gauges.items()}
