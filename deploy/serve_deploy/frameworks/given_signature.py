"""The tensors that a user gives where a model's file does not tell them, and how the two are put together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.frameworks.artefact import Artefact, Tensor
from serve_deploy.model_config.rules.frameworks import position_in_name
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

_FORM = "write it as NAME TYPE [DIMS], …  -> NAME TYPE [DIMS], …, such as 'x FP32 [-1, 4] -> y FP32 [-1, 2]'"
_TENSOR = re.compile(r"\s*(\S+)\s+([A-Za-z0-9_]+)\s*\[([^\]]*)\]\s*(,|$)")


@dataclass(frozen=True)
class CompleteSignature:
    """A signature, and for each tensor by kind and name what of it was given: "name", "type" and "shape"."""

    signature: ModelSignature
    given: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


def parse_signature(text: str) -> ModelSignature:
    """Read `x FP32 [-1, 4] -> y FP32 [-1, 2]`; either side may be left out. UsageError for anything else."""
    left, _arrow, right = text.partition("->")
    signature = ModelSignature(tuple(_parse(left, text)), tuple(_parse(right, text)))
    if not signature.inputs and not signature.outputs:
        raise UsageError(f"`signature={text}` lists no tensor", hint=_FORM)
    for specs in (signature.inputs, signature.outputs):
        names = [spec.name for spec in specs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"`signature` lists '{twice}' twice", hint="name each tensor once")
    return signature


def _parse(side: str, text: str) -> Iterator[TensorSpec]:
    at = 0
    while side[at:].strip():
        found = _TENSOR.match(side, at)
        if found is None:
            raise UsageError(f"`signature={text}` cannot be read at '{side[at:].strip()[:30]}'", hint=_FORM)
        name, kind, dims, _comma = found.groups()
        yield TensorSpec(name, _parse_type(kind), tuple(_parse_dims(name, dims)))
        at = found.end()


def _parse_type(text: str) -> DataType:
    try:
        return DataType.from_config_name(text.upper())
    except ValueError:
        known = ", ".join(each.value for each in DataType)
        raise UsageError(f"`signature`: '{text}' is not a type of Triton's", hint=f"it has {known}") from None


def _parse_dims(name: str, text: str) -> Iterator[int]:
    for part in filter(None, (part.strip() for part in text.split(","))):
        if not re.fullmatch(r"-1|[1-9][0-9]{0,9}", part):
            raise UsageError(
                f"`signature`: '{part}' is not a size of '{name}'", hint="write a number of 1 or more, or -1 for any"
            )
        yield int(part)


def complete(artefact: Artefact, given: ModelSignature | None) -> CompleteSignature:
    """What was read with what was given; InvalidModelError where something is missing, UsageError on contradictions."""
    given = given or ModelSignature((), ())
    origins: dict[tuple[str, str], tuple[str, ...]] = {}
    sides = {}
    for kind, read, own in (
        ("input", artefact.inputs, given.inputs), ("output", artefact.outputs, given.outputs)
    ):  # fmt: skip
        pairs = list(_pair(artefact, kind, read, own))
        sides[kind] = tuple(_join(artefact, kind, tensor, spec) for tensor, spec in pairs)
        for (tensor, spec), joined in zip(pairs, sides[kind], strict=True):
            origins[kind, joined.name] = tuple(_origins(tensor, spec))
    return CompleteSignature(ModelSignature(sides["input"], sides["output"]), origins)


def _pair(
    artefact: Artefact, kind: str, read: tuple[Tensor, ...] | None, given: tuple[TensorSpec, ...]
) -> Iterator[tuple[Tensor | None, TensorSpec | None]]:
    if read is None:
        if not given:
            raise _missing(artefact, f"its {kind}s")
        yield from ((None, spec) for spec in given)
        return
    if not given:
        yield from ((tensor, None) for tensor in read)
        return
    yield from zip(_in_order(artefact, kind, read, given), given, strict=True)


def _in_order(
    artefact: Artefact, kind: str, read: tuple[Tensor, ...], given: tuple[TensorSpec, ...]
) -> Sequence[Tensor]:
    """The tensor of the file for each given one: by its name, or else by its position."""
    by_name = {tensor.name: tensor for tensor in read}
    listed = ", ".join(by_name)
    if all(spec.name in by_name for spec in given):
        missing = [tensor.name for tensor in read if tensor.name not in {spec.name for spec in given}]
        if missing and not (kind == "output" and artefact.by_position):
            raise UsageError(
                f"`signature` leaves out the {kind} '{missing[0]}' of {artefact.source}", hint=f"it has {listed}"
            )
        return [by_name[spec.name] for spec in given]
    if not artefact.by_position:
        wrong = next(spec.name for spec in given if spec.name not in by_name)
        raise UsageError(f"`signature`: {artefact.source} has no {kind} '{wrong}'", hint=f"it has {listed}")
    if len(given) > len(read) or (kind == "input" and len(given) < len(read)):
        raise UsageError(
            f"`signature` lists {len(given)} {kind}s, and {artefact.source} has {len(read)}", hint=f"it has {listed}"
        )
    return [read[position] for position in _positions(kind, given, by_name)]


def _positions(kind: str, given: tuple[TensorSpec, ...], names: dict[str, Tensor]) -> list[int]:
    """Where Triton looks for each tensor: by NAME__0 if all are called so, else in the order of the configuration."""
    found = [position_in_name(spec.name) for spec in given]
    positions = [position for position in found if position is not None]
    if len(positions) == len(given):
        if sorted(positions) != list(range(len(given))):
            raise UsageError(
                f"`signature`: the {kind}s are numbered {', '.join(map(str, positions))}",
                hint="count from 0, each once",
            )
        return positions
    if positions or any(spec.name in names for spec in given):
        raise UsageError(
            f"`signature`: Triton would take the {kind}s by their order, whatever their names say",
            hint=f"call all of them NAME__0, NAME__1, …, or all as in the model: {', '.join(names)}",
        )
    return list(range(len(given)))


def _join(artefact: Artefact, kind: str, read: Tensor | None, given: TensorSpec | None) -> TensorSpec:
    if given is None:
        if read is None or read.data_type is None or read.shape is None:
            name = read.name if read else ""
            lacks = "type and shape" if read and read.data_type is None else "shape"
            raise _missing(artefact, f"the {lacks} of {kind} '{name}'")
        return TensorSpec(read.name, read.data_type, read.shape)
    if read and read.data_type not in (None, given.data_type):
        raise UsageError(
            f"`signature`: {kind} '{given.name}' is {given.data_type.value} here, and {read.data_type.value}"
            f" in {artefact.source}",
            hint="leave it out: it is read from the file",
        )
    if read and read.shape is not None and not TensorSpec(read.name, given.data_type, read.shape).fits(given.shape):
        raise UsageError(
            f"`signature`: {kind} '{given.name}' is {list(given.shape)} here, and {list(read.shape)} in"
            f" {artefact.source}",
            hint="leave it out: it is read from the file; or fix only dimensions that are -1 there",
        )
    return given


def _origins(read: Tensor | None, given: TensorSpec | None) -> Iterator[str]:
    if given is None:
        return
    if read is None or read.name != given.name:
        yield "name"
    if read is None or read.data_type is None:
        yield "type"
    if read is None or read.shape != given.shape:
        yield "shape"


def _missing(artefact: Artefact, what: str) -> InvalidModelError:
    example = artefact.suggestion or "x FP32 [-1, 4] -> y FP32 [-1, 2]"
    return InvalidModelError(
        f"{artefact.source} does not tell {what}", hint=f"give it, as in `signature='{example}'`; -1 is any size"
    )
