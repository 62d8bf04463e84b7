"""Prove that a served file keeps its sequences as the model with its state in hand: alone, and among others."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from serve_deploy.errors import InvalidModelError, VerificationError
from serve_deploy.implicit_state.chunks import STEPS
from serve_deploy.implicit_state.layout import State
from serve_deploy.implicit_state.unrolling import TritonStates, unroll
from serve_deploy.implicit_state.wrapping import ServedState
from serve_deploy.onnx.session import Array, Arrays, Run
from serve_deploy.tensors.closeness import SAME_ROW, Difference, compare, element_scale

_FEWEST_STEPS = 3
_MOST_SECONDS = 20.0
_SEED = 0
# The inputs of one request, by the number of its sequence, its step, and how many the sequence has.
MakeStep = Callable[[int, int, int], Arrays]


@dataclass(frozen=True)
class Unrolled:
    """One sequence: the inputs of each step, and what the model answers with its state in hand."""

    steps: Sequence[Arrays]
    expected: Sequence[Arrays]


@dataclass(frozen=True)
class SequencesProven:
    """How much was compared, the largest difference, and the states that no output depended on."""

    sequences: int
    steps: int
    largest_batch: int
    largest_difference: float
    without_influence: tuple[str, ...]


def record_sequences(
    run: Run, states: Sequence[State], make_step: MakeStep, count: int, steps: int, first: Arrays
) -> list[Unrolled]:
    """Unroll `count` sequences one by one, with the state in hand; each is a step longer than the one before."""
    sequences = []
    for number in range(count):
        length = steps + number
        inputs = [make_step(number, step, length) for step in range(length)]
        sequences.append(Unrolled(inputs, list(unroll(run, states, inputs, first))))
    return sequences


def count_steps(run: Run, states: Sequence[State], make_step: MakeStep, count: int) -> int:
    """How many steps a proof can take: 50, or fewer for a model that is slow."""
    began = time.monotonic()
    list(unroll(run, states, [make_step(0, step, _FEWEST_STEPS) for step in range(_FEWEST_STEPS)]))
    seconds = (time.monotonic() - began) / _FEWEST_STEPS
    return max(_FEWEST_STEPS, min(STEPS, int(_MOST_SECONDS / (2 * count * seconds + 1e-9))))


def prove_sequences(
    run: Run, served: Sequence[ServedState], sequences: Sequence[Unrolled], max_batch_size: int, first: Arrays
) -> SequencesProven:
    """Run the served file as Triton would, sequences side by side in batches of every size, and compare each answer.

    VerificationError where an answer is not the one with the state in hand.
    """
    initial = {each.input: each.to_served(first[each.state.input]) for each in served}
    kept = TritonStates(run, served, initial, batched=max_batch_size > 0)
    hidden = {each.state.output for each in served}
    scales = output_scales(sequences)
    largest, largest_batch = 0.0, 0
    for batch in _schedule([len(sequence.steps) for sequence in sequences], max(max_batch_size, 1)):
        for number, step in batch.items():
            if step == 0:
                kept.start(number)
        answers = kept.infer({number: sequences[number].steps[step] for number, step in batch.items()})
        largest_batch = max(largest_batch, len(batch))
        for number, step in batch.items():
            for name, expected in sequences[number].expected[step].items():
                if name in hidden:
                    continue
                difference = compare(answers[number][name], expected, SAME_ROW, scale=scales.get(name))
                _require_same(name, step, len(batch), difference)
                largest = max(largest, difference.relative)
    steps = min(len(sequence.steps) for sequence in sequences)
    return SequencesProven(len(sequences), steps, largest_batch, largest, ())


def output_scales(sequences: Sequence[Unrolled]) -> dict[str, Array | None]:
    """How large each element of each output usually is, over all steps."""
    answers: dict[str, list[Array]] = {}
    for sequence in sequences:
        for outputs in sequence.expected:
            for name, array in outputs.items():
                answers.setdefault(name, []).append(array)
    return {name: element_scale(arrays) for name, arrays in answers.items()}


def _schedule(lengths: Sequence[int], most: int) -> Iterator[dict[int, int]]:
    """Batches of (sequence, step), each sequence in order and of each batch size many; all steps once."""
    numbers = random.Random(_SEED)  # noqa: S311 - an order, no secret
    done = [0] * len(lengths)
    while left := [number for number, length in enumerate(lengths) if done[number] < length]:
        size = numbers.randint(1, min(most, len(left)))
        batch = {number: done[number] for number in numbers.sample(left, size)}
        for number in batch:
            done[number] += 1
        yield batch


def _require_same(name: str, step: int, size: int, difference: Difference) -> None:
    if difference.problem:
        among = "alone" if size == 1 else f"in a batch of {size} sequences"
        raise VerificationError(
            f"request {step + 1} of a sequence, {among}: output '{name}' {difference.problem}, compared with the model "
            "run with its state in hand",
            hint="`max_batch_size=0` runs every request alone; if it is the same then, `state` names the states",
        )


def find_idle_states(run: Run, states: Sequence[State], sequence: Unrolled, first: Arrays) -> tuple[str, ...]:
    """The states that change nothing: the sequence is answered in the same way where they stay as they were first."""
    return tuple(state.input for state in states if _is_idle(run, states, state, sequence, first))


def _is_idle(run: Run, states: Sequence[State], lost: State, sequence: Unrolled, first: Arrays) -> bool:
    carried = dict(first)
    hidden = {state.output for state in states}
    try:
        for step, expected in zip(sequence.steps, sequence.expected, strict=True):
            outputs = run({**step, **carried})
            if any(not np.array_equal(outputs[name], expected[name]) for name in expected if name not in hidden):
                return False
            carried = {state.input: outputs[state.output] for state in states} | {lost.input: first[lost.input]}
    except InvalidModelError:
        return False
    return True
