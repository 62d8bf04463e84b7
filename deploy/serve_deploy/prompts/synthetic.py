"""Synthetic conversations of given lengths, made anew each time one is asked for, so that they take no memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from serve_deploy.prompts.lengths import TokenLengths
from serve_deploy.prompts.prompt import Conversation, Message, Turn
from serve_deploy.prompts.words import Words

HOW_MANY = 1_000_000
BLOCK_TOKENS = 512  # what a hash id of a Mooncake trace stands for
# What the second number of a generator's seed stands for, so that no two draw the same.
_CONVERSATION, _PREFIX, _BLOCK = range(3)


class MadeConversations(Sequence[Conversation]):
    """A sequence whose items `make` makes; slices are not taken, for they would hold what is meant not to be held."""

    def make(self, index: int) -> Conversation:
        """The conversation at an index from 0 on."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Conversation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Conversation]: ...
    def __getitem__(self, index: int | slice) -> Conversation | Sequence[Conversation]:
        """The conversation at this index; TypeError for a slice."""
        if isinstance(index, slice):
            raise TypeError("synthetic conversations are made one by one")
        place = range(len(self))[index]
        return self.make(place)


@dataclass(frozen=True)
class SyntheticConversations(MadeConversations):
    """A million different conversations; each text opens with words that no other does, after the shared prefix.

    `input_tokens` is the length of each turn's text; the first turn's has the `prefix_tokens` before that.
    """

    words: Words
    input_tokens: TokenLengths
    output_tokens: TokenLengths | None
    prefix_tokens: int = 0
    turns: int = 1
    think_seconds: float = 0.0
    seed: int = 0

    def __len__(self) -> int:
        return HOW_MANY

    @cached_property
    def _prefix(self) -> list[int]:
        return self.words.draw(np.random.default_rng((self.seed, _PREFIX)), self.prefix_tokens)

    def make(self, index: int) -> Conversation:
        """The same each time."""
        generator = np.random.default_rng((self.seed, _CONVERSATION, index))
        turns = []
        for place in range(self.turns):
            count = self.input_tokens.draw(generator)
            opening = [] if place else self.words.opening(self.seed + index)
            numbers = [*opening, *self.words.draw(generator, count)][:count]
            wanted = self.output_tokens.draw(generator) if self.output_tokens else None
            turns.append(_make_turn(self.words, numbers if place else self._prefix + numbers, wanted))
        return Conversation(tuple(turns), self.think_seconds)


@dataclass(frozen=True)
class TraceConversations(MadeConversations):
    """A trace's requests with synthetic text of their lengths.

    Where the trace has hash ids, equal ids are equal blocks of 512 tokens, so that prefixes are shared as they were;
    elsewhere no two texts begin alike.
    """

    words: Words
    input_tokens: Sequence[int]
    output_tokens: Sequence[int]
    blocks: Sequence[Sequence[int]] = ()
    seed: int = 0

    def __len__(self) -> int:
        return len(self.input_tokens)

    def make(self, index: int) -> Conversation:
        """The same each time."""
        count = self.input_tokens[index]
        numbers: list[int] = []
        for block in self.blocks[index] if self.blocks else ():
            numbers += self.words.draw(np.random.default_rng((self.seed, _BLOCK, block)), BLOCK_TOKENS)
        if len(numbers) < count:
            generator = np.random.default_rng((self.seed, _CONVERSATION, index))
            opening = [] if numbers else self.words.opening(self.seed + index)
            numbers += [*opening, *self.words.draw(generator, count - len(numbers))]
        return Conversation((_make_turn(self.words, numbers[:count], self.output_tokens[index]),))


def _make_turn(words: Words, numbers: Sequence[int], output_tokens: int | None) -> Turn:
    """One question of these words, whose length is known where words are exact."""
    known = len(numbers) if words.exact else None
    return Turn((Message("user", words.text(numbers)),), known, output_tokens)
