"""What the server's /metrics say while it is measured: sampled on a thread of the parent, away from the hot loop."""

from __future__ import annotations

import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from types import TracebackType

_EVERY_SECONDS = 0.5
_TIMEOUT_SECONDS = 2.0
_PENDING = "nv_inference_pending_request_count"
_ADDED_UP = ("_bytes", "_usage", "_limit")


class MetricsSampler:
    """Reads gauges twice a second while its context lasts."""

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
        return {name: sum(values) / len(values) for name, values in sorted(self._samples.items()) if name != _PENDING}

    def pending(self) -> float | None:
        """The model's requests that waited in the server, on average; None where that is not known."""
        values = self._samples.get(_PENDING)
        return sum(values) / len(values) if values else None


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
    return {name: _combine(name, values) for name, values in gauges.items()}


def _combine(name: str, values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) if name == _PENDING or name.endswith(_ADDED_UP) else sum(numbers) / len(numbers)
