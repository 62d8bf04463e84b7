"""Rules on sequence batching: controls, strategy, implicit state.

Sources: core, GetBooleanSequenceControlProperties, ValidateModelConfig and SequenceBatchScheduler.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serve_deploy.model_config.problem import Problem

_SEQUENCES = "sequence_batching"
_VALUES = ("int32_false_true", "fp32_false_true", "bool_false_true")
_ID_TYPES = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")
_CORRELATION_ID = "CONTROL_SEQUENCE_CORRID"


def check_controls(config: Any) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    names: set[str] = set()
    for index, tensor in enumerate(config.sequence_batching.control_input):
        where = f"{_SEQUENCES}.control_input[{index}]"
        if not tensor.name:
            yield Problem(f"{where}.name", "the control has no name", "write the name of the model's input for it")
        elif tensor.name in names:
            message = f"'{tensor.name}' already carries another control"
            yield Problem(f"{where}.name", message, "give each control its own input")
        names.add(tensor.name)
        for control in tensor.control:
            kind = type(control).Kind.Name(control.kind)
            if kind in seen:
                yield Problem(where, f"{kind} is already carried by '{seen[kind]}'", "keep one input for each kind")
            seen.setdefault(kind, tensor.name)
            if kind == _CORRELATION_ID:
                yield from _check_correlation_id(where, control)
            else:
                yield from _check_values(where, kind, control)


def _check_values(where: str, kind: str, control: Any) -> Iterator[Problem]:
    given = [name for name in _VALUES if getattr(control, name)]
    if len(given) != 1:
        what = "values of " + " and ".join(given) if given else "no values"
        fix = f"write one of {', '.join(_VALUES)}, such as {_VALUES[0]}: [0, 1]"
        yield Problem(where, f"{kind} has {what}", fix)
    elif len(getattr(control, given[0])) != 2:
        count = len(getattr(control, given[0]))
        fix = "write two: what the model gets for false, and for true"
        yield Problem(where, f"{given[0]} of {kind} has {count} {'value' if count == 1 else 'values'}", fix)


def _check_correlation_id(where: str, control: Any) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    if any(getattr(control, name) for name in _VALUES):
        yield Problem(where, f"{_CORRELATION_ID} is neither true nor false", "remove its values")
    name = DataType.Name(control.data_type)
    if name not in _ID_TYPES:
        message = f"{_CORRELATION_ID} has no data_type" if not control.data_type else f"{_CORRELATION_ID} is {name}"
        yield Problem(where, message, f"write data_type: one of {', '.join(_ID_TYPES)}")


def check_strategy(config: Any) -> Iterator[Problem]:
    sequences = config.sequence_batching
    for size in sequences.oldest.preferred_batch_size:
        if not 0 < size <= config.max_batch_size:
            message = f"{size} is not between 1 and max_batch_size ({config.max_batch_size})"
            yield Problem(f"{_SEQUENCES}.oldest.preferred_batch_size", message, "leave it out, or write a size within")
    share = sequences.direct.minimum_slot_utilization
    if not 0 <= share <= 1:
        where = f"{_SEQUENCES}.direct.minimum_slot_utilization"
        yield Problem(where, f"{share:g} is not between 0 and 1", "write the share of slots to wait for, such as 0.5")


def check_states(config: Any) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, state in enumerate(config.sequence_batching.state):
        where = f"{_SEQUENCES}.state[{index}]"
        if len(state.initial_state) > 1:
            fix = "keep one"
            yield Problem(f"{where}.initial_state", f"it has {len(state.initial_state)} initial states", fix)
        elif state.initial_state:
            if state.input_name in seen:
                message = f"'{state.input_name}' already has an initial state"
                yield Problem(f"{where}.input_name", message, "list each state once")
            seen.add(state.input_name)
            yield from _check_initial_state(f"{where}.initial_state", state, state.initial_state[0])


def _check_initial_state(where: str, state: Any, initial: Any) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    dims, wanted = list(initial.dims), list(state.dims)
    if not initial.name:
        yield Problem(where, "it has no name", "write any name")
    if initial.data_type != state.data_type:
        types = [DataType.Name(each.data_type) for each in (initial, state)]
        yield Problem(where, f"it is {types[0]}, the state is {types[1]}", f"write {types[1]}")
    if -1 in dims:
        yield Problem(where, f"its dims {dims} have a free one", "write a size for every dim")
    elif len(dims) != len(wanted) or any(own not in (-1, dim) for dim, own in zip(dims, wanted, strict=True)):
        yield Problem(where, f"its dims are {dims}, the state's {wanted}", "write the state's dims")
    if initial.WhichOneof("state_data") is None:
        yield Problem(where, "it has no data", "write zero_data: true, or a data_file in initial_state/")
