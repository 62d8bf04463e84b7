"""What Triton loads and then refuses request by request: ensembles whose members take fewer rows, inputs or sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serve_deploy.model_config.ensemble_graph import STEP, is_decoupled
from serve_deploy.model_config.problem import Problem, is_ensemble


def check_ensemble_requests(config: Any, models: Mapping[str, Any]) -> Iterator[Problem]:
    """Rows that a member cannot take, and inputs that are optional here and not for a member."""
    for index, step in enumerate(config.ensemble_scheduling.step):
        member = models.get(step.model_name)
        if member is None:
            continue
        if config.max_batch_size and not member.max_batch_size:
            yield from _check_single_rows(f"{STEP}[{index}]", step, member)
        elif member.max_batch_size and not config.max_batch_size:
            yield from _check_fixed_rows(config, step, member)
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


def _check_single_rows(where: str, step: Any, member: Any) -> Iterator[Problem]:
    """A member without batching gets a request's rows as they are, in front of its dims or as the first of them."""
    for kind, mapping in (("input", step.input_map), ("output", step.output_map)):
        for tensor in getattr(member, kind):
            if tensor.name in mapping and tensor.dims[:1] != [-1]:
                message = (
                    f"'{tensor.name}' of the model '{step.model_name}' is {list(tensor.dims)} without batching: "
                    "a request of two rows fails"
                )
                fix = "write max_batch_size: 0 here and complete dims, or let that model take any number of rows"
                yield Problem(f"{where}.{kind}_map", message, fix)
                return


def _check_fixed_rows(config: Any, step: Any, member: Any) -> Iterator[Problem]:
    """An ensemble without batching passes rows on that a batching member counts as its batch."""
    for kind, mapping in (("input", step.input_map), ("output", step.output_map)):
        own = {tensor.name: tensor for tensor in getattr(config, kind)}
        for name in mapping.values():
            rows = own[name].dims[0] if name in own and own[name].dims else -1
            if rows > member.max_batch_size:
                message = (
                    f"'{name}' has {rows} rows, above the {member.max_batch_size} of the model '{step.model_name}'"
                )
                index = list(own).index(name)
                yield Problem(f"{kind}[{index}].dims", message, f"write {member.max_batch_size} or less, or -1, first")


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
    """A size that is free for the model that writes a tensor, and fixed for one that reads it."""
    written = {
        name: (step.model_name, tensor)
        for step in _steps(config)
        if step.model_name in members
        for tensor in members[step.model_name].output
        for own, name in step.output_map.items()
        if own == tensor.name
    }
    for step in _steps(config):
        for tensor in members[step.model_name].input if step.model_name in members else ():
            writer, source = written.get(step.input_map.get(tensor.name, ""), ("", tensor))
            pairs = zip(reversed(source.dims), reversed(tensor.dims), strict=False)
            if any(one == -1 != other for one, other in pairs):
                yield (
                    f"'{source.name}' of '{writer}' may be {list(source.dims)}, '{step.model_name}' takes "
                    f"{list(tensor.dims)}: other sizes fail request by request"
                )


def _steps(config: Any) -> Any:
    return config.ensemble_scheduling.step
