"""Find a model's states: the inputs that an output gives the next value of. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.implicit_state.names import is_called_state, match_by_name
from serve_deploy.model_config.problem import did_you_mean
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

Evidence = Literal["graph", "runs", "weighed", "types", "left", "names", "given"]
EVIDENCE: Mapping[Evidence, str] = {
    "graph": "in the graph the same operators take the one and make the other",
    "runs": "a sequence in pieces ends as in one go",
    "weighed": "in the graph the old value is weighed into the new one",
    "types": "nothing else has its type and shape",
    "left": "nothing else of its type and shape is left",
    "names": "by their names alone",
    "given": "given, and nothing else tells",
}
# What a user gives: the output of each input; "" for an input that is no state.
Given = Mapping[str, str]
Ties = Collection[tuple[str, str]]
_HINT = "`state` names it: IN=OUT, or IN= where clients send it"


@dataclass(frozen=True)
class StatePair:
    """A state: the input it goes into, the output its next value comes out of, and how that is known."""

    input: TensorSpec
    output: TensorSpec
    evidence: Evidence


def find_pairs(signature: ModelSignature, given: Given, ties: Ties, weighed: Ties = ()) -> tuple[StatePair, ...]:
    """The states, in the order of the inputs: as given, else by names and by what the graph ties together.

    InvalidModelError where there is none, UsageError where a name does not settle which output it is, or where the
    graph ties or weighs a state into another one.
    """
    _check_given(signature, given)
    ties = frozenset(_single_ties(signature, ties))
    _check_ties(given, ties)
    outputs = {spec.name: spec for spec in signature.outputs}
    chosen: dict[str, str] = {}
    for spec in signature.required_inputs:
        name = given.get(spec.name)
        if name is None:
            free = [output for output in signature.outputs if output.name not in given.values()]
            name = _choose(spec, [output for output in free if could_follow(output, spec)], ties)
        if name:
            _refuse_second(spec.name, name, chosen)
            chosen[spec.name] = name
    if not chosen:
        raise InvalidModelError(
            f"no state was found: no output is called or computed like the next value of an input. {_list(signature)}",
            hint=" ".join(_suggest(signature)) or "`state` names each: IN=OUT; without a state, leave `stateful` out",
        )
    weighed = frozenset(_single_ties(signature, weighed))
    _check_weighed(chosen, weighed)
    pairs = [(spec, outputs[chosen[spec.name]]) for spec in signature.required_inputs if spec.name in chosen]
    known = [StatePair(*pair, _judge(*pair, signature, given, ties, weighed)) for pair in pairs]
    return tuple(_judge_rest(pair, known, signature) for pair in known)


def find_likely_states(signature: ModelSignature) -> Mapping[str, str]:
    """Inputs that are called states, and the outputs that are called their next values; nothing is run."""
    found = {}
    for spec in signature.required_inputs:
        fitting = tuple(output.name for output in signature.outputs if could_follow(output, spec))
        if matching := match_by_name(spec.name, fitting):
            found[spec.name] = matching[0]
    return found


def _suggest(signature: ModelSignature) -> Iterator[str]:
    """The states that names alone suggest, where no word in them says that they are states."""
    for spec in signature.required_inputs:
        fitting = tuple(output.name for output in signature.outputs if could_follow(output, spec))
        for name in match_by_name(spec.name, fitting, any_word=True):
            yield f"if it is one: `state={spec.name}={name}`"


def could_follow(output: TensorSpec, state: TensorSpec) -> bool:
    """Whether an output could be the next value of a state: the same type, and dims that are equal or free."""
    return (
        output.data_type is state.data_type is not DataType.BYTES
        and len(output.shape) == len(state.shape) > 0
        and all(-1 in dims or dims[0] == dims[1] for dims in zip(output.shape, state.shape, strict=True))
    )


def _check_given(signature: ModelSignature, given: Given) -> None:
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    for entering, leaving in given.items():
        for kind, name, known in (("input", entering, inputs), ("output", leaving, outputs)):
            if name and name not in known:
                hint = did_you_mean(name, known) or f"the model has: {', '.join(known)}"
                raise UsageError(f"`state={entering}={leaving}`: the model has no {kind} '{name}'", hint=hint)
        if leaving and not could_follow(outputs[leaving], inputs[entering]):
            raise UsageError(
                f"`state={entering}={leaving}`: {inputs[entering]} cannot become {outputs[leaving]}",
                hint="both need the same type, and equal dims where these are fixed",
            )


def _single_ties(signature: ModelSignature, ties: Ties) -> Iterator[tuple[str, str]]:
    """The ties of each output to one input that it could follow: a window takes in its last values and the new ones."""
    for output in signature.outputs:
        tied = [spec for spec in signature.inputs if (spec.name, output.name) in ties and could_follow(output, spec)]
        named = [spec for spec in tied if output.name in match_by_name(spec.name, (output.name,))]
        chosen = tied if len(tied) == 1 else named
        if len(chosen) == 1:
            yield chosen[0].name, output.name


def _check_ties(given: Given, ties: Ties) -> None:
    """UsageError where the graph ties a state to another output than the one that was given."""
    for entering, leaving in given.items():
        tied = [name for one, name in ties if one == entering]
        if leaving and tied and leaving not in tied:
            raise UsageError(
                f"`state={entering}={leaving}`: in the graph, '{entering}' goes on as {_either(tied)}",
                hint=f"`state={entering}={tied[0]}`",
            )


def _choose(state: TensorSpec, outputs: Sequence[TensorSpec], ties: Ties) -> str:
    """The one output that follows the input, "" where it is no state; UsageError where more than one could."""
    names = tuple(output.name for output in outputs)
    by_name = match_by_name(state.name, names)
    tied = tuple(name for name in names if (state.name, name) in ties)
    both = tuple(name for name in by_name if name in tied)
    found = both or by_name or tied
    if len(found) == 1 and not (by_name and tied and not both):
        return found[0]
    if found:
        raise UsageError(f"input '{state.name}' could go on as {_either(dict.fromkeys((*by_name, *tied)))}", hint=_HINT)
    if is_called_state(state.name):
        raise UsageError(
            f"input '{state.name}' is called like a state, but no output is called like its next value"
            + (f"; by type and shape it could be {_either(names)}" if names else ""),
            hint=_HINT,
        )
    return ""


def _refuse_second(entering: str, leaving: str, chosen: Mapping[str, str]) -> None:
    for other, output in chosen.items():
        if output == leaving:
            raise UsageError(
                f"output '{leaving}' would be the next value of both '{other}' and '{entering}'", hint=_HINT
            )


def _check_weighed(chosen: Mapping[str, str], weighed: Ties) -> None:
    """UsageError where two states are exchanged: the old value of one goes on in the new one of the other."""
    taken = {leaving: entering for entering, leaving in chosen.items()}
    for entering, leaving in weighed:
        other = taken.get(leaving)
        if entering in chosen and other not in (None, entering):
            raise UsageError(
                f"'{leaving}' cannot be the next value of '{other}': in the graph the old value of '{entering}' is "
                "weighed into it",
                hint=f"`state={entering}={leaving}`",
            )


def _judge(
    one: TensorSpec, other: TensorSpec, signature: ModelSignature, given: Given, ties: Ties, weighed: Ties
) -> Evidence:
    pair = (one.name, other.name)
    if pair in ties or pair in weighed:
        return "graph" if pair in ties else "weighed"
    rivals = [output for output in signature.outputs if could_follow(output, one)]
    rivals += [spec for spec in signature.required_inputs if could_follow(other, spec)]
    if len(rivals) == 2:
        return "types"
    return "given" if one.name in given else "names"


def _judge_rest(pair: StatePair, known: Sequence[StatePair], signature: ModelSignature) -> StatePair:
    """A pair of which only names tell, or what was given, unless all others of its type and shape are known better."""
    if pair.evidence not in ("names", "given"):
        return pair
    settled = [each for each in known if each.evidence not in ("names", "given")]
    outputs = {each.output.name for each in settled}
    inputs = {each.input.name for each in settled}
    rivals = [spec for spec in signature.outputs if could_follow(spec, pair.input) and spec.name not in outputs]
    rivals += [
        spec for spec in signature.required_inputs if could_follow(pair.output, spec) and spec.name not in inputs
    ]
    return replace(pair, evidence="left") if len(rivals) == 2 else pair


def _either(names: Collection[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _list(signature: ModelSignature) -> str:
    return " ".join(_describe("Inputs", signature.inputs)) + " " + " ".join(_describe("Outputs", signature.outputs))


def _describe(kind: str, specs: Sequence[TensorSpec]) -> Iterator[str]:
    yield f"{kind}: {'; '.join(map(str, specs))}."
