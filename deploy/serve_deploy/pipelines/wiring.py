"""Join a pipeline's steps: by the wires that the file names, by name, and where it is clear by type and shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from serve_deploy.model_config.problem import Problem, did_you_mean
from serve_deploy.pipelines.file import PipelineText
from serve_deploy.pipelines.graph import REQUEST, End, Step, Wire, Wiring
from serve_deploy.tensors.types import TensorSpec


def wire_steps(text: PipelineText, steps: Sequence[Step]) -> tuple[Wiring, list[Problem]]:
    """Wire every input of every step, and choose the outputs; with problems, the wiring lacks what they name.

    A step takes what is not named from steps above it alone, so that a circle is always one that the file names.
    """
    work = _Work({step.name: step for step in steps})
    for step in steps:
        work.take_given(step)
    for index, step in enumerate(steps):
        work.wire(step, steps[:index])
    outputs = _choose_outputs(text, steps, work)
    order = {step.name: index for index, step in enumerate(steps)}
    wires = tuple(sorted(work.wires, key=lambda wire: order[wire.target.step]))
    inputs = tuple(dict.fromkeys(wire.source.tensor for wire in wires if wire.source.step == REQUEST))
    wiring = Wiring(wires, inputs, outputs)
    problems = work.problems or [
        *_find_clashes(wiring, text),
        *_find_circle(wiring, steps),
        *_find_without_input(wiring, steps),
        *_find_unused(wiring, steps),
    ]
    return wiring, problems


def may_join(source: TensorSpec, target: TensorSpec) -> bool:
    """Whether a tensor can be what an input takes: the same type, and sizes that are equal or free."""
    return (
        source.data_type is target.data_type
        and len(source.shape) == len(target.shape)
        and all(a == b or -1 in (a, b) for a, b in zip(source.shape, target.shape, strict=True))
    )


def input_field(step: str, tensor: str) -> str:
    """Where the file says what an input takes."""
    return f"steps.{step}.inputs.{tensor}"


@dataclass
class _Work:
    steps: dict[str, Step]
    wires: list[Wire] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def take_given(self, step: Step) -> None:
        """The wires that the file names."""
        for own, reference in step.given.items():
            if step.input(own) is None:
                names = [tensor.name for tensor in step.signature.inputs]
                fix = did_you_mean(own, names) or f"it has: {', '.join(names) or 'no input'}"
                message = f"'{reference}' cannot go to '{step.name}.{own}': {step.made_from} has no such input"
                self.problems.append(Problem(input_field(step.name, own), message, fix))
            elif source := self.resolve(reference, input_field(step.name, own)):
                self.wires.append(Wire(source, End(step.name, own)))

    @property
    def input_names(self) -> set[str]:
        """What the steps call their inputs."""
        return {tensor.name for step in self.steps.values() for tensor in step.signature.inputs}

    def resolve(self, reference: str, where: str) -> End | None:
        """`decode.image` is a step's output, a name without a dot an input of the pipeline."""
        name, dot, tensor = reference.partition(".")
        if dot and name not in self.steps and reference in self.input_names:
            return End(REQUEST, reference)  # such as input.1 of PyTorch's exporter
        if not reference or (dot and name not in self.steps):
            fix = did_you_mean(name, self.steps) or f"the steps are: {', '.join(self.steps)}"
            self.problems.append(Problem(where, f"there is no step '{name}', which '{reference}' names", fix))
            return None
        if not dot:
            if name in self.steps:
                outputs = [f"{name}.{each.name}" for each in self.steps[name].signature.outputs]
                message = f"'{name}' is a step, and it does not say which of its outputs"
                self.problems.append(Problem(where, message, f"write {' or '.join(outputs)}"))
                return None
            return End(REQUEST, name)
        step = self.steps[name]
        if step.output(tensor) is None:
            names = [each.name for each in step.signature.outputs]
            fix = did_you_mean(tensor, names) or f"it returns: {', '.join(names)}"
            message = f"the step '{name}' ({step.made_from}) returns no '{tensor}', which '{reference}' names"
            self.problems.append(Problem(where, message, fix))
            return None
        return End(name, tensor)

    def wire(self, step: Step, above: Sequence[Step]) -> None:
        """What the file does not name: by name, then by type and shape; the first step's come with the request."""
        open_inputs = [tensor for tensor in step.signature.inputs if tensor.name not in step.given]
        left = [tensor for tensor in open_inputs if not self._by_name(step, tensor, above)]
        required = [tensor for tensor in left if not tensor.optional]
        if above:
            self._by_shape(step, required, above)
        else:
            self.wires += [Wire(End(REQUEST, tensor.name), End(step.name, tensor.name)) for tensor in required]

    def _by_name(self, step: Step, tensor: TensorSpec, above: Sequence[Step]) -> bool:
        found = [(End(each.name, tensor.name), output) for each in above if (output := each.output(tensor.name))]
        fitting = [end for end, output in found if may_join(output, tensor)]
        candidates = fitting or [end for end, _output in found]
        if len(candidates) > 1:
            self._refuse_ambiguous(step, tensor, candidates)
        elif candidates:
            self.wires.append(Wire(candidates[0], End(step.name, tensor.name)))
        return bool(candidates)

    def _by_shape(self, step: Step, left: Sequence[TensorSpec], above: Sequence[Step]) -> None:
        used = {wire.source for wire in self.wires}
        every = [(End(each.name, output.name), output) for each in above for output in each.signature.outputs]
        choices: dict[str, list[End]] = {}
        for tensor in left:
            fitting = [end for end, output in every if may_join(output, tensor)]
            choices[tensor.name] = [end for end in fitting if end not in used] or fitting
        for tensor in left:
            candidates = choices[tensor.name]
            rivals = [name for name, ends in choices.items() if name != tensor.name and set(ends) & set(candidates)]
            if not candidates:
                self._take_request(step, tensor, every, is_only=len(left) == 1)
            elif len(candidates) > 1:
                self._refuse_ambiguous(step, tensor, candidates)
            elif rivals:
                message = f"'{candidates[0]}' fits this input and '{step.name}.{rivals[0]}' as well"
                fix = f"say which takes it, such as inputs: {{{tensor.name}: {candidates[0]}}}"
                self.problems.append(Problem(input_field(step.name, tensor.name), message, fix))
            else:
                self.wires.append(Wire(candidates[0], End(step.name, tensor.name)))

    def _take_request(
        self, step: Step, tensor: TensorSpec, every: Sequence[tuple[End, TensorSpec]], *, is_only: bool
    ) -> None:
        """An input of the pipeline that a step above takes under the same name, if it fits; else what is left over."""
        source = End(REQUEST, tensor.name)
        readers = [wire.target for wire in self.wires if wire.source == source]
        read = [spec for end in readers if (spec := self.steps[end.step].input(end.tensor))]
        if read and all(may_join(spec, tensor) for spec in read):
            self.wires.append(Wire(source, End(step.name, tensor.name)))
            return
        used = {wire.source for wire in self.wires}
        unread = [end for end, _output in every if end not in used]
        if is_only and len(unread) == 1:  # what was meant: the conflict between the two is told when types are unified
            self.wires.append(Wire(unread[0], End(step.name, tensor.name)))
            return
        near = ", ".join(f"'{end}' {output.data_type.value} {list(output.shape)}" for end, output in every[-3:])
        message = f"nothing gives it {tensor.data_type.value} {list(tensor.shape)}; the steps above return {near}"
        fix = f"write inputs: {{{tensor.name}: STEP.OUTPUT}}, or {{{tensor.name}: {tensor.name}}} for the request's"
        self.problems.append(Problem(input_field(step.name, tensor.name), message, fix))

    def _refuse_ambiguous(self, step: Step, tensor: TensorSpec, candidates: Sequence[End]) -> None:
        ends = " and ".join(f"'{end}'" for end in candidates)
        fix = f"say which: inputs: {{{tensor.name}: {candidates[-1]}}}"
        self.problems.append(Problem(input_field(step.name, tensor.name), f"{ends} fit it equally well", fix))


