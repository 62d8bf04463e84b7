"""The prompts of a file: its records as conversations, with their lengths where a tokenizer counts them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serve_deploy.errors import UsageError
from serve_deploy.prompts.lengths import TokenLengths
from serve_deploy.prompts.prompt import Conversation, Turn
from serve_deploy.prompts.records import Record, locate, read_value, sample_records
from serve_deploy.prompts.shapes import SHAPES, Dialogue, Exchange, ShapeError, read_dialogue
from serve_deploy.prompts.tokenizer import Tokenizer


@dataclass(frozen=True)
class FilePrompts:
    """A file's conversations; of its `total` records, `kept` were read, and `unasked` of these ask nothing."""

    conversations: tuple[Conversation, ...]
    total: int
    kept: int
    unasked: int


def read_file(
    path: Path,
    *,
    tokenizer: Tokenizer | None = None,
    output_tokens: TokenLengths | None = None,
    most_turns: int | None = None,
    think_seconds: float = 0.0,
    seed: int = 0,
) -> FilePrompts:
    """Read the prompts of a file; UsageError names the line and the field that are wrong.

    What `output_tokens` asks for goes before what a record asks for, and that before the length of its own answer.
    """
    if path.suffix == ".csv":
        raise UsageError(f"`prompts={path}` is a table", hint=SHAPES)
    records = sample_records(path, seed)
    dialogues = [dialogue for record in records.kept if (dialogue := _read_record(path, record)).exchanges]
    if not dialogues:
        raise UsageError(f"`prompts={path}` asks nothing", hint=SHAPES)
    asked = [(dialogue, dialogue.exchanges[:most_turns]) for dialogue in dialogues]
    counts = _count(tokenizer, [exchange for _, exchanges in asked for exchange in exchanges])
    generator = np.random.default_rng(seed)

    def make_turn(exchange: Exchange, said: int | None) -> Turn:
        question, answer = next(counts)
        drawn = output_tokens.draw(generator) if output_tokens else None
        return Turn(exchange.question, question, drawn or said or answer)

    conversations = tuple(
        Conversation(tuple(make_turn(exchange, dialogue.output_tokens) for exchange in exchanges), think_seconds)
        for dialogue, exchanges in asked
    )
    return FilePrompts(conversations, records.total, len(records.kept), len(records.kept) - len(dialogues))


def _read_record(path: Path, record: Record) -> Dialogue:
    try:
        return read_dialogue(read_value(path, "prompts", record))
    except ShapeError as error:
        raise UsageError(f"{locate(path, 'prompts', record.line)} {error}", hint=error.hint) from error


def _count(tokenizer: Tokenizer | None, exchanges: Sequence[Exchange]) -> Iterator[tuple[int | None, int | None]]:
    """The tokens of each question and of its answer, where they can be counted."""
    if tokenizer is None:
        yield from itertools.repeat((None, None), len(exchanges))
        return
    texts = [[*(message.content for message in each.question), each.answer or ""] for each in exchanges]
    counts = iter(tokenizer.count_tokens(list(itertools.chain.from_iterable(texts))))
    for parts in texts:
        *question, answer = itertools.islice(counts, len(parts))
        yield sum(question), answer or None
