"""Sequence batching with implicit state: its part of a configuration, and why each line is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from serve_deploy.errors import UsageError
from serve_deploy.tensors.types import DataType, TensorSpec

SequenceStrategy = Literal["oldest", "direct"]
ControlKind = Literal["START", "END", "READY", "CORRID"]
CONTROL_KINDS: tuple[ControlKind, ...] = ("START", "END", "READY", "CORRID")
INITIAL_STATE_FOLDER = "initial_state"
_SEQUENCES = "sequence_batching"
_BOOLEANS = {DataType.INT32: "int32_false_true", DataType.FP32: "fp32_false_true", DataType.BOOL: "bool_false_true"}
ID_TYPES = (DataType.UINT64, DataType.INT64, DataType.UINT32, DataType.INT32, DataType.BYTES)


@dataclass(frozen=True)
class StateTensor:
    """A state by its tensors in the served file; dims without the batch axis, -1 where it grows.

    `first_dims` are those of its first value, which is zeros unless `first_file` in `initial_state/` holds it.
    """

    input_name: str
    output_name: str
    data_type: DataType
    dims: tuple[int, ...]
    first_dims: tuple[int, ...]
    first_file: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class SequenceControl:
    """An input that Triton fills: whether the request starts or ends its sequence, or which sequence it is."""

    kind: ControlKind
    input_name: str
    data_type: DataType


@dataclass(frozen=True, kw_only=True)
class SequenceBatching:
    """How a model's sequences are served; `given` names the options that the user set.

    `single` are the inputs that have their batch first in a model that runs one sequence at a time.
    """

    states: tuple[StateTensor, ...]
    controls: tuple[SequenceControl, ...] = ()
    strategy: SequenceStrategy = "oldest"
    max_candidate_sequences: int
    max_sequence_idle_us: int
    given: frozenset[str] = frozenset()
    single: frozenset[str] = frozenset()

    @property
    def served_by_triton(self) -> frozenset[str]:
        """The model's inputs and outputs that no client sees."""
        names = [name for state in self.states for name in (state.input_name, state.output_name)]
        return frozenset((*names, *(control.input_name for control in self.controls)))


def as_clients_send(spec: TensorSpec, sequences: SequenceBatching | None) -> TensorSpec:
    """An input with a batch of 1 where each request is one row of one sequence."""
    if sequences is None or spec.name not in sequences.single:
        return spec
    return replace(spec, shape=(1, *spec.shape[1:]))


def control_fits(kind: ControlKind, data_type: DataType) -> bool:
    """Whether Triton can fill an input of this type with the control."""
    return data_type in (ID_TYPES if kind == "CORRID" else _BOOLEANS)


def sequence_message(sequences: SequenceBatching, options: Any, *, batched: bool) -> Mapping[str, Any]:
    """`sequence_batching` in protobuf's JSON form; UsageError where an option of dynamic batching does not apply."""
    for name in ("queue_policy", "priority_levels", "default_priority_level", "response_cache"):
        if getattr(options, name):
            raise UsageError(f"`{name}` does not apply to a model with sequences", hint="leave it out")
    if not batched and (options.max_queue_delay_us or options.preferred_batch_sizes):
        raise UsageError("`max_queue_delay_us` and `preferred_batch_size` need a model that batches")
    return {
        "max_sequence_idle_microseconds": sequences.max_sequence_idle_us,
        sequences.strategy: _strategy(sequences, options),
        "control_input": [_control(control) for control in sequences.controls],
        "state": [_state(state) for state in sequences.states],
    }


def _strategy(sequences: SequenceBatching, options: Any) -> Mapping[str, Any]:
    delay = options.max_queue_delay_us or 0
    if sequences.strategy == "oldest":
        return {
            "max_candidate_sequences": sequences.max_candidate_sequences,
            "preferred_batch_size": options.preferred_batch_sizes,
            "max_queue_delay_microseconds": delay,
            "preserve_ordering": options.preserve_ordering,
        }
    if options.preferred_batch_sizes or options.preserve_ordering:
        raise UsageError(
            "`preferred_batch_size` and `preserve_ordering` need `sequence_strategy=oldest`", hint="leave them out"
        )
    return {"max_queue_delay_microseconds": delay}


def _control(control: SequenceControl) -> Mapping[str, Any]:
    kind = f"CONTROL_SEQUENCE_{control.kind}"
    if control.kind == "CORRID":
        values: Mapping[str, Any] = {"data_type": control.data_type.config_name}
    else:
        key = _BOOLEANS[control.data_type]
        values = {key: [False, True] if control.data_type is DataType.BOOL else [0, 1]}
    return {"name": control.input_name, "control": [{"kind": kind, **values}]}


def _state(state: StateTensor) -> Mapping[str, Any]:
    first = {"data_file": state.first_file} if state.first_file else {"zero_data": True}
    return {
        "input_name": state.input_name,
        "output_name": state.output_name,
        "data_type": state.data_type.config_name,
        "dims": state.dims,
        "initial_state": [
            {"name": "initial", "data_type": state.data_type.config_name, "dims": state.first_dims, **first}
        ],
    }


def explain_sequences(sequences: SequenceBatching) -> Mapping[str, str]:
    """The reason for each line of `sequence_message`, by its path in the configuration."""
    return {f"{_SEQUENCES}{path}": reason for path, reason in _reasons(sequences)}


def _reasons(sequences: SequenceBatching) -> Iterator[tuple[str, str]]:
    def of(option: str, otherwise: str) -> str:
        return "chosen by the user" if option in sequences.given else otherwise

    yield "", "requests of a sequence run in order; Triton keeps the state between them"
    idle = sequences.max_sequence_idle_us / 1e6
    yield (
        ".max_sequence_idle_microseconds",
        (
            f"without a request for {idle:g} s a sequence is forgotten, and its next one is refused"
            + (", chosen by the user" if "max_sequence_idle_us" in sequences.given else "")
        ),
    )
    yield ".direct", of("sequence_strategy", "each sequence has a place of its own in the batch")
    yield ".oldest", of("sequence_strategy", "waiting requests of different sequences run together")
    yield (
        ".oldest.max_candidate_sequences",
        (
            "sequences at once on each instance; further ones wait for one of them to end"
            + (", chosen by the user" if "max_candidate_sequences" in sequences.given else "")
        ),
    )
    yield ".control_input", "Triton fills it, clients do not send it"
    yield ".control_input.control.kind", "found by its name, or given"
    yield ".state", "goes into the next request of the sequence"
    yield ".state.initial_state", "without it the first state is uninitialised memory"
    yield ".state.initial_state.zero_data", "a sequence starts from zeros"
    yield ".state.initial_state.data_file", "a sequence starts from this file"
    for index, state in enumerate(sequences.states):
        yield f".state[{index}].output_name", state.reason
        if -1 in state.dims:
            yield f".state[{index}].dims", "-1 grows with each request"
