"""Files of prompts: layouts told apart by their content, errors with their line, and bounded memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_deploy.errors import UsageError
from serve_deploy.prompts import records
from serve_deploy.prompts.files import read_file
from serve_deploy.prompts.lengths import TokenLengths
from serve_deploy.prompts.tokenizer import Tokenizer

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: bool(text.strip()))
ITEMS = [{"prompt": "one"}, "two [2]", {"messages": [{"role": "user", "content": "three"}]}]
CHAT = {"messages": [{"role": "user", "content": "the air"}, {"role": "assistant", "content": "the the the"},
                     {"role": "system", "content": "the"}, {"role": "user", "content": "the"}]}  # fmt: skip


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file of this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def questions(path: Path) -> list[str]:
    """What the first turn of each conversation asks."""
    return [each.turns[0].messages[0].content for each in read_file(path).conversations]


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.json", "prompts", "prompts.data"])
@pytest.mark.parametrize(
    "content",
    [
        "\n".join(json.dumps(item) for item in ITEMS),
        "\n\n  " + "\r\n\r\n".join(json.dumps(item) for item in ITEMS) + "\r\n\n",
        "\ufeff" + "\n".join(json.dumps(item) for item in ITEMS),
    ],
)
def test_json_lines_are_recognised(tmp_path: Path, name: str, content: str) -> None:
    """By their content, with empty lines and a byte order mark."""
    assert questions(write(tmp_path, name, content)) == ["one", "two [2]", "three"]


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("name", ["prompts.json", "prompts"])
def test_a_json_list_is_recognised(tmp_path: Path, name: str, indent: int | None) -> None:
    """On one line or on many."""
    assert questions(write(tmp_path, name, json.dumps(ITEMS, indent=indent))) == ["one", "two [2]", "three"]


def test_a_json_document_over_several_lines_is_one_prompt(tmp_path: Path) -> None:
    """As a request that was saved."""
    assert questions(write(tmp_path, "request.json", json.dumps(ITEMS[2], indent=2))) == ["three"]


@pytest.mark.parametrize(
    ("name", "lines"), [("prompts.txt", ['"A", he said', "{b", "[c]"]), ("prompts", ["a", "{b", "7"])]
)
def test_plain_lines_are_prompts(tmp_path: Path, name: str, lines: Sequence[str]) -> None:
    """Of a .txt file whatever they look like."""
    assert questions(write(tmp_path, name, "\n\n".join(lines) + "\n")) == lines


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", " \n\n ", "is empty"),
        ("a.txt", b"PNG\0\x01", "is no text file"),
        ("a.txt", "hello".encode("utf-16"), "is no text file"),
        ("a.jsonl", b'{"prompt": "a"}\n{"prompt": "\xff"}\n', "line 2: not valid UTF-8"),
        ("a.json", b'[{"prompt": "a"},\n{"prompt": "\xff"}]', "line 2: not valid UTF-8"),
        ("a.json", b'{\n"prompt":\n "\xff"}', "line 3: not valid UTF-8"),
        ("a.jsonl", '{"prompt": "a"}\n\n{"prompt": "b"', "line 3: not JSON: Expecting ',' delimiter, column 15"),
        ("a.json", '[{"prompt": "a"},\n\n{"prompt" "b"}]', "line 3: not JSON: Expecting ':' delimiter"),
        ("a.json", '[{"prompt": "a"},\n{"prompt": "b"', "line 2: the file ends inside the list"),
        ("a.json", '[{"prompt": "a"},\n{"prompt": "b', "line 2: the file ends inside the list"),
        ("a.json", '[{"prompt": "a"}', "line 1: the file ends inside the list"),
        ("a.json", '[{"prompt":\n"a"}]\n\n{"prompt": "b"}', "line 4: there is something after the list"),
        ("a.json", "[" * 100_000, "line 1: nested too deeply"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON: maximum recursion depth exceeded"),
        ("a.jsonl", '{"prompt": "a"}\n{"promt": "b"}', "line 2: it has only promt"),
        ("a.json", '[{"prompt": "a"},\n{"prompt": "b", "max_tokens": -1}]', "line 2: max_tokens is -1"),
        ("a.json", "{\n\"prompt\": 'b'}", "line 2: not JSON: Expecting value, column 11"),
        ("a.jsonl", '{"prompt": ""}', "asks nothing"),
        ("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,20,5\n", "is a table"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    """Whatever the layout."""
    path = write(tmp_path, name, content)
    with pytest.raises(UsageError) as caught:
        read_file(path)
    found = caught.value.message.removeprefix(f"`prompts={path}`").lstrip(", ")
    assert found.startswith(message)
    assert caught.value.hint


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Nor is a folder a file."""
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_file(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_file(tmp_path)


def test_records_without_a_question_are_left_out_and_counted(tmp_path: Path) -> None:
    """ShareGPT's own file has such."""
    read = read_file(write(tmp_path, "a.jsonl", '{"conversations": []}\n"x"\n{"prompt": " "}\n'))
    assert (len(read.conversations), read.total, read.unasked) == (1, 3, 2)


def test_a_tokenizer_counts_questions_and_the_answers_to_ask_for(
    tmp_path: Path, tokenizers: dict[str, Tokenizer]
) -> None:
    """All messages that are new in a turn; the last turn has no answer to go by."""
    path = write(tmp_path, "a.jsonl", json.dumps(CHAT))
    (conversation,) = read_file(path, tokenizer=tokenizers["word_piece"]).conversations
    assert [(turn.input_tokens, turn.output_tokens) for turn in conversation.turns] == [(2, 3), (2, None)]


@pytest.mark.parametrize(
    ("record", "asked", "expected"),
    [(None, None, 3), (7, None, 7), (7, TokenLengths(9), 9), (None, TokenLengths(9), 9)],
)
def test_what_the_options_ask_for_goes_before_the_record_and_that_before_its_answer(
    tmp_path: Path, tokenizers: dict[str, Tokenizer], record: int | None, asked: TokenLengths | None, expected: int
) -> None:
    """The closer to the user, the stronger."""
    path = write(tmp_path, "a.jsonl", json.dumps({**CHAT, "max_tokens": record}))
    read = read_file(path, tokenizer=tokenizers["word_piece"], output_tokens=asked)
    assert read.conversations[0].turns[0].output_tokens == expected


def test_turns_are_cut_where_asked_and_carry_the_think_time(tmp_path: Path) -> None:
    """The first ones stay."""
    read = read_file(write(tmp_path, "a.jsonl", json.dumps(CHAT)), most_turns=1, think_seconds=2.5)
    assert (len(read.conversations[0].turns), read.conversations[0].think_seconds) == (1, 2.5)


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1), short=st.integers(0, 99))
def test_a_list_is_read_the_same_however_it_arrives(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], short: int
) -> None:
    """Characters and items may lie across the mebibyte that is read at a time."""
    items = ["x" * ((1 << 20) - short), *texts]
    path = write(tmp_path_factory.mktemp("list"), "a.json", json.dumps(items, ensure_ascii=False, indent=1))
    assert questions(path) == items


def test_a_large_file_is_sampled_evenly_and_always_alike(tmp_path: Path) -> None:
    """At most 10,000 prompts are kept, in their order; another seed chooses others."""
    path = write(tmp_path, "a.jsonl", "".join(f'{{"prompt": "{number}"}}\n' for number in range(40_000)))
    first, again, other = (records.sample_records(path, seed) for seed in (0, 0, 1))
    numbers = [int(json.loads(record.text)["prompt"]) for record in first.kept]
    assert (len(numbers), first.total, first, numbers) == (records.MOST_RECORDS, 40_000, again, sorted(numbers))
    assert first != other
    quarters = [sum(place * 10_000 <= number < (place + 1) * 10_000 for number in numbers) for place in range(4)]
    assert all(2200 < quarter < 2800 for quarter in quarters)


def test_long_records_are_kept_up_to_64_mib(tmp_path: Path) -> None:
    """However few they are."""
    line = json.dumps({"prompt": "x" * (1 << 20)}) + "\n"
    kept = records.sample_records(write(tmp_path, "a.jsonl", line * 80), 0)
    assert (len(kept.kept), kept.total) == (63, 80)