def _choose_outputs(text: PipelineText, steps: Sequence[Step], work: _Work) -> dict[str, End]:
    """The outputs that the file names, else those of the last step."""
    if text.outputs is None:
        last = steps[-1]
        return {tensor.name: End(last.name, tensor.name) for tensor in last.signature.outputs}
    outputs: dict[str, End] = {}
    for name, reference in text.outputs.items():
        end = work.resolve(reference, f"outputs.{name}")
        if end is not None and end.step == REQUEST:
            message = f"'{reference}' is no output of a step"
            ends = [f"{step.name}.{tensor.name}" for step in steps for tensor in step.signature.outputs]
            fix = did_you_mean(reference, ends) or f"a pipeline returns what its steps do: {', '.join(ends[-3:])}"
            work.problems.append(Problem(f"outputs.{name}", message, fix))
        elif end in outputs.values():
            other = next(known for known, known_end in outputs.items() if known_end == end)
            message = f"'{reference}' is the output '{other}' already, and Triton gives a tensor one name"
            work.problems.append(Problem(f"outputs.{name}", message, "return it once"))
        elif end is not None:
            outputs[name] = end
    return outputs


def _find_clashes(wiring: Wiring, text: PipelineText) -> Iterator[Problem]:
    """Inputs, outputs and tensors between steps share one name space in an ensemble."""
    between = {wiring.tensor_name(wire.source) for wire in wiring.wires if wire.source.step != REQUEST}
    for name in between & set(wiring.inputs) - set(wiring.outputs):
        readers = " and ".join(f"'{reader}'" for reader in wiring.readers(End(REQUEST, name)))
        message = f"what {readers} takes from the request and a step's output are both called '{name}'"
        yield Problem(f"steps.{name.partition('.')[0]}", message, "give the step another name")
    for name, end in wiring.outputs.items():
        if name in wiring.inputs:
            readers = " and ".join(f"'{reader}'" for reader in wiring.readers(End(REQUEST, name)))
            message = f"the output '{end}' and the input of {readers} are both called '{name}'"
            fix = f"give the output another name: outputs: {{new_{name}: {end}}}"
            yield Problem("outputs" if text.outputs is None else f"outputs.{name}", message, fix)


