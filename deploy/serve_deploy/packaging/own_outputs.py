"""The model to verify, and what it answers by itself in ONNX Runtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.packaging.parity import compare_tensors
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec
from serve_deploy.tensors.wire import encode_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Sample = Mapping[str, Array]
    Run = Callable[[Sample], Mapping[str, Array]]

_OWN_SECONDS = 30.0


@dataclass(frozen=True)
class Subject:
    """The model to verify, in a repository of its own: `samples` are whole, with 1 on the batch axis if it has one."""

    repository: Path
    name: str
    signature: ModelSignature
    max_batch_size: int
    samples: Sequence[Sample]
    run: Run
    batch_noise: float = 0.0


@dataclass(frozen=True)
class Case:
    """A sample, and the model's own outputs to it as a client would see them."""

    sample: Sample
    expected: Mapping[str, Array]


def run_alone(subject: Subject) -> list[Case]:
    """What the model itself answers: to every sample, or as many as half a minute allows (two at least)."""
    cases: list[Case] = []
    started = time.monotonic()
    for sample in subject.samples:
        cases.append(Case(sample, _own_outputs(subject, sample)))
        if len(cases) > 1 and time.monotonic() - started > _OWN_SECONDS:
            break
    return cases


def _own_outputs(subject: Subject, sample: Sample) -> Mapping[str, Array]:
    """What the model itself returns, shaped as a client sees it."""
    outputs = subject.run(sample)
    return {
        spec.name: _as_client_sees(outputs[spec.name], spec, batched=subject.max_batch_size > 0)
        for spec in subject.signature.outputs
    }


def find_random(subject: Subject, cases: Sequence[Case]) -> frozenset[str]:
    """Outputs that differ between two runs of the model itself, in their values or even in their size."""
    if not cases:
        return frozenset()
    again = _own_outputs(subject, cases[0].sample)
    return frozenset(name for name, own in cases[0].expected.items() if compare_tensors(name, again[name], own).problem)


def _as_client_sees(array: Array, spec: TensorSpec, *, batched: bool) -> Array:
    import numpy as np

    if spec.data_type is DataType.BYTES:
        # Triton's strings end at the first NUL.
        cut = [encode_text(text).split(b"\0")[0] for text in array.flat]
        array = _object_array(cut, array.shape)
    if array.ndim == (1 if batched else 0):
        return np.asarray(array).reshape(*array.shape, 1)
    return array


def _object_array(items: list[bytes], shape: tuple[int, ...]) -> Array:
    import numpy as np

    result = np.empty(len(items), dtype=object)
    result[:] = items
    return result.reshape(shape)
