"""Traces: the forms of Mooncake and Azure, their limits, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.prompts import traces
from serve_deploy.prompts.traces import read_trace

MOONCAKE = [
    {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, *range(48, 60)]},
    {"timestamp": 30535, "input_length": 600, "output_length": 26, "hash_ids": [46, 2353]},
    {"timestamp": 30535, "input_length": 12, "output_length": 1},
]
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 23:59:59.9799600,4808,10\n"
    "2023-11-17 00:00:00.2319600,3180,8\n"
    "2023-11-17 00:00:01.4819600,110,27\n"
)


def write(folder: Path, content: str, name: str = "trace") -> Path:
    """A file of this content."""
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture
def mooncake(tmp_path: Path) -> Path:
    """Three requests, in milliseconds; two share their first block."""
    return write(tmp_path, "\n".join(map(json.dumps, MOONCAKE)))


@pytest.fixture
def azure(tmp_path: Path) -> Path:
    """Three requests within 1.502 s, across midnight."""
    return write(tmp_path, AZURE)


def test_mooncakes_lines_have_milliseconds_and_hash_ids(mooncake: Path) -> None:
    """The first arrival is the start; a request without ids has none."""
    trace = read_trace(mooncake)
    assert trace.arrivals.tolist() == pytest.approx([0, 3.053, 3.053])
    assert (trace.input_tokens.tolist(), trace.output_tokens.tolist()) == ([6955, 600, 12], [52, 26, 1])
    assert [blocks.tolist() for blocks in trace.blocks] == [[46, 47, *range(48, 60)], [46, 2353], []]


def test_azures_table_has_dates(azure: Path) -> None:
    """With seven digits of a second."""
    trace = read_trace(azure)
    assert trace.arrivals.tolist() == pytest.approx([0, 0.252, 1.502], abs=1e-6)
    assert (trace.input_tokens.tolist(), trace.output_tokens.tolist()) == ([4808, 3180, 110], [10, 8, 27])


@pytest.mark.parametrize(
    "content",
    [
        "timestamp,input_length,output_length\n1.5,10,20\n2.5,11,21\n",
        "Timestamp,Model,Request tokens,Response tokens\n1.5,GPT-4,10,20\n2.5,GPT-4,11,21\n",
        '"timestamp", "input_tokens", "output_tokens"\n1.5,10,20\n2.5,11.0,21\n',
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
        "2024-05-10 00:00:00.5+00:00,10,20\r\n2024-05-10 02:00:01.5+02:00,11,21\r\n",
    ],
)
def test_tables_have_seconds_or_dates_under_several_names(tmp_path: Path, content: str) -> None:
    """Among other columns, with either end of line."""
    trace = read_trace(write(tmp_path, content))
    assert (trace.arrivals.tolist(), trace.input_tokens.tolist(), trace.output_tokens.tolist()) == (
        [0.0, 1.0], [10, 11], [20, 21]
    )  # fmt: skip


def test_a_speed_moves_the_arrivals_together(azure: Path) -> None:
    """Twice as fast is half as long."""
    assert read_trace(azure, speed=2).arrivals.tolist() == pytest.approx([0, 0.126, 0.751], abs=1e-6)


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"requests": 2}, 2),
        ({"requests": 9}, 3),
        ({"duration_seconds": 0.3}, 2),
        ({"duration_seconds": 0.15, "speed": 2}, 2),
    ],
)
def test_a_trace_is_read_as_far_as_the_test_lasts(azure: Path, limits: dict[str, float], left: int) -> None:
    """In seconds of the test, whatever the speed."""
    assert len(read_trace(azure, **limits).arrivals) == left  # type: ignore[arg-type]


def test_what_lies_behind_the_limit_is_not_read(azure: Path) -> None:
    """So that a long trace costs what is used of it."""
    azure.write_text(AZURE + "2023-11-18 00:00:00,1,1\nnonsense\n")
    assert len(read_trace(azure, duration_seconds=60).arrivals) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("timestamp,input_length,output_length\n", "has no requests"),
        ("timestamp,input_length,output_length\n1,0,5\n", "line 2: input_length is 0"),
        ("timestamp,input_length,output_length\n\n1,5,-5\n", "line 3: output_length is -5"),
        ("timestamp,input_length,output_length\n1,5,2.5\n", "line 2: output_length is 2.5"),
        ("timestamp,input_length,output_length\n1,ten,5\n", 'line 2: input_length is "ten"'),
        ("timestamp,input_length,output_length\n1,5\n", "line 2: there is no output_length"),
        ("timestamp,input_length\n1,5\n", "line 2: there is no output_length"),
        ("1.5,10,20\n1.6,10,20\n", "line 2: there is no input_length"),
        ("timestamp,input_length,output_length\nnoon,5,5\n", 'line 2: timestamp is "noon", which is not a time'),
        ("timestamp,input_length,output_length\nnan,5,5\n", 'line 2: timestamp is "nan", which is not a time'),
        ("timestamp,input_length,output_length\n2,5,5\n1,5,5\n", "line 3: the time goes back"),
        ('{"timestamp": null, "input_length": 5, "output_length": 5}', "line 1: timestamp is missing"),
        ('{"timestamp": true, "input_length": 5, "output_length": 5}', "line 1: timestamp is true"),
        ('{"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": [-1]}', "line 1: hash_ids is not a list"),
        ('{"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": "x"}', "line 1: hash_ids is not a list"),
        (
            '{"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": [0.5]}',
            "line 1: hash_ids is not a list",
        ),
        ('{"prompt": "x"}', "line 1: there is no input_length"),
        ("[1, 2]", "line 1: not a request"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_field(tmp_path: Path, content: str, message: str) -> None:
    """In the words of the file."""
    path = write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        read_trace(path)
    assert caught.value.message.removeprefix(f"`trace={path}`").lstrip(", ").startswith(message)


def test_more_requests_than_can_be_held_need_a_limit(azure: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their arrivals go to each generator process."""
    monkeypatch.setattr(traces, "MOST_REQUESTS", 2)
    with pytest.raises(UsageError, match=r"has more than 2 requests") as caught:
        read_trace(azure)
    assert caught.value.hint == "limit it by `duration_seconds` or `requests`"
    assert len(read_trace(azure, requests=2).arrivals) == 2