def _find_circle(wiring: Wiring, steps: Sequence[Step]) -> Iterator[Problem]:
    """Steps that wait for each other."""
    waits = {step.name: [w for w in wiring.wires if w.target.step == step.name and w.source.step] for step in steps}
    ready: set[str] = set()
    while more := [name for name in waits if name not in ready and all(w.source.step in ready for w in waits[name])]:
        ready.update(more)
    stuck = [name for name in waits if name not in ready]
    if not stuck:
        return
    path: list[Wire] = []
    step = stuck[0]
    while step not in [wire.target.step for wire in path]:
        path.append(next(wire for wire in waits[step] if wire.source.step not in ready))
        step = path[-1].source.step
    circle = path[[wire.target.step for wire in path].index(step) :]
    ends = ", ".join(f"'{wire.source}' goes to '{wire.target}'" for wire in reversed(circle))
    fix = "take one of these inputs from the request, or from a step outside the circle"
    yield Problem(input_field(circle[0].target.step, circle[0].target.tensor), f"a circle: {ends}", fix)


def _find_without_input(wiring: Wiring, steps: Sequence[Step]) -> Iterator[Problem]:
    """Triton refuses a step without an input_map."""
    fed = {wire.target.step for wire in wiring.wires}
    for step in steps:
        if step.name not in fed:
            names = [tensor.name for tensor in step.signature.inputs]
            fix = f"name one of its optional inputs: inputs: {{{names[0]}: {names[0]}}}" if names else "remove the step"
            message = f"nothing goes to '{step.name}' ({step.made_from}), and Triton runs a step when it has an input"
            yield Problem(f"steps.{step.name}.inputs", message, fix)


def _find_unused(wiring: Wiring, steps: Sequence[Step]) -> Iterator[Problem]:
    """Steps from which nothing leads to an output."""
    useful = {end.step for end in wiring.outputs.values()}
    while more := {w.source.step for w in wiring.wires if w.target.step in useful} - useful:
        useful |= more
    returned = ", ".join(f"'{end}'" for end in wiring.outputs.values())
    for step in steps:
        if step.name not in useful:
            names = [f"{step.name}.{tensor.name}" for tensor in step.signature.outputs]
            outputs = ", ".join([*map(str, wiring.outputs.values()), *names[:1]])
            message = f"nothing uses what it returns ({', '.join(names)}): the pipeline returns {returned}"
            yield Problem(f"steps.{step.name}", message, f"remove the step, or return it: outputs: [{outputs}]")
