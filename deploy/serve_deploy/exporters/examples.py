"""The inputs that a model is exported with, and that its export is compared on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from serve_deploy.errors import UsageError

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
_SIZES = (1, 2, 3, 5, 8)


@dataclass(frozen=True)
class Examples:
    """Samples with whole arrays; where all inputs have as many rows, each has one, and axis 0 is a batch."""

    samples: tuple[Arrays, ...]
    is_batched: bool

    @classmethod
    def of(cls, given: Sequence[Arrays]) -> Examples:
        """Cut samples into rows, where every input of each has as many; UsageError where there are none."""
        arrays = [array for sample in given for array in sample.values()]
        if not arrays or any(array.ndim and not array.shape[0] for array in arrays):
            raise UsageError("`samples` are empty", hint="give each input at least one row")
        lengths = [{array.shape[0] if array.ndim else 0 for array in sample.values()} for sample in given]
        if any(len(each) > 1 or 0 in each for each in lengths):
            return cls(tuple(given), is_batched=False)
        rows = (
            {name: array[index : index + 1] for name, array in sample.items()}
            for sample, (length,) in zip(given, lengths, strict=True)
            for index in range(length)
        )
        return cls(tuple(rows), is_batched=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs, as the first sample has them."""
        return tuple(self.samples[0])

    def in_single_precision(self) -> Examples:
        """With FP32 in place of FP64."""
        return replace(self, samples=tuple({n: _single(a) for n, a in each.items()} for each in self.samples))

    @property
    def are_double(self) -> bool:
        """Whether an input is FP64."""
        return any(array.dtype == np.float64 for array in self.samples[0].values())

    def free_axes(self) -> dict[str, tuple[int, ...]]:
        """The axes of each input that differ between samples, besides the batch."""
        axes: dict[str, tuple[int, ...]] = {}
        for name in self.names:
            shapes = {sample[name].shape for sample in self.samples}
            ranks = {len(shape) for shape in shapes}
            if len(ranks) > 1:
                raise UsageError(f"`samples`: '{name}' has {' and '.join(map(str, sorted(ranks)))} dimensions")
            first = int(self.is_batched)
            axes[name] = tuple(axis for axis in range(first, ranks.pop()) if len({s[axis] for s in shapes}) > 1)
        return axes

    def trace_with(self) -> Arrays:
        """What an exporter follows through the model: two rows of the largest sample, since it may keep a size of 1."""
        largest = max(self.samples, key=lambda sample: sum(array.size for array in sample.values()))
        return _stack([largest, largest]) if self.is_batched else largest

    def batches(self) -> Iterator[tuple[int, Arrays]]:
        """What to compare on, with its number of rows: each sample alone, and batches of rows of one shape."""
        if not self.is_batched:
            yield from ((0, sample) for sample in self.samples)
            return
        groups: dict[tuple[tuple[int, ...], ...], list[Arrays]] = defaultdict(list)
        for sample in self.samples:
            groups[tuple(array.shape for array in sample.values())].append(sample)
        for rows in groups.values():
            yield from ((size, _stack(list(islice(cycle(rows), size)))) for size in _SIZES)


def describe(arrays: Arrays) -> str:
    """Inputs by type and shape: image float32 [2, 3, 224, 224]."""
    return ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in arrays.items())


def _stack(samples: Sequence[Arrays]) -> dict[str, Array]:
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def _single(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float64 else array
