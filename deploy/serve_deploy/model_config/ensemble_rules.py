"""Rules on ensembles and the models they run (core: ValidateEnsembleSchedulingConfig, ValidateEnsembleConfig)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve_deploy.model_config.problem import Problem

_STEP = "ensemble_scheduling.step"


@dataclass(frozen=True)
class _Tensor:
    """A tensor as one model sees it: whose it is, type, and shape with the batch where that model batches."""

    owner: str
    data_type: int
    dims: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, config: Any, tensor: Any, model: str | None = None) -> _Tensor:
        """From a member's configuration by its name, or from the ensemble's own."""
        reshaped = model is None and tensor.HasField("reshape")
        dims = tuple(tensor.reshape.shape if reshaped else tensor.dims)
        owner = "the ensemble" if model is None else f"'{model}'"
        return cls(owner, tensor.data_type, dims, (-1, *dims) if config.max_batch_size > 0 else dims)


def check_ensemble_fields(config: Any) -> Iterator[Problem]:
    # The schedulers are one `oneof`, so the parser keeps at most one; what is left is what an ensemble excludes.
    if config.HasField("ensemble_scheduling") and config.platform != "ensemble":
        yield Problem("platform", 'ensemble_scheduling needs platform: "ensemble"', 'write platform: "ensemble"')
    if config.platform != "ensemble":
        return
    if not config.ensemble_scheduling.step:
        yield Problem(_STEP, "the ensemble has no steps", "list the models that it runs")
    present = {field.name for field, _value in config.ListFields()}
    for name in ("backend", "instance_group", "optimization", "model_warmup"):
        if name in present:
            yield Problem(name, f"an ensemble has no {name}: its models have their own", f"remove {name}")


def check_ensemble_flow(config: Any) -> Iterator[Problem]:
    """Every tensor is produced once, comes from something, and goes somewhere."""
    if config.platform != "ensemble":
        return
    produced: set[str] = {tensor.name for tensor in config.input}
    consumed: set[str] = {tensor.name for tensor in config.output}
    for index, step in enumerate(config.ensemble_scheduling.step):
        where = f"{_STEP}[{index}]"
        for name in sorted(step.output_map.values()):
            if name in produced:
                yield Problem(f"{where}.output_map", f"'{name}' is produced twice", "give each tensor its own name")
            produced.add(name)
        consumed.update(step.input_map.values())
        for field in ("model_name", "input_map", "output_map"):
            if not getattr(step, field):
                yield Problem(f"{where}.{field}", f"the step has no {field}", f"write its {field}")
    for name in sorted(consumed - produced):
        yield Problem(
            _STEP, f"nothing produces the tensor '{name}'", "map it from a step's output, or make it an input"
        )
    for name in sorted(produced - consumed):
        yield Problem(_STEP, f"the tensor '{name}' is not used", "use it, or remove it from the output_map")


def check_ensemble_members(config: Any, members: Mapping[str, Any]) -> Iterator[Problem]:
    """The models exist, the mapped tensors exist in them, types and shapes fit, and batches are not too large.

    `members` are the configurations of the repository's models by name, as Triton completed them; a configuration
    without inputs and outputs is not judged.
    """
    tensors = {tensor.name: _Tensor.of(config, tensor) for tensor in (*config.input, *config.output)}
    for index, step in enumerate(config.ensemble_scheduling.step):
        where, member = f"{_STEP}[{index}]", members.get(step.model_name)
        if member is None:
            names = ", ".join(sorted(members)) or "no other model"
            message = f"the model '{step.model_name}' is not in the repository"
            yield Problem(where, message, f"the repository has: {names}")
        elif member.input and member.output:
            yield from _check_batch(config, step.model_name, member)
            yield from _check_mapping(where, step, member, tensors)


def _check_batch(config: Any, name: str, member: Any) -> Iterator[Problem]:
    most = member.max_batch_size
    if 0 < most < config.max_batch_size:
        message = f"{config.max_batch_size} is above the {most} of the model '{name}'"
        yield Problem("max_batch_size", message, f"write max_batch_size: {most} or less")


def _check_mapping(where: str, step: Any, member: Any, tensors: dict[str, _Tensor]) -> Iterator[Problem]:
    model = step.model_name
    for kind, mapping in (("input", step.input_map), ("output", step.output_map)):
        known = {tensor.name: tensor for tensor in getattr(member, kind)}
        for own, name in sorted(mapping.items()):
            if own in known:
                seen = _Tensor.of(member, known[own], model)
                yield from _compare(f"{where}.{kind}_map", name, tensors.setdefault(name, seen), seen)
            else:
                names = ", ".join(f"'{each}'" for each in known)
                yield Problem(f"{where}.{kind}_map", f"the model '{model}' has no {kind} '{own}'", f"it has: {names}")
    for tensor in member.input:
        if tensor.name not in step.input_map and not tensor.optional:
            message = f"the input '{tensor.name}' of the model '{model}' is not mapped"
            yield Problem(f"{where}.input_map", message, "map every input of a step's model")


def _compare(where: str, name: str, one: _Tensor, other: _Tensor) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    if one.data_type != other.data_type:
        types = [f"{DataType.Name(tensor.data_type)} in {tensor.owner}" for tensor in (one, other)]
        yield Problem(where, f"'{name}' is {types[0]} and {types[1]}", "both must have the same type")
    elif not _fit(one.dims, other.dims) and not _fit(one.shape, other.shape):
        shapes = [f"{list(tensor.shape)} in {tensor.owner}" for tensor in (one, other)]
        fix = "both must have the same shape; -1 fits any size, and the batch comes first where max_batch_size > 0"
        yield Problem(where, f"'{name}' is {shapes[0]} and {shapes[1]}", fix)


def _fit(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in zip(one, other, strict=True))
