"""What Triton takes of implicit state without a word, and then answers wrongly or refuses at every request.

Sources: core, SequenceStates::Initialize and OutputState; onnxruntime_backend, SetInputTensors; seen with 2.51.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serve_deploy.model_config.problem import Problem, did_you_mean
from serve_deploy.tensors.types import ModelSignature, TensorSpec

_STATE = "sequence_batching.state"
_START = "CONTROL_SEQUENCE_START"


def check_state_traps(config: Any) -> Iterator[Problem]:
    """Every rule on the states of a configuration alone."""
    states = config.sequence_batching.state
    yield from _check_order(states)
    if states and any(warmup.batch_size for warmup in config.model_warmup):
        message = "a warm-up request has no state: the model does not load, or takes Triton down"
        yield Problem("model_warmup", message, "remove it")
    inputs, outputs = ({tensor.name for tensor in tensors} for tensors in (config.input, config.output))
    for index, state in enumerate(states):
        where = f"{_STATE}[{index}]"
        if state.input_name in inputs:
            message = f"'{state.input_name}' is listed as an input, too"
            yield Problem(f"{where}.input_name", message, "remove it from the inputs: clients do not send a state")
        if state.output_name in outputs and config.max_batch_size > 1:
            message = f"'{state.output_name}' is listed as an output, too: a batch of several sequences then fails"
            yield Problem(f"{where}.output_name", message, "remove it from the outputs, or write max_batch_size: 1")
        yield from _check_size(config, where, state)
        yield from _check_first(config, where, state)
        yield from _check_growable(config, where, state)


def _check_order(states: Any) -> Iterator[Problem]:
    pairs = sorted((state.input_name, state.output_name) for state in states)
    paired = sorted(output for _, output in pairs)
    for (entering, leaving), got in zip(pairs, paired, strict=True):
        if leaving != got:
            message = f"Triton pairs states by sorted name: '{entering}' gets what '{got}' gave, not '{leaving}'"
            fix = "rename them so that both sort alike; serve package --stateful --fix does it in a copy"
            yield Problem(_STATE, message, fix)
            return


def _check_size(config: Any, where: str, state: Any) -> Iterator[Problem]:
    dims = list(state.dims)
    if any(dim == 0 or dim < -1 for dim in dims):
        message = f"'{state.input_name}' has the dims {dims}: every request will fail"
        yield Problem(f"{where}.dims", message, "write sizes of 1 or more, or -1 where it grows")
    elif -1 in dims and config.max_batch_size > 1:
        message = f"'{state.input_name}' grows: sequences of different lengths in one batch get wrong answers"
        yield Problem(f"{where}.dims", message, "write max_batch_size: 0 and complete dims, or a fixed size")


def _check_growable(config: Any, where: str, state: Any) -> Iterator[Problem]:
    groups = config.instance_group
    on_gpus = bool(groups) and all(group.kind == group.KIND_GPU for group in groups)
    if state.use_growable_memory and not (on_gpus and state.use_same_buffer_for_input_output):
        message = "growable memory needs one buffer for input and output, and a GPU: without, every request fails"
        fix = "remove it, or write use_same_buffer_for_input_output: true and instances of KIND_GPU"
        yield Problem(f"{where}.use_growable_memory", message, fix)


def _check_first(config: Any, where: str, state: Any) -> Iterator[Problem]:
    resets = any(
        type(control).Kind.Name(control.kind) == _START
        for tensor in config.sequence_batching.control_input
        for control in tensor.control
    )
    if not state.initial_state and not resets:
        message = f"'{state.input_name}' has no initial_state: it starts from uninitialised memory"
        yield Problem(where, message, "write an initial_state with zero_data: true, or a data_file")


def compare_states(config: Any, signature: ModelSignature) -> Iterator[Problem]:
    """What Triton does not compare when it loads a model: the names, types and dims of its states."""
    for index, state in enumerate(config.sequence_batching.state):
        for kind, name, specs in (
            ("input", state.input_name, signature.inputs),
            ("output", state.output_name, signature.outputs),
        ):
            spec = next((spec for spec in specs if spec.name == name), None)
            where = f"{_STATE}[{index}]"
            if spec is None:
                fix = did_you_mean(name, (spec.name for spec in specs)) or "name the model's own tensors"
                yield Problem(f"{where}.{kind}_name", f"the model has no {kind} '{name}'", fix)
            else:
                yield from _compare(where, config, state, spec)


def _compare(where: str, config: Any, state: Any, spec: TensorSpec) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    here, batched = DataType.Name(state.data_type), config.max_batch_size > 0
    if here != spec.data_type.config_name:
        message = f"'{spec.name}' is {here} here, {spec.data_type.config_name} in the model"
        yield Problem(f"{where}.data_type", message, f"write {spec.data_type.config_name}")
    dims = [-1, *state.dims] if batched else list(state.dims)
    if batched and spec.shape and spec.shape[0] != -1:
        message = f"'{spec.name}' is {list(spec.shape)} in the model: states are stacked on axis 0"
        fix = "write max_batch_size: 0 and complete dims; serve package --stateful --fix moves the batch in a copy"
        yield Problem(f"{where}.dims", message, fix)
    elif not _could_be(dims, spec.shape):
        message = f"'{spec.name}' is {list(spec.shape)} in the model, {dims} here{' with the batch' * batched}"
        yield Problem(f"{where}.dims", message, f"write dims: {list(spec.shape[1:] if batched else spec.shape)}")


def _could_be(dims: list[int], shape: tuple[int, ...]) -> bool:
    return len(dims) == len(shape) and all(-1 in pair or pair[0] == pair[1] for pair in zip(dims, shape, strict=True))
