"""From options to the prompts that are sent, and what the report says of them."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.prompts.lengths import TokenLengths
from serve_deploy.prompts.options import PromptOptions
from serve_deploy.prompts.reading import read_prompts
from serve_deploy.reports.figures import describe_data

APPROXIMATE = "; a word stands for a token, for no tokenizer was given"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Two prompts, one of them long, and a record that asks nothing."""
    path = tmp_path / "prompts.jsonl"
    path.write_text('"the"\n"the the the the"\n""\n')
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Two requests within 3 s."""
    path = tmp_path / "trace.jsonl"
    requests = [(0, 600, 5), (3000, 40, 10)]
    path.write_text(
        "\n".join(
            json.dumps({"timestamp": at, "input_length": asked, "output_length": said}) for at, asked, said in requests
        )
    )
    return path


def test_without_any_option_prompts_are_synthetic() -> None:
    """512 words, and said to be about as many tokens."""
    made = read_prompts(PromptOptions())
    assert len(made.conversations[0].turns[0].messages[0].content.split()) == 512
    assert describe_data(made.origin) == f"synthetic prompts of 512 tokens (seed 0){APPROXIMATE}"
    assert made.arrivals is None


def test_synthetic_conversations_say_what_they_are(byte_bpe: Path) -> None:
    """Turns, lengths, prefix and seed."""
    options = PromptOptions(
        tokenizer=byte_bpe, input_tokens=TokenLengths(1024, 64), output_tokens=TokenLengths(9), prefix_tokens=2000,
        turns=3, think_time_seconds=2,
    )  # fmt: skip
    made = read_prompts(options, seed=4)
    (first, second, third), think_seconds = made.conversations[5].turns, made.conversations[5].think_seconds
    assert (first.output_tokens, third.output_tokens, think_seconds) == (9, 9, 2)
    assert (first.input_tokens or 0) > 2500 > (second.input_tokens or 9999)
    assert describe_data(made.origin) == (
        "synthetic conversations of 3 turns, each of 1,024 ± 64 tokens after a prefix of 2,000 that all share (seed 4)"
    )


def test_a_file_says_what_it_had(prompts: Path) -> None:
    """Also what is left out."""
    read = read_prompts(PromptOptions(prompts=prompts))
    assert len(read.conversations) == 2
    assert describe_data(read.origin) == f"{prompts}: 2 prompts; 1 without a question left out"


def test_a_trace_has_arrivals_and_texts_of_its_lengths(trace: Path, byte_bpe: Path) -> None:
    """One conversation for each arrival."""
    read = read_prompts(PromptOptions(trace=trace, trace_speed=2, tokenizer=byte_bpe))
    lengths = [
        (each.turns[0].input_tokens, each.turns[0].output_tokens)
        for each in map(read.conversations.__getitem__, (0, 1))
    ]
    assert (read.arrivals, lengths, len(read.conversations)) == ((0.0, 1.5), [(600, 5), (40, 10)], 2)
    assert describe_data(read.origin) == f"{trace}: 2 requests over 1.50 s, as synthetic text, 2 times as fast"


def test_a_trace_ends_with_the_test(trace: Path) -> None:
    """After its duration, or its requests."""
    for limit in ({"duration_seconds": 2.0}, {"requests": 1}):
        read = read_prompts(PromptOptions(trace=trace), **limit)  # type: ignore[arg-type]
        assert (read.arrivals, len(read.conversations)) == ((0.0,), 1)


def test_every_set_travels_to_another_process(trace: Path, prompts: Path, byte_bpe: Path) -> None:
    """Where it is the same."""
    for options in (PromptOptions(tokenizer=byte_bpe), PromptOptions(trace=trace), PromptOptions(prompts=prompts)):
        made = read_prompts(options)
        assert pickle.loads(pickle.dumps(made)).conversations[1] == made.conversations[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompts": Path("a"), "input_tokens": TokenLengths(5)}, "`prompts` and `input_tokens` exclude each other"),
        ({"prompts": Path("a"), "prefix_tokens": 5}, "`prompts` and `prefix_tokens` exclude each other"),
        ({"trace": Path("a"), "prompts": Path("b")}, "`trace` and `prompts` exclude each other"),
        ({"trace": Path("a"), "output_tokens": TokenLengths(5)}, "`trace` and `output_tokens` exclude each other"),
        ({"trace": Path("a"), "turns": 2}, "`trace` and `turns` exclude each other"),
        ({"trace_speed": 2.0}, "`trace_speed` needs a `trace`"),
        ({"think_time_seconds": 2.0}, "`think_time_seconds` needs conversations of several turns"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any], message: str) -> None:
    """Before any file is read."""
    with pytest.raises(UsageError) as caught:
        read_prompts(PromptOptions(**given))
    assert caught.value.message == message


@pytest.fixture
def short_model(tmp_path: Path, byte_bpe: Path) -> Path:
    """A model's folder whose config.json says a context of 50 tokens."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(byte_bpe, folder)
    dimensions = {"num_attention_heads": 8, "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 2000}
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **dimensions, "max_position_embeddings": 50}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_is_longer_than_the_context_is_left_out_and_said(prompts: Path, trace: Path, short_model: Path) -> None:
    """With the answer that is asked for."""
    asked = PromptOptions(prompts=prompts, tokenizer=short_model, output_tokens=TokenLengths(48))
    words, replay = read_prompts(asked), read_prompts(PromptOptions(trace=trace, tokenizer=short_model))
    assert (len(words.conversations), replay.arrivals) == (1, (3.0,))
    assert describe_data(words.origin).endswith("; 1 longer than the model's context left out")
    assert describe_data(replay.origin).endswith("; 1 longer than the model's context left out")


def test_where_nothing_fits_the_context_the_run_is_refused(prompts: Path, trace: Path, short_model: Path) -> None:
    """Synthetic prompts count with their prefix, their turns and their answers."""
    long = TokenLengths(50)
    exact = PromptOptions(
        tokenizer=short_model, input_tokens=TokenLengths(12), output_tokens=TokenLengths(8), prefix_tokens=10, turns=2
    )
    read_prompts(exact)
    for wrong in (
        replace(exact, prefix_tokens=11),
        PromptOptions(tokenizer=short_model, prompts=prompts, output_tokens=long),
    ):
        with pytest.raises(UsageError, match=r"needs more than the 50 tokens of the model's context"):
            read_prompts(wrong)
