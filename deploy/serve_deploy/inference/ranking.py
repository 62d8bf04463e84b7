"""The highest classes of an output, with their labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serve_deploy.tensors.types import DataType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_UNRANKED_TYPES = (DataType.BOOL, DataType.BYTES)
# Triton's classification extension has no scores of these.
_UNLABELLED_TYPES = (*_UNRANKED_TYPES, DataType.FP16, DataType.BF16)


@dataclass(frozen=True)
class ClassScore:
    """One class: its index (None where a model returns labels without), its label ("" for none), and its score."""

    index: int | None
    label: str
    score: float


def can_be_ranked(data_type: DataType) -> bool:
    """Whether one of its values can be higher than another."""
    return data_type not in _UNRANKED_TYPES


def can_be_labelled(data_type: DataType) -> bool:
    """Whether Triton names the classes of such an output."""
    return data_type not in _UNLABELLED_TYPES


def split_rows(values: Array, *, batched: bool) -> Array:
    """One row for each sample, as Triton classifies: without batching the output is one row."""
    return values.reshape(values.shape[0] if batched else 1, -1)


def rank(row: Array, count: int, labels: Mapping[int, str]) -> tuple[ClassScore, ...]:
    """The row's `count` highest values, the highest first and of equal ones the first first; NaN is lowest."""
    import numpy as np

    # Strings of labels are many, rows few: what sorts without negating is right for every type.
    keys = np.where(np.isnan(row), -np.inf, row) if row.dtype.kind == "f" else row
    order = (len(row) - 1 - np.argsort(keys[::-1], kind="stable"))[::-1][:count]
    return tuple(ClassScore(int(index), labels.get(int(index), ""), float(row[index])) for index in order)


def pair_labels(labels: Array, scores: Array, indices: Array | None) -> tuple[tuple[ClassScore, ...], ...]:
    """Rows of labels that a model returns itself, with their scores, in its order."""
    rows = []
    for number, (names, values) in enumerate(zip(labels, scores, strict=True)):
        places = [None] * len(names) if indices is None else [int(place) for place in indices[number]]
        rows.append(
            tuple(
                ClassScore(place, name.decode("utf-8", "replace"), float(value))
                for place, name, value in zip(places, names, values, strict=True)
            )
        )
    return tuple(rows)


def read_labels(classes: Array) -> dict[int, str]:
    """The labels by index, from what Triton's classification extension returns: `score:index:label`."""
    texts = [text.decode("utf-8", "replace").split(":", 2) for text in classes.flat]
    return {int(parts[1]): parts[2] for parts in texts if len(parts) == 3}
