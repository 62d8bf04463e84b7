"""What must be known about a model with a state: whether its sequences can share a batch, and that none is mixed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from serve_deploy.errors import UsageError
from serve_deploy.implicit_state.pairing import EVIDENCE
from serve_deploy.implicit_state.proof import (
    SequencesProven,
    count_steps,
    find_idle_states,
    prove_sequences,
    record_sequences,
)
from serve_deploy.implicit_state.wrapping import ServedState
from serve_deploy.manifest import BatchingProof, StateFinding, StateProof
from serve_deploy.model_config.sequence_batching import INITIAL_STATE_FOLDER, SequenceBatching, StateTensor
from serve_deploy.packaging.batching.sample_variants import are_equal
from serve_deploy.packaging.batching.witnesses import prove_batches, read_graph
from serve_deploy.packaging.findings import ModelAnalysis, keep_samples
from serve_deploy.packaging.stateful.model import StatefulModel
from serve_deploy.progress import Progress

if TYPE_CHECKING:
    from serve_deploy.packaging.options import PackageOptions
    from serve_deploy.samples.files import Sample, Samples

_DEFAULT_CANDIDATES = 256
_DEFAULT_IDLE_US = 10_000_000
_MOST_SEQUENCES, _MOST_SENT = 6, 64


@dataclass(frozen=True, kw_only=True)
class StatefulAnalysis(ModelAnalysis):
    """Findings on a model whose state Triton keeps; `state` is what was proven of its sequences."""

    model: StatefulModel
    state: StateProof


def analyse_stateful(stateful: StatefulModel, options: PackageOptions, progress: Progress) -> StatefulAnalysis:
    """Prove the batch over inputs and states, then whole sequences side by side in batches of it."""
    opened = stateful.opened
    progress(f"proving whether sequences of {opened.model.path.name} share a batch")
    batching = _prove_batch(stateful, options)
    _require_controls(stateful, batching)
    progress("comparing sequences with the state in hand")
    proven = _prove_sequences(stateful, batching.max_batch_size)
    kept = keep_samples(_list_sent(stateful))
    sequences = _plan_sequences(stateful, options, batched=batching.max_batch_size > 0)
    whole = stateful.to_served(stateful.samples[0])
    hidden = sequences.served_by_triton
    return StatefulAnalysis(
        opened=opened,
        signature=opened.signature,
        batching=batching,
        samples=kept,
        samples_are_generated=stateful.samples_are_generated,
        metadata=opened.model.metadata,
        returned={name: array.shape for name, array in opened.run(whole).items() if name not in hidden},
        model=stateful,
        state=_record(stateful, proven),
        sequences=sequences,
        state_shapes={name: array.shape for name, array in whole.items() if name in hidden},
        state_files=initial_state_files(stateful, sequences),
    )


def _list_sent(stateful: StatefulModel) -> Samples:
    """What clients send in the first samples, each once."""
    sent: list[Sample] = []
    for sample in map(stateful.client_view, stateful.samples[:_MOST_SENT]):
        if not any(are_equal(sample, other) for other in sent):
            sent.append(sample)
    return tuple(sent)


def _prove_batch(stateful: StatefulModel, options: PackageOptions) -> BatchingProof:
    requested = options.max_batch_size
    if stateful.obstacle is None:
        samples = tuple(map(stateful.to_served, stateful.samples))
        try:
            proof = prove_batches(stateful.opened, read_graph(stateful.opened), samples, requested, None)
        except UsageError as error:
            raise UsageError(error.message, hint="leave the option out") from error
        return proof.model_copy(update={"next_step": None})
    if requested:
        raise UsageError(
            f"`max_batch_size={requested}`: sequences cannot share a batch: {stateful.obstacle}",
            hint=stateful.next_step or "leave the option out",
        )
    return BatchingProof(
        verdict="not_batchable", max_batch_size=0, evidence=stateful.obstacle, next_step=stateful.next_step
    )


def _require_controls(stateful: StatefulModel, batching: BatchingProof) -> None:
    """A control is [1], with the batch before it where the model batches (onnxruntime_backend: Validate…Control)."""
    rank = 2 if batching.max_batch_size else 1
    shapes = {spec.name: spec.shape for spec in stateful.original.signature.inputs}
    why = "`max_batch_size` is 0" if batching.verdict == "batchable" else batching.evidence
    for control in stateful.controls:
        if len(shapes[control.input_name]) != rank:
            raise UsageError(
                f"Triton fills '{control.input_name}' {list(shapes[control.input_name])} only in a model that batches, "
                f"and this one does not: {why}",
                hint=batching.next_step or "`max_batch_size=1` runs one sequence at a time",
            )


def _prove_sequences(stateful: StatefulModel, max_batch_size: int) -> SequencesProven:
    run, states = stateful.original.run, stateful.own_states
    count = min(max(2, max_batch_size), _MOST_SEQUENCES)
    steps = count_steps(run, states, stateful.make_step, count)
    sequences = record_sequences(run, states, stateful.make_step, count, steps, stateful.first)
    proven = prove_sequences(stateful.opened.run, stateful.states, sequences, max_batch_size, stateful.first)
    return replace(proven, without_influence=find_idle_states(run, states, sequences[0], stateful.first))


def _plan_sequences(stateful: StatefulModel, options: PackageOptions, *, batched: bool) -> SequenceBatching:
    asked = options.sequences
    return SequenceBatching(
        states=tuple(_describe_state(each, asked.initial_files, batched=batched) for each in stateful.states),
        controls=stateful.controls,
        strategy=asked.sequence_strategy or "oldest",
        max_candidate_sequences=asked.max_candidate_sequences or _DEFAULT_CANDIDATES,
        max_sequence_idle_us=asked.max_sequence_idle_us or _DEFAULT_IDLE_US,
        single=frozenset() if batched else stateful.rows,
        given=frozenset(name for name, value in vars(asked).items() if value),
    )


def _describe_state(each: ServedState, files: Mapping[str, object], *, batched: bool) -> StateTensor:
    state = each.state
    return StateTensor(
        each.input,
        each.output,
        state.data_type,
        each.shape[1:] if batched else each.shape,
        each.first_shape[1:] if batched else each.first_shape,
        each.input if state.input in files else None,
        f"the next {state.input}: {EVIDENCE[state.evidence]}",
    )


def initial_state_files(stateful: StatefulModel, sequences: SequenceBatching) -> dict[str, bytes]:
    """The files in `initial_state/`, by their path in the model's folder."""
    from serve_deploy.tensors.wire import encode_tensor

    served = {each.input: each for each in stateful.states}
    return {
        f"{INITIAL_STATE_FOLDER}/{tensor.first_file}": encode_tensor(
            tensor.data_type, served[tensor.input_name].to_served(stateful.first[served[tensor.input_name].state.input])
        )
        for tensor in sequences.states
        if tensor.first_file
    }


def _record(stateful: StatefulModel, proven: SequencesProven) -> StateProof:
    return StateProof(
        states=tuple(
            StateFinding(
                input_name=each.input,
                output_name=each.output,
                model_input=each.state.input,
                model_output=each.state.output,
                data_type=each.state.data_type.value,
                shape=each.shape,
                evidence=each.state.evidence,
                is_idle=each.state.input in proven.without_influence,
            )
            for each in stateful.states
        ),
        evidence=stateful.proven_by,
        sequences=proven.sequences,
        steps=proven.steps,
        largest_batch=proven.largest_batch,
        largest_difference=proven.largest_difference,
        bytes_per_sequence=sum(
            prod(each.first_shape) * (each.state.data_type.size_bytes or 0) for each in stateful.states
        ),
    )
