"""Unify types, shapes and batching over a whole pipeline, before anything is written. Pure.

Triton compares at load only pairs of tensors, and a free size with anything; what differs then fails each request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from serve_deploy.model_config.problem import Problem
from serve_deploy.pipelines.graph import REQUEST, End, Step, Wiring
from serve_deploy.pipelines.sizes import EqualSizes, Fixed
from serve_deploy.pipelines.wiring import input_field, may_join
from serve_deploy.tensors.types import TensorSpec

_BATCH = "batch"


@dataclass(frozen=True)
class Unified:
    """The ensemble's tensors with whole shapes, its batch, why that is so, and what requests may still run into."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    batch_reason: str
    notes: tuple[str, ...] = ()


def unify(wiring: Wiring, steps: Sequence[Step], requested: int | None = None) -> tuple[Unified, list[Problem]]:
    """The ensemble's tensors and batch; every conflict names both of its ends."""
    return _Unification(wiring, {step.name: step for step in steps}, requested).run()


@dataclass(frozen=True)
class _Pair:
    """Two ends that must agree: those of a wire, or with `both_read` two that read one input of the pipeline."""

    source: End
    target: End
    both_read: bool = False


class _Unification:
    def __init__(self, wiring: Wiring, steps: Mapping[str, Step], requested: int | None) -> None:
        self.wiring, self.steps = wiring, steps
        self.requested = requested
        self.max_batch_size, self.batch_reason = _choose_batch(list(steps.values()), requested)
        self.sizes = EqualSizes()
        self.pairs = _pairs(wiring)

    def run(self) -> tuple[Unified, list[Problem]]:
        problems = list(self._check_batch())
        problems += [problem for pair in self.pairs for problem in self._compare(pair)]
        if not problems:
            self._fill_sizes()
            problems += [*self._join_batches(), *self._join_pairs(), *self._check_rows()]
        unified = Unified(
            inputs=tuple(self._pipeline_input(name) for name in self.wiring.inputs),
            outputs=tuple(replace(self._resolved(end), name=name) for name, end in self.wiring.outputs.items()),
            max_batch_size=self.max_batch_size,
            batch_reason=self.batch_reason,
            notes=(*self._note_batch(), *self._note_free_sizes(), *self._note_unmapped()),
        )
        if not problems:
            problems += self._check_dims(unified)
        return unified, problems

    def spec(self, end: End, *, reads: bool) -> TensorSpec:
        """The tensor at an end as its step has it; of the request, as its first reader has it."""
        if end.step == REQUEST:
            end, reads = self.wiring.readers(end)[0], True
        signature = self.steps[end.step].signature
        tensors = signature.inputs if reads else signature.outputs
        return next(tensor for tensor in tensors if tensor.name == end.tensor)

    def _check_batch(self) -> Iterator[Problem]:
        size = self.max_batch_size
        for step in self.steps.values():
            if 0 < step.max_batch_size < size:
                message = f"{size} is above the {step.max_batch_size} of the step '{step.name}' ({step.made_from})"
                fix = f"write {step.max_batch_size} or less, or package that model with a larger max_batch_size"
                yield Problem("max_batch_size", message, fix)
            elif size and step.max_batch_size == 0:
                yield from self._check_unbatched(step)

    def _check_unbatched(self, step: Step) -> Iterator[Problem]:
        """A model without batching gets a request's rows as they are: it must take any number of them."""
        fix = f"leave max_batch_size out, or make '{step.name}' batch"
        if step.batching and step.batching.verdict == "not_batchable":
            message = f"{self.max_batch_size}, but '{step.name}' ({step.made_from}) cannot batch: "
            yield Problem("max_batch_size", f"{message}{step.batching.evidence}", fix)
            return
        for tensor in (*step.signature.inputs, *step.signature.outputs):
            if tensor.shape[:1] != (-1,):
                message = (
                    f"{self.max_batch_size}, but '{step.name}.{tensor.name}' ({step.made_from}) is "
                    f"{list(tensor.shape)}: without batching of its own it must take any number of rows"
                )
                yield Problem("max_batch_size", message, fix)

    def _compare(self, pair: _Pair) -> Iterator[Problem]:
        source, target = pair.source, pair.target
        one, other = self.spec(source, reads=pair.both_read), self.spec(target, reads=True)
        if may_join(one, other):
            return
        shapes = [f"{spec.data_type.value} {list(spec.shape)}" for spec in (one, other)]
        message = f"'{source}' is {shapes[0]}, and '{target}' takes {shapes[1]}"
        if pair.both_read:
            message = f"'{source}' takes {shapes[0]} and '{target}' {shapes[1]} from the same input"
            fix = f"give one of them an input of its own: inputs: {{{target.tensor}: {target.step}_{target.tensor}}}"
        else:
            fix = self._advise(source, one, target, other)
        yield Problem(input_field(target.step, target.tensor), message, fix)

    def _advise(self, source: End, one: TensorSpec, target: End, other: TensorSpec) -> str:
        between = f"put a function step between '{source.step}' and '{target.step}'"
        if one.data_type is not other.data_type:
            return f"{between} that makes it {other.data_type.value}, or wire another tensor"
        if one.shape[1:] == other.shape or one.shape == other.shape[1:]:
            unbatched = target.step if len(other.shape) < len(one.shape) else source.step
            return f"only one of them has a batch axis: make '{unbatched}' batch, or {between} that reshapes it"
        if len(one.shape) == len(other.shape) and sorted(one.shape) == sorted(other.shape):
            return f"the axes are in another order: {between} that transposes it, or change the layout of one"
        return f"change the size in one of the two, or {between} that converts it"

    def _fill_sizes(self) -> None:
        for step in self.steps.values():
            for reads, tensors in ((True, step.signature.inputs), (False, step.signature.outputs)):
                for tensor in tensors:
                    for axis, size in enumerate(tensor.shape):
                        self.sizes.add((step.name, reads, tensor.name, axis), size, f"{step.name}.{tensor.name}")

    def _join_batches(self) -> Iterator[Problem]:
        """Every tensor of a step that batches has the same number of rows, and in an ensemble that does, all have."""
        for step in self.steps.values():
            if not (step.max_batch_size or self.max_batch_size):
                continue
            rows = _BATCH if self.max_batch_size else (_BATCH, step.name)
            for reads, tensors in ((True, step.signature.inputs), (False, step.signature.outputs)):
                for tensor in tensors:
                    yield from self._refuse(
                        f"steps.{step.name}", rows, (step.name, reads, tensor.name, 0), f"rows of '{step.name}'"
                    )

    def _join_pairs(self) -> Iterator[Problem]:
        for pair in self.pairs:
            source, target = pair.source, pair.target
            for axis in range(len(self.spec(target, reads=True).shape)):
                one = (source.step, pair.both_read, source.tensor, axis)
                other = (target.step, True, target.tensor, axis)
                said = f"size {axis} of '{source}' and '{target}'"
                yield from self._refuse(input_field(target.step, target.tensor), one, other, said)

    def _refuse(self, where: str, one: object, other: object, said: str) -> Iterator[Problem]:
        if conflict := self.sizes.join(one, other):
            first, second = conflict
            message = f"{said}: '{first.by}' fixes it to {first.size}, '{second.by}' to {second.size}"
            yield Problem(where, message, f"make '{first.by}' and '{second.by}' the same size")

    def _check_rows(self) -> Iterator[Problem]:
        """Without batching of its own, the ensemble passes rows on that a batching member counts as its batch."""
        for step in self.steps.values():
            fixed = self.sizes.find((_BATCH, step.name)) if step.max_batch_size and not self.max_batch_size else None
            if fixed and fixed.size > step.max_batch_size:
                message = (
                    f"'{fixed.by}' always has {fixed.size} rows, above the max_batch_size {step.max_batch_size} "
                    f"of '{step.name}' ({step.made_from})"
                )
                yield Problem(f"steps.{step.name}", message, f"package that model with max_batch_size {fixed.size}")

    def _check_dims(self, unified: Unified) -> Iterator[Problem]:
        """Triton has no tensor without dims beside the batch."""
        for tensor in (*unified.inputs, *unified.outputs):
            if unified.max_batch_size and len(tensor.shape) < 2:
                message = f"'{tensor.name}' has no dims beside the batch, which Triton does not allow in an ensemble"
                yield Problem("max_batch_size", message, "write max_batch_size: 0, or give the tensor a second axis")

    def _pipeline_input(self, name: str) -> TensorSpec:
        readers = self.wiring.readers(End(REQUEST, name))
        specs = [self.spec(reader, reads=True) for reader in readers]
        resolved = self._resolved(readers[0], reads=True)
        return replace(resolved, name=name, optional=all(spec.optional for spec in specs))

    def _resolved(self, end: End, *, reads: bool = False) -> TensorSpec:
        spec = self.spec(end, reads=reads)
        found = [self.sizes.find((end.step, reads, end.tensor, axis)) for axis in range(len(spec.shape))]
        return replace(spec, shape=tuple(_size(fixed) for fixed in found))

    def _note_batch(self) -> Iterator[str]:
        unbatched = [step for step in self.steps.values() if step.max_batch_size == 0]
        if self.requested is None and unbatched and len(unbatched) < len(self.steps):
            names = ", ".join(f"'{step.name}'" for step in unbatched)
            yield f"requests carry their batch axis themselves, because {names} has max_batch_size 0"

    def _note_free_sizes(self) -> Iterator[str]:
        for wire in self.wiring.wires:
            if wire.source.step == REQUEST:
                continue
            one, other = self.spec(wire.source, reads=False), self.spec(wire.target, reads=True)
            first = 1 if self.max_batch_size or self.steps[wire.target.step].max_batch_size else 0
            if any(a == -1 != b for a, b in zip(one.shape[first:], other.shape[first:], strict=False)):
                yield (
                    f"'{wire.source}' may be {list(one.shape)}, and '{wire.target}' takes {list(other.shape)}: "
                    "Triton refuses other sizes request by request"
                )

    def _note_unmapped(self) -> Iterator[str]:
        mapped = {wire.target for wire in self.wiring.wires}
        for step in self.steps.values():
            for tensor in step.signature.inputs:
                if tensor.optional and End(step.name, tensor.name) not in mapped:
                    yield f"the optional input '{step.name}.{tensor.name}' is left out"
        for name in self.wiring.inputs:
            readers = self.wiring.readers(End(REQUEST, name))
            optional = [reader for reader in readers if self.spec(reader, reads=True).optional]
            if optional and len(optional) < len(readers):
                needs = next(reader for reader in readers if reader not in optional)
                yield f"every request needs '{name}': it is optional for '{optional[0]}', not for '{needs}'"


def _pairs(wiring: Wiring) -> list[_Pair]:
    pairs = [_Pair(wire.source, wire.target) for wire in wiring.wires if wire.source.step != REQUEST]
    for name in wiring.inputs:
        first, *others = wiring.readers(End(REQUEST, name))
        pairs += [_Pair(first, other, both_read=True) for other in others]
    return pairs


def _choose_batch(steps: Sequence[Step], requested: int | None) -> tuple[int, str]:
    """The ensemble's max_batch_size and why: the smallest of its members', 0 where one does not batch."""
    if requested is not None:
        return requested, "from the pipeline file"
    smallest = min(steps, key=lambda step: step.max_batch_size)
    if smallest.max_batch_size == 0:
        return 0, f"'{smallest.name}' does not batch"
    return smallest.max_batch_size, f"the smallest of the steps', that of '{smallest.name}'"


def _size(fixed: Fixed | None) -> int:
    return -1 if fixed is None else fixed.size
