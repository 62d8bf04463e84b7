"""What Triton loads and then refuses request by request: ensembles whose members take fewer rows, inputs or sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serve_deploy.model_config.ensemble_graph import STEP, find_lost_outputs, is_decoupled
from serve_deploy.model_config.problem import Problem, is_ensemble


def check_ensemble_requests(config: Any, models: Mapping[str, Any]) -> Iterator[Problem]:
    """Rows that a member cannot take, inputs that only here are optional, and outputs that a member never returns."""
    for index, step in enumerate(config.ensemble_scheduling.step):
        member = models.get(step.model_name)
        if member is None:
            continue
        if config.max_batch_size and not member.max_batch_size:
            yield from _check_single_rows(f"{STEP}[{index}]", step, member)
        elif member.max_batch_size and not config.max_batch_size:
            yield from _check_fixed_rows(config, index, member, models)
        yield from _check_asked(f"{STEP}[{index}]", step, member)
    yield from _check_optional(config, models)


def note_ensemble_requests(config: Any, models: Mapping[str, Any]) -> Iterator[str]:
    """What requests to the ensemble must know of its members."""
    if not is_ensemble(config):
        return
    members = {step.model_name: models[step.model_name] for step in _steps(config) if step.model_name in models}
    batching = {name: member.max_batch_size for name, member in members.items() if member.max_batch_size}
    if batching and not config.max_batch_size:
        name = min(batching, key=lambda each: batching[each])
        yield f"requests carry their batch axis themselves, up to {batching[name]} rows (max_batch_size of '{name}')"
    for name, member in members.items():
        if member.HasField("sequence_batching"):
            yield f"requests need a sequence ID and flags, since '{name}' keeps sequences"
        if is_decoupled(name, models):
            yield f"it may answer a request many times, since '{name}' does: over gRPC streams, not over HTTP"
    yield from _note_free_sizes(config, members)
    yield from note_partial_requests(config)
    yield from _note_left_out(config, members)


def _check_single_rows(where: str, step: Any, member: Any) -> Iterator[Problem]:
    """A member without batching gets a request's rows as they are, in front of its dims or as the first of them."""
    for kind, mapping in (("input", step.input_map), ("output", step.output_map)):
        for tensor in getattr(member, kind):
            if tensor.name in mapping and tensor.dims[:1] != [-1]:
                effect = "fails" if kind == "input" else "gets another number of rows back"
                message = (
                    f"'{tensor.name}' of the model '{step.model_name}' is {list(tensor.dims)} without batching: "
                    f"a request of two rows {effect}"
                )
                fix = "write max_batch_size: 0 here and complete dims, or let that model take any number of rows"
                yield Problem(f"{where}.{kind}_map", message, fix)
                return


def _check_fixed_rows(config: Any, index: int, member: Any, models: Mapping[str, Any]) -> Iterator[Problem]:
    """An ensemble without batching passes rows on that a batching member counts as its batch."""
    step, most = _steps(config)[index], member.max_batch_size
    for kind, mapping in (("input", step.input_map), ("output", step.output_map)):
        fields = {tensor.name: (f"{kind}[{i}].dims", tensor.dims) for i, tensor in enumerate(getattr(config, kind))}
        if kind == "input":
            fields = {**_find_unbatched(config, models, f"{STEP}[{index}].input_map"), **fields}
        for tensor in getattr(member, kind):
            name = mapping.get(tensor.name, "")
            where, dims = fields.get(name, ("", ()))
            # Of as many dims as the member's they are one row, without a batch axis.
            if len(dims) == len(tensor.dims) + 1 and dims[0] > most:
                message = f"'{name}' has {dims[0]} rows, above the {most} of the model '{step.model_name}'"
                yield Problem(where, message, f"write {most} or less, or -1, first")


