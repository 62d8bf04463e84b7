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

    model: str
    data_type: int
    dims: tuple[int, ...]
    batched: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return (-1, *self.dims) if self.batched else self.dims


def check_ensemble_flow(config: Any) -> Iterator[Problem]:
    """Every tensor is produced once, comes from something, and goes somewhere."""
    produced: set[str] = {tensor.name for tensor in config.input}
    consumed: set[str] = {tensor.name for tensor in config.output}
    for index, step in enumerate(config.ensemble_scheduling.step):
        where = f"{_STEP}[{index}]"
        for name in sorted(step.output_map.values()):
            if name in produced:
                yield Problem(f"{where}.output_map", f"{name!r} is produced twice", "give each tensor its own name")
            produced.add(name)
        consumed.update(step.input_map.values())
        for field in ("model_name", "input_map", "output_map"):
            if not getattr(step, field):
                yield Problem(f"{where}.{field}", f"a step without {field}", f"write its {field}")
    for name in sorted(consumed - produced):
        yield Problem(
            _STEP, f"nothing produces the tensor {name!r}", "map it from an output of a step, or make it an input"
        )
    for name in sorted(produced - consumed):
        yield Problem(_STEP, f"the tensor {name!r} is not used", "use it, or take it out of the output_map")


def check_ensemble_members(config: Any, members: Mapping[str, Any]) -> Iterator[Problem]:
    """The models exist, the mapped tensors exist in them, types and shapes fit, and batches are not too large.

    `members` are the configurations of the repository's models by name, as Triton completed them; a configuration
    without inputs and outputs is not judged.
    """
    tensors = {
        tensor.name: _Tensor(
            config.name or "the ensemble",
            tensor.data_type,
            tuple(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims),
            config.max_batch_size > 0,
        )
        for tensor in (*config.input, *config.output)
    }
    for index, step in enumerate(config.ensemble_scheduling.step):
        where = f"{_STEP}[{index}]"
        member = members.get(step.model_name)
        if member is None:
            names = ", ".join(sorted(members)) or "no other model"
            yield Problem(where, f"the model {step.model_name!r} is not in the repository", f"it has: {names}")
        elif member.input and member.output:
            yield from _check_batch(config, step.model_name, member)
            yield from _check_mapping(where, step, member, tensors)


def _check_batch(config: Any, name: str, member: Any) -> Iterator[Problem]:
    if 0 < member.max_batch_size < config.max_batch_size:
        yield Problem(
            "max_batch_size",
            f"{config.max_batch_size} is above the {member.max_batch_size} of the model {name!r}",
            f"write max_batch_size: {member.max_batch_size} or less",
        )


def _check_mapping(where: str, step: Any, member: Any, tensors: dict[str, _Tensor]) -> Iterator[Problem]:
    for kind, mapping in (("input", step.input_map), ("output", step.output_map)):
        known = {tensor.name: tensor for tensor in getattr(member, kind)}
        for own, name in sorted(mapping.items()):
            if own not in known:
                yield Problem(
                    f"{where}.{kind}_map",
                    f"the model {step.model_name!r} has no {kind} {own!r}",
                    f"it has: {', '.join(map(repr, known))}",
                )
                continue
            tensor = known[own]
            seen = _Tensor(step.model_name, tensor.data_type, tuple(tensor.dims), member.max_batch_size > 0)
            yield from _compare(f"{where}.{kind}_map", name, tensors.setdefault(name, seen), seen)
    for tensor in member.input:
        if tensor.name not in step.input_map and not tensor.optional:
            yield Problem(
                f"{where}.input_map",
                f"the input {tensor.name!r} of the model {step.model_name!r} is not mapped",
                "map every input of a step's model",
            )


def _compare(where: str, name: str, one: _Tensor, other: _Tensor) -> Iterator[Problem]:
    from tritonclient.grpc.model_config_pb2 import DataType

    if one.data_type != other.data_type:
        types = [f"{DataType.Name(tensor.data_type)} in {tensor.model!r}" for tensor in (one, other)]
        yield Problem(where, f"{name!r} is {types[0]} and {types[1]}", "both must have the same type")
    elif not _fit(one.dims, other.dims) and not _fit(one.shape, other.shape):
        shapes = [f"{list(tensor.shape)} in {tensor.model!r}" for tensor in (one, other)]
        yield Problem(
            where,
            f"{name!r} is {shapes[0]} and {shapes[1]}",
            "both must have the same shape; -1 fits any size, and the batch comes first where max_batch_size > 0",
        )


def _fit(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in zip(one, other, strict=True))
