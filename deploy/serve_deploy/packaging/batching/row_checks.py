"""Whether a row of a stack is what its single run is, and whether its neighbours change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.packaging.batching.stacks import Row, Trial, shared_places
from serve_deploy.tensors.closeness import SAME_PLACE, SAME_ROW, Difference, compare, element_scale

Array = np.ndarray[Any, Any]
Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Outputs = Mapping[str, Array]
Verdict = Literal["batchable", "not_batchable", "undecided"]

_ALIKE = 2.0  # noise is about as large for every row
_NOISE = 1e-2  # of an element's usual size: what different kernels at another batch size may explain at all


class Refuted(Exception):
    """Why axis 0 is not a batch axis, or why that cannot be decided."""

    def __init__(self, verdict: Verdict, evidence: str) -> None:
        super().__init__(evidence)
        self.verdict: Verdict = verdict
        self.evidence = evidence


@dataclass
class RowChecks:
    """Runs stacks and compares their rows; raises Refuted at the first that is not what it must be.

    `largest` is the largest difference between a row and its single run so far, `sizes` the batches that were run, and
    `noise` the differences of plain rows, and of others, that the size of the batch alone explains.
    """

    run: Run
    scales: Mapping[str, Array | None]
    largest: float = 0.0
    sizes: set[int] = field(default_factory=lambda: {1})
    noise: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})

    @classmethod
    def of(cls, run: Run, rows: Sequence[Row]) -> RowChecks:
        """Measure each output's elements by what the plain rows have there."""
        plain = [row for row in rows if row.is_plain]
        return cls(run, {name: element_scale([row.outputs[name] for row in plain]) for name in plain[0].outputs})

    def check(self, trial: Trial) -> None:
        """Compare every row with its single run, and those that have changed neighbours with themselves."""
        outputs = self._check_stack(trial.stack)
        if trial.other:
            others = self._check_stack(trial.other)
            for index in shared_places(trial):
                self._check_place(trial, index, outputs, others)
        self.sizes.add(len(trial.stack))

    def _check_stack(self, stack: Sequence[Row]) -> Outputs:
        outputs = self._run(stack)
        for name, stacked in outputs.items():
            _check_stacked_shape(name, stacked, [row.outputs[name] for row in stack])
            for index, row in enumerate(stack):
                if not row.poison:
                    self._check_row(stack, index, name, stacked[index : index + 1])
        return outputs

    def _check_row(self, stack: Sequence[Row], index: int, name: str, actual: Array) -> None:
        row = stack[index]
        difference = compare(actual, row.outputs[name], SAME_ROW, scale=self.scales[name])
        if difference.problem and not self._is_noise(stack, index, name, actual, difference):
            raise Refuted(
                "not_batchable",
                f"row {index} of output '{name}' changes with the other rows of its batch of {len(stack)}: "
                f"compared with its single run, it {difference.problem}",
            )
        if row.is_plain:
            self.largest = max(self.largest, difference.relative)

    def _is_noise(self, stack: Sequence[Row], index: int, name: str, actual: Array, difference: Difference) -> bool:
        """Whether the row differs from its single run by the size of the batch alone, not by what else is in it.

        A model whose rounding amplifies the last bit (quantised ones do) differs between batch sizes on its own: then
        the row is the same in a batch of its copies, which a row that the others influence is not.
        """
        row = stack[index]
        if actual.dtype.kind != "f" or (row.is_plain and difference.relative > _NOISE):
            return False
        if difference.relative <= _ALIKE * self.noise[row.is_plain]:
            return True  # much as another row was seen to differ with nothing but its copies beside it
        copies = self._run([row] * len(stack))[name]
        if len(copies) != len(stack) or self._differs(stack, index, name, actual, copies[index : index + 1]):
            return False
        self.noise[row.is_plain] = difference.relative
        return True

    def _check_place(self, trial: Trial, index: int, outputs: Outputs, others: Outputs) -> None:
        for name, stacked in outputs.items():
            one, other = stacked[index : index + 1], others[name][index : index + 1]
            if not trial.stack[index].poison and self._differs(trial.stack, index, name, one, other):
                problem = compare(one, other, SAME_PLACE, scale=self.scales[name]).problem
                raise Refuted(
                    "not_batchable",
                    f"row {index} of output '{name}' changes with the other rows of its batch of {len(trial.stack)}: "
                    f"with others beside it, it {problem}",
                )

    def _differs(self, stack: Sequence[Row], index: int, name: str, one: Array, other: Array) -> bool:
        """Whether a row differs between two batches of one size by more than it does between two runs of one batch."""
        if not compare(one, other, SAME_PLACE).problem:
            return False
        again = self._run(stack)[name][index : index + 1]
        if not compare(again, one, SAME_PLACE).problem:
            return True
        return compare(one, other, SAME_ROW, scale=self.scales[name]).problem is not None

    def _run(self, stack: Sequence[Row]) -> Outputs:
        stacked = {name: np.concatenate([row.sample[name] for row in stack]) for name in stack[0].sample}
        try:
            return self.run(stacked)
        except InvalidModelError as error:
            raise Refuted("not_batchable", f"the model does not run at batch {len(stack)}: {error.message}") from error


def _check_stacked_shape(name: str, stacked: Array, expected: Sequence[Array]) -> None:
    wanted = (len(expected), *expected[0].shape[1:])
    if stacked.shape != wanted:
        raise Refuted(
            "not_batchable",
            f"output '{name}' has shape {list(stacked.shape)} at batch {len(expected)}; one result per row would be "
            f"{list(wanted)}",
        )
