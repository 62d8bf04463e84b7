"""The inputs that Triton fills: whether a request starts or ends its sequence, and which sequence it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from serve_deploy.errors import UsageError
from serve_deploy.model_config.sequence_batching import CONTROL_KINDS, ControlKind, SequenceControl, control_fits
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

if TYPE_CHECKING:
    from serve_deploy.samples.files import Sample


def find_controls(
    signature: ModelSignature, states: Collection[str], given: Mapping[str, str]
) -> tuple[SequenceControl, ...]:
    """The controls that were given, and inputs that are called START, END, READY or CORRID."""
    inputs = {spec.name: spec for spec in signature.required_inputs if spec.name not in states}
    found = []
    for kind in CONTROL_KINDS:
        name = given.get(kind, kind)
        spec = inputs.get(name)
        if spec is not None and _can_be_filled(kind, spec):
            found.append(SequenceControl(kind, name, spec.data_type))
        elif kind in given:
            known = f"it has: {', '.join(inputs)}" if spec is None else "a control is [1] for each sequence"
            problem = f"the model has no input '{name}'" if spec is None else f"Triton cannot fill {spec}"
            raise UsageError(f"`control={kind}={name}`: {problem}", hint=known)
    return tuple(found)


def _can_be_filled(kind: ControlKind, spec: TensorSpec) -> bool:
    return control_fits(kind, spec.data_type) and spec.shape[-1:] == (1,) and len(spec.shape) <= 2


def control_values(
    signature: ModelSignature, controls: Sequence[SequenceControl], sequence: int, starts: bool, ends: bool
) -> Sample:
    """What Triton puts into the controls of one request."""
    ranks = {spec.name: len(spec.shape) for spec in signature.inputs}
    values: dict[ControlKind, int] = {"START": starts, "END": ends, "READY": True, "CORRID": sequence}
    filled = {}
    for control in controls:
        value = values[control.kind]
        text = control.data_type is DataType.BYTES
        array = np.array([str(value)], dtype=object) if text else np.array([value], control.data_type.numpy_name)
        filled[control.input_name] = array.reshape((1,) * ranks[control.input_name])
    return filled