def _find_unbatched(config: Any, models: Mapping[str, Any], where: str) -> dict[str, tuple[str, Any]]:
    """Tensors that members without batching write, with their dims."""
    written = [(step, models[step.model_name]) for step in _steps(config) if step.model_name in models]
    return {
        step.output_map[tensor.name]: (where, tensor.dims)
        for step, member in written
        for tensor in member.output
        if not member.max_batch_size and tensor.name in step.output_map
    }


def _check_asked(where: str, step: Any, member: Any) -> Iterator[Problem]:
    """A member that is an ensemble is asked for the outputs that are mapped, and may not find the way to them."""
    if is_ensemble(member) and (lost := find_lost_outputs(member, set(step.output_map))):
        others = " and ".join(f"'{each.name}'" for each in member.output if each.name not in step.output_map)
        name = step.model_name
        message = (
            f"every request fails: the ensemble '{name}' cannot compute '{lost[0]}' unless asked for {others}, too"
        )
        fix = f"map {others} as well, or remove from the outputs of '{name}' what its own steps read"
        yield Problem(f"{where}.output_map", message, fix)


def _check_optional(config: Any, models: Mapping[str, Any]) -> Iterator[Problem]:
    for index, tensor in enumerate(config.input):
        for step in _steps(config) if tensor.optional else ():
            member = models.get(step.model_name)
            needed = {each.name for each in member.input if not each.optional} if member else set()
            readers = [own for own, name in step.input_map.items() if name == tensor.name and own in needed]
            for own in readers[:1]:
                message = f"'{tensor.name}' is optional, but the model '{step.model_name}' needs it as '{own}'"
                yield Problem(f"input[{index}].optional", message, "remove optional, or make it optional there, too")


def _note_free_sizes(config: Any, members: Mapping[str, Any]) -> Iterator[str]:
    """A size that is free where a tensor comes from, and fixed for a model that reads it."""
    written = {tensor.name: ("the ensemble", config, tensor) for tensor in config.input}
    written |= {
        name: (f"'{step.model_name}'", members[step.model_name], tensor)
        for step in _steps(config)
        if step.model_name in members
        for tensor in members[step.model_name].output
        for own, name in step.output_map.items()
        if own == tensor.name
    }
    for step in _steps(config):
        reader = members.get(step.model_name)
        for tensor in reader.input if reader else ():
            writer, source, made = written.get(step.input_map.get(tensor.name, ""), ("", reader, tensor))
            one, other = _sizes(config, source, made), _sizes(config, reader, tensor)
            if any(free == -1 != fixed for free, fixed in zip(reversed(one), reversed(other), strict=False)):
                yield (
                    f"'{made.name}' of {writer} may be {one}, '{step.model_name}' takes {other}: "
                    "other sizes fail request by request"
                )


def _sizes(config: Any, owner: Any, tensor: Any) -> list[int]:
    """With the batch where rows are sizes like others to the ensemble."""
    return [-1] * (owner.max_batch_size > 0 == config.max_batch_size) + list(tensor.dims)


def note_partial_requests(config: Any) -> Iterator[str]:
    """Where a request for only some of an ensemble's outputs fails."""
    names = [tensor.name for tensor in config.output]
    if alone := [name for name in names if find_lost_outputs(config, {name})]:
        listed = " and ".join(f"'{name}'" for name in alone)
        yield f"requests must ask for all outputs: Triton fails where it is asked for {listed} alone"


def _note_left_out(config: Any, members: Mapping[str, Any]) -> Iterator[str]:
    """A step that gets nothing where optional inputs are left out: a batching model cannot tell how many rows."""
    optional = {tensor.name for tensor in config.input if tensor.optional}
    for step in _steps(config):
        read = set(step.input_map.values())
        if read and read <= optional and step.model_name in members and members[step.model_name].max_batch_size:
            listed = " or ".join(f"'{name}'" for name in sorted(read))
            yield f"requests need {listed}, although it is optional: '{step.model_name}' gets no input otherwise"


def _steps(config: Any) -> Any:
    return config.ensemble_scheduling.step
