"""Ensembles: a request's way through several models, each with its own queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serve_deploy.twin.clock import Ended, Requests
from serve_deploy.twin.server import Ensemble, Step
from serve_deploy.twin.stations import Node


class EnsembleNode:
    """Sends each request through the steps, and ends it with the last or with the first that fails."""

    def __init__(self, ensemble: Ensemble, nodes: Mapping[str, Node], requests: Requests) -> None:
        self.ends: list[tuple[float, int]] = []
        self.rejected: list[tuple[float, int]] = []
        self._steps, self._nodes, self._requests = ensemble.steps, nodes, requests

    def arrive(self, now: float, request: int) -> None:
        """Start the steps that need no other."""
        _Passage(self._steps, self._nodes, self._requests, request, self._leave).start(now)

    def _leave(self, now: float, request: int, succeeded: bool) -> None:
        (self.ends if succeeded else self.rejected).append((now, request))
        self._requests.end(now, (request,), succeeded)


class _Passage:
    """One request's way through an ensemble."""

    def __init__(
        self, steps: Sequence[Step], nodes: Mapping[str, Node], requests: Requests, request: int, leave: Ended
    ) -> None:
        self._steps, self._nodes, self._requests = steps, nodes, requests
        self._request, self._leave = request, leave
        self._missing = [len(step.after) for step in steps]
        self._left = len(steps)

    def start(self, now: float) -> None:
        for index, missing in enumerate(self._missing):
            if not missing:
                self._begin(now, index)

    def _begin(self, now: float, index: int) -> None:
        priority = self._requests.priorities.get(self._request, 0)
        child = self._requests.add(now, lambda at, _, succeeded: self._step_ended(at, index, succeeded), priority)
        self._nodes[self._steps[index].model].arrive(now, child)

    def _step_ended(self, now: float, index: int, succeeded: bool) -> None:
        if self._left <= 0:
            return
        self._left = self._left - 1 if succeeded else 0
        if not self._left:
            self._leave(now, self._request, succeeded)
            return
        for later, step in enumerate(self._steps):
            if index in step.after:
                self._missing[later] -= 1
                if not self._missing[later]:
                    self._begin(now, later)
