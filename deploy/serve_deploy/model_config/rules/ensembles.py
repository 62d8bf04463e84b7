"""Rules on ensembles and the models they run (core: ValidateEnsembleSchedulingConfig, ValidateEnsembleConfig)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve_deploy.model_config.ensemble_graph import (
    STEP,
    check_ensemble_cycle,
    check_ensemble_streams,
    order_steps,
)
from serve_deploy.model_config.ensemble_requests import check_ensemble_requests
from serve_deploy.model_config.problem import Problem, did_you_mean


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
        yield Problem(STEP, "the ensemble has no steps", "list the models that it runs")
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
        where = f"{STEP}[{index}]"
        for name in sorted(step.output_map.values()):
            if name in produced:
                yield Problem(f"{where}.output_map", f"'{name}' is produced twice", "give each tensor its own name")
            produced.add(name)
        consumed.update(step.input_map.values())
        for field in ("model_name", "input_map", "output_map"):
            if not getattr(step, field):
                yield Problem(f"{where}.{field}", f"the step has no {field}", f"write its {field}")
    missing = consumed - produced
    for name in sorted(missing):
        fix = did_you_mean(name, produced) or "map it from a step's output, or make it an input"
        yield Problem(STEP, f"nothing produces the tensor '{name}'", fix)
    for name in sorted(produced - consumed):
        yield Problem(STEP, f"the tensor '{name}' is not used", "use it, or remove it from the output_map")
    _, stuck = order_steps(config, missing)
    if names := sorted(f"'{name}'" for _index, step in stuck for name in step.output_map.values()):
        message = f"never written: {', '.join(names)}, because their steps wait for each other in a circle"
        yield Problem(STEP, message, "give one of these steps inputs that do not depend on its own outputs")


def check_ensemble_members(
    name: str, config: Any, models: Mapping[str, Any], served: Mapping[str, Collection[int]]
) -> Iterator[Problem]:
    """The models exist and do not run each other in a circle; tensors, types, shapes and batches fit.

    `models` are the configurations of the repository by name, as Triton completed them (one without inputs and
    outputs is not judged), and `served` the versions of each that Triton serves.
    """
    if config.platform != "ensemble":
        return
    tensors = {tensor.name: _Tensor.of(config, tensor) for tensor in (*config.input, *config.output)}
    for index, step in enumerate(config.ensemble_scheduling.step):
        where, member = f"{STEP}[{index}]", models.get(step.model_name)
        if not step.model_name:
            continue
        if member is None:
            others = sorted(models.keys() - {name})
            message = f"the model '{step.model_name}' is not in the repository"
            fix = (
                did_you_mean(step.model_name, others) or f"the repository has: {', '.join(others) or 'no other model'}"
            )
            yield Problem(where, message, fix)
            continue
        yield from _check_version(where, step, served.get(step.model_name, ()))
        if member.input and member.output and step.model_name != name:
            yield from _check_batch(config, step.model_name, member)
            yield from _check_mapping(where, step, member, tensors)
    yield from check_ensemble_requests(config, models)
    yield from check_ensemble_cycle(name, config, models)
    yield from check_ensemble_streams(config, models)


def _check_version(where: str, step: Any, served: Collection[int]) -> Iterator[Problem]:
    if step.model_version == -1 or step.model_version in served:
        return
    asked = f"version {step.model_version}" if step.model_version else "version 0 (no model_version means 0)"
    versions = f"version{'s' * (len(served) > 1)} {', '.join(map(str, served))}" if served else "no version"
    message = f"'{step.model_name}' serves {versions}, the step asks for {asked}"
    yield Problem(f"{where}.model_version", message, "write -1 for the newest version that is served")


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
                fix = did_you_mean(own, known) or f"it has: {names}"
                yield Problem(f"{where}.{kind}_map", f"the model '{model}' has no {kind} '{own}'", fix)
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
