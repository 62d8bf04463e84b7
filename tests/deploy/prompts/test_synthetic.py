"""Synthetic prompts: exact lengths on every kind of tokenizer, and no more in common than was asked for."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_files import KINDS, write_tokenizer
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers

from serve_deploy.errors import UsageError
from serve_deploy.prompts.lengths import TokenLengths
from serve_deploy.prompts.synthetic import HOW_MANY, SyntheticConversations, TraceConversations
from serve_deploy.prompts.tokenizer import Tokenizer, read_tokenizer
from serve_deploy.prompts.words import Words, common_words, find_words

EXACT = [kind for kind in KINDS if kind != "whole_phrases"]


@pytest.fixture(scope="session")
def words(tokenizers: dict[str, Tokenizer]) -> dict[str, Words]:
    """What texts are made of, for each kind of tokenizer."""
    return {kind: find_words(tokenizers[kind]) for kind in EXACT}


def read_text(conversations: SyntheticConversations | TraceConversations, index: int, turn: int = 0) -> str:
    """What one request asks."""
    (message,) = conversations[index].turns[turn].messages
    return message.content


@pytest.mark.parametrize("kind", EXACT)
@settings(max_examples=60, deadline=None)
@given(
    mean=st.integers(1, 3000), deviation=st.integers(0, 500), prefix=st.integers(0, 600), turns=st.integers(1, 3),
    index=st.integers(0, HOW_MANY - 1), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_every_text_has_exactly_the_length_that_it_says(
    tokenizers: dict[str, Tokenizer], words: dict[str, Words], kind: str,
    mean: int, deviation: int, prefix: int, turns: int, index: int, seed: int,
) -> None:  # fmt: skip
    """After the model's own tokenizer has read it again."""
    lengths = TokenLengths(mean, deviation)
    made = SyntheticConversations(words[kind], lengths, None, prefix, turns, seed=seed)[index]
    texts = [message.content for turn in made.turns for message in turn.messages]
    assert tokenizers[kind].count_tokens(texts) == [turn.input_tokens for turn in made.turns]
    assert deviation or made.turns[0].input_tokens == prefix + mean


@pytest.mark.parametrize("kind", EXACT)
def test_no_two_prompts_begin_with_the_same_few_tokens(words: dict[str, Words], kind: str) -> None:
    """A prefix cache finds nothing: neighbours differ at once, and any two within four words."""
    openings = [tuple(words[kind].opening(index)) for index in range(0, HOW_MANY, 97)]
    assert len(set(openings)) == len(openings)
    assert max(map(len, openings)) <= 4
    assert all(openings[place][0] != openings[place + 1][0] for place in range(100))


def test_the_same_seed_makes_the_same_prompts_and_another_seed_others() -> None:
    """In whatever order, and in another process."""
    lengths = TokenLengths(30, 10)
    made = SyntheticConversations(common_words(), lengths, lengths, turns=2, seed=5)
    again = pickle.loads(pickle.dumps(made))
    assert [made[index] for index in (7, 0, 7)] == [again[index] for index in (7, 0, 7)]
    assert made[7] != SyntheticConversations(common_words(), lengths, lengths, turns=2, seed=6)[7]


def test_a_shared_prefix_is_shared_as_far_as_asked_and_no_further() -> None:
    """It comes before the length that was asked for, in the first turn only."""
    made = SyntheticConversations(common_words(), TokenLengths(20), None, prefix_tokens=15, turns=2)
    first, second = read_text(made, 3).split(), read_text(made, 4).split()
    assert (len(first), first[:15], first[15] == second[15]) == (35, second[:15], False)
    assert len(read_text(made, 3, turn=1).split()) == 20


def test_answers_are_as_long_as_was_asked_for() -> None:
    """Around the mean, at least 1."""
    made = SyntheticConversations(common_words(), TokenLengths(1), TokenLengths(100, 20))
    wanted = [made[index].turns[0].output_tokens or 0 for index in range(500)]
    assert min(wanted) >= 1
    assert sum(wanted) / 500 == pytest.approx(100, abs=4)


def test_a_million_conversations_take_no_room() -> None:
    """They are made when they are asked for."""
    made = SyntheticConversations(common_words(), TokenLengths(100_000), None)
    assert len(made) == HOW_MANY
    assert len(pickle.dumps(made)) < 10_000
    with pytest.raises(IndexError):
        made[HOW_MANY]


def test_without_a_tokenizer_no_count_is_claimed() -> None:
    """There are as many words, but the number of tokens is not known."""
    made = SyntheticConversations(common_words(), TokenLengths(12), None)
    assert made[0].turns[0].input_tokens is None
    assert len(read_text(made, 0).split()) == 12


def test_a_vocabulary_that_cannot_hit_a_length_is_refused(tokenizers: dict[str, Tokenizer]) -> None:
    """Where neighbouring words become one token."""
    with pytest.raises(UsageError, match="too few words that are one token each") as caught:
        find_words(tokenizers["whole_phrases"])
    assert str(caught.value.hint).startswith("leave out `tokenizer`: lengths are approximate then")


def test_words_that_a_token_runs_over_are_not_used(tmp_path: Path) -> None:
    """Two neighbours among 2,744 words are one token: too rare to be met by trying."""
    words = ["".join(letters) for letters in itertools.product("abcdefghijklmn", repeat=3)]
    pieces = [("<unk>", 0.0), *((letter, -20.0) for letter in "▁abcdefghijklmn")]
    pieces += [*((f"▁{word}", -5.0) for word in words), ("▁big▁ink", -5.0)]
    model = Library(models.Unigram(pieces, 0))
    model.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    model.decoder = decoders.Metaspace()
    tokenizer = read_tokenizer(write_tokenizer(tmp_path, model))
    assert tokenizer.count_tokens(["ink big", "big ink"]) == [2, 1]
    assert set(words) - set(find_words(tokenizer).words) == {"big"}


@pytest.mark.parametrize("kind", EXACT)
def test_equal_hash_ids_make_equal_blocks_of_512_tokens(
    tokenizers: dict[str, Tokenizer], words: dict[str, Words], kind: str
) -> None:
    """As far as two requests of a trace have them in common, and no further."""
    blocks = ((46, 47, 48), (46, 47, 2353), (9,))
    made = TraceConversations(words[kind], (1200, 1030, 600), (1, 2, 3), blocks)
    texts = [read_text(made, index) for index in range(3)]
    first, second, third = tokenizers[kind].encode(texts)
    common = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))))
    assert [len(first), len(second), len(third)] == [1200, 1030, 600]
    assert 1024 <= common < 1030
    assert first[:16] != third[:16]
