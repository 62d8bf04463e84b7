"""Whether an export answers as the model that it was made from, at several batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve_deploy.errors import InvalidModelError, VerificationError
from serve_deploy.exporters.examples import Arrays, Examples
from serve_deploy.manifest import TensorParity
from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, Difference, are_close, compare

Array = np.ndarray[Any, Any]
Run = Callable[[Arrays], Mapping[str, Array]]


@dataclass(frozen=True)
class Agreement:
    """The batch sizes that were compared, the largest difference of each output, and those that are random."""

    batch_sizes: tuple[int, ...]
    tensors: tuple[TensorParity, ...]
    random_outputs: tuple[str, ...] = ()


def compare_export(original: Run, exported: Run, examples: Examples, what: str) -> Agreement:
    """Run both on every batch; VerificationError where an output differs in shape or by more than FP32 rounds."""
    random = _find_random(original, examples)
    worst: dict[str, Difference] = {}
    sizes = []
    for size, arrays in examples.batches():
        expected = original(arrays)
        where = f"a batch of {size}" if size else "a sample"
        try:
            answers = exported(arrays)
        except InvalidModelError as error:
            raise VerificationError(f"the export of {what} refuses {where}: {error.message}") from error
        for name, own in expected.items():
            if name not in random:
                worst[name] = _larger(worst.get(name), _compare(answers[name], own, name, what, where))
        sizes.append(size)
    parities = (
        TensorParity(name=name, largest_absolute_difference=d.absolute, largest_relative_difference=d.relative)
        for name, d in worst.items()
    )
    return Agreement(tuple(sorted({size for size in sizes if size})), tuple(parities), tuple(sorted(random)))


def _compare(answer: Array, own: Array, name: str, what: str, where: str) -> Difference:
    # scikit-learn's methods return vectors where its exports return columns.
    whole = own[..., None] if answer.shape == (*own.shape, 1) else own
    difference = compare(answer, whole, COMPUTED_ELSEWHERE)
    if difference.problem:
        raise VerificationError(f"the export of {what} answers {where} otherwise: output '{name}' {difference.problem}")
    return difference


def _find_random(original: Run, examples: Examples) -> set[str]:
    """Outputs that the model itself gives otherwise the second time."""
    _size, arrays = next(examples.batches())
    first, again = original(arrays), original(arrays)
    return {name for name, own in first.items() if not are_close(again[name], own, COMPUTED_ELSEWHERE)}


def _larger(one: Difference | None, other: Difference) -> Difference:
    return other if one is None or other.relative > one.relative else one
