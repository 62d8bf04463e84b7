"""Which output is the next value of which state: samples to run, and what runs prove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serve_deploy.errors import InvalidModelError, UsageError, VerificationError
from serve_deploy.implicit_state.chunks import CarriedOver, MakeRecording, find_mapping, find_time_axes, record
from serve_deploy.implicit_state.layout import StateLayout
from serve_deploy.implicit_state.pairing import StatePair
from serve_deploy.model_config.sequence_batching import SequenceControl
from serve_deploy.packaging.batching.sample_variants import largest_group
from serve_deploy.packaging.stateful.controls import control_values
from serve_deploy.packaging.stateful.growing import GrowingInputs, draw_growing
from serve_deploy.tensors.types import ModelSignature, TensorSpec

if TYPE_CHECKING:
    from serve_deploy.onnx.session import OpenedModel
    from serve_deploy.packaging.options import PackageOptions
    from serve_deploy.samples.files import Sample, Samples


def find_state_samples(
    opened: OpenedModel, pairs: Sequence[StatePair], controls: Sequence[SequenceControl], options: PackageOptions
) -> Samples:
    """Whole requests, one row each: the user's with states beside them, else generated ones."""
    from serve_deploy.samples.files import read_samples
    from serve_deploy.samples.generation import generate_samples

    generated = generate_samples(opened)
    whole = generated.samples or draw_growing(opened, pairs)
    if options.samples is None:
        if whole:
            return whole
        raise VerificationError(
            f"{opened.model.path} accepted none of the {len(generated.attempts)} inputs tried, such as "
            f"{'; '.join(generated.attempts[:1])}",
            hint="give real inputs with `samples`",
        )
    hidden = {pair.input.name for pair in pairs} | {control.input_name for control in controls}
    seen = tuple(spec for spec in opened.signature.inputs if spec.name not in hidden)
    given = largest_group(read_samples(options.samples, ModelSignature(seen, opened.signature.outputs)))
    if not given:
        raise UsageError(f"`samples`: {options.samples} has no sample of one row", hint="give one sequence's steps")
    beside = whole or (_zeros([spec for spec in opened.signature.required_inputs if spec.name in hidden]),)
    # Few samples still meet different states.
    count = max(len(given), len(beside))
    merged = tuple({**beside[index % len(beside)], **given[index % len(given)]} for index in range(count))
    _require_accepted(opened, merged[0], options.samples)
    return merged


def _zeros(specs: Sequence[TensorSpec]) -> Sample:
    """What stands beside the samples of a model that no generated input suits."""
    return {
        spec.name: np.zeros([1 if dim == -1 else dim for dim in spec.shape], spec.data_type.numpy_name)
        for spec in specs
    }


def _require_accepted(opened: OpenedModel, sample: Sample, path: Path) -> None:
    try:
        opened.run(sample)
    except InvalidModelError as error:
        raise UsageError(
            f"`samples`: the model refuses the first sample of {path}: {error.message}",
            hint="check its shapes and values against what the model was trained on",
        ) from error


def list_recorders(
    opened: OpenedModel,
    layout: StateLayout,
    controls: Sequence[SequenceControl],
    samples: Samples,
    growing: GrowingInputs | None,
) -> list[MakeRecording]:
    """Every way to record a sequence in pieces and in one go."""
    if growing:
        return [growing.record] if growing.takes_several else []
    own = {state.input for state in layout.states}
    filled = control_values(opened.signature, controls, 1, False, False)
    sent = [{name: array for name, array in {**sample, **filled}.items() if name not in own} for sample in samples]
    inputs = [spec for spec in opened.signature.required_inputs if spec.name not in own]
    return [partial(record, sent, axes) for axes in find_time_axes(inputs, layout.rows, opened.model.symbols)]


def prove_mapping(
    opened: OpenedModel, layout: StateLayout, recorders: Sequence[MakeRecording], options: PackageOptions
) -> tuple[StateLayout, str]:
    """What runs prove of the mapping; UsageError where it is another than the one that was given."""
    carried = find_mapping(opened.run, layout.states, recorders)
    if carried is None:
        return layout, ""
    given = dict(options.sequences.state)
    for state in layout.states:
        right = carried.outputs[state.input]
        if right != state.output and state.input in given:
            raise UsageError(
                f"`state={state.input}={state.output}`: a sequence in {carried.steps} pieces then ends otherwise than "
                f"in one go, and ends the same with {state.input}={right}",
                hint=f"`state={state.input}={right}`",
            )
    states = tuple(replace(state, output=carried.outputs[state.input], evidence="runs") for state in layout.states)
    return replace(layout, states=states), _describe_run(carried)


def _describe_run(carried: CarriedOver) -> str:
    return f"a sequence in {carried.steps} pieces ends as in one go, and not where states are lost or exchanged"
