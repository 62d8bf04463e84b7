"""A pipeline as a graph: steps with their tensors, and the wires between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config.problem import Problem
from serve_deploy.tensors.types import ModelSignature, TensorSpec

REQUEST = ""


@dataclass(frozen=True)
class Step:
    """A step as its clients see it: whole shapes, with the batch in front where `max_batch_size` is above 0.

    `model` is its name in the repository, `made_from` what it comes from in the user's words, `given` the wires that
    the file names.
    """

    name: str
    model: str
    made_from: str
    signature: ModelSignature
    max_batch_size: int
    given: Mapping[str, str] = field(default_factory=dict)
    batching: BatchingProof | None = None

    def output(self, name: str) -> TensorSpec | None:
        """The output of that name, if there is one."""
        return next((tensor for tensor in self.signature.outputs if tensor.name == name), None)

    def input(self, name: str) -> TensorSpec | None:
        """The input of that name, if there is one."""
        return next((tensor for tensor in self.signature.inputs if tensor.name == name), None)


@dataclass(frozen=True)
class End:
    """One end of a wire: a step's tensor, or with the step REQUEST an input of the pipeline."""

    step: str
    tensor: str

    def __str__(self) -> str:
        return f"{self.step}.{self.tensor}" if self.step else self.tensor


@dataclass(frozen=True)
class Wire:
    """A tensor's way from a step, or from the request, to an input of a step."""

    source: End
    target: End


@dataclass(frozen=True)
class Wiring:
    """Every wire, the pipeline's inputs in the order in which steps take them, and its outputs by name."""

    wires: tuple[Wire, ...]
    inputs: tuple[str, ...]
    outputs: Mapping[str, End]

    def readers(self, source: End) -> tuple[End, ...]:
        """The inputs of steps that a tensor goes to."""
        return tuple(wire.target for wire in self.wires if wire.source == source)

    def tensor_name(self, source: End) -> str:
        """What the tensor is called in the ensemble: as an output of the pipeline is called, else by its step."""
        return next((name for name, end in self.outputs.items() if end == source), str(source))


def refuse(path: Path, problems: Iterable[Problem]) -> None:
    """Raise InvalidModelError with every problem, if there is one."""
    found = list(dict.fromkeys(problems))
    if len(found) == 1:
        raise InvalidModelError(f"{path}: {found[0].field}: {found[0].message}", hint=found[0].fix)
    if found:
        lines = "".join(f"\n  {each.field}: {each.message}\n    fix: {each.fix}" for each in found)
        raise InvalidModelError(f"{path} has {len(found)} problems:{lines}")
