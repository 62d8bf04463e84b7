"""Run a model over sequences: with the state in hand, and in batches as Triton's sequence batcher would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from serve_deploy.implicit_state.layout import State
from serve_deploy.implicit_state.wrapping import ServedState
from serve_deploy.onnx.session import Array, Arrays, Run


def unroll(
    run: Run, states: Sequence[State], steps: Sequence[Arrays], first: Arrays | None = None
) -> Iterator[dict[str, Array]]:
    """All outputs of each step, whose states go into the next; a sequence starts from zeros, or from `first`."""
    carried = {state.input: state.first for state in states} | dict(first or {})
    for step in steps:
        outputs = run({**step, **carried})
        carried = {state.input: outputs[state.output] for state in states}
        yield outputs


class TritonStates:
    """The states of several sequences, kept as Triton keeps them, for a model run outside of it.

    Inputs and outputs are paired by sorted name, and batches are stacked on axis 0 (core: SequenceStates;
    onnxruntime backend: SetInputTensors).
    """

    def __init__(self, run: Run, served: Sequence[ServedState], first: Arrays, *, batched: bool) -> None:
        self._run, self._batched = run, batched
        self._next = dict(
            zip(sorted(each.input for each in served), sorted(each.output for each in served), strict=True)
        )
        self._first = first
        self._kept: dict[int, dict[str, Array]] = {}

    def start(self, sequence: int) -> None:
        """Forget what was kept, as at a request with the start flag."""
        self._kept[sequence] = {name: self._first[name] for name in self._next}

    def infer(self, batch: Mapping[int, Arrays]) -> dict[int, dict[str, Array]]:
        """One execution with one request of each sequence; the outputs that clients see, by sequence."""
        rows = [{**inputs, **self._kept[sequence]} for sequence, inputs in batch.items()]
        stacked = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if self._batched else rows[0]
        outputs = self._run(stacked)
        answers = {}
        for index, sequence in enumerate(batch):
            own = {name: array[index : index + 1] if self._batched else array for name, array in outputs.items()}
            self._kept[sequence] = {entering: own.pop(leaving) for entering, leaving in self._next.items()}
            answers[sequence] = own
        return answers
