"""What a language model is really asked: lengths, conversations and traces, as the servers saw them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openai_server import RunningServer, running_openai_server
from token_stream import SentStream, read_streams, write_token_stream
from tokenizer_files import word_piece, write_tokenizer

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import UsageError
from serve_deploy.loadtest import LoadTestOptions, run_loadtest
from serve_deploy.loadtest.options import GenerationOptions
from serve_deploy.loadtest.options.loads import ClosedLoop, ConstantRate
from serve_deploy.prompts.lengths import TokenLengths
from serve_deploy.prompts.options import PromptOptions
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.triton import TritonServer

FAST = (("ttft_ms", 5), ("itl_ms", 1))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """An OpenAI-compatible server that counts words."""
    with running_openai_server(tmp_path / "streams.jsonl") as running:
        yield running


@pytest.fixture(scope="module")
def simulator_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulated model writes what it was asked."""
    return write_token_stream(tmp_path_factory.mktemp("prompts") / "models", ttft_ms=5, itl_ms=1)


@pytest.fixture(scope="module")
def triton(triton_server: Callable[..., TritonServer], simulator_log: Path) -> TritonServer:
    """A Triton with the simulated model."""
    return triton_server(simulator_log.parent)


def ask(url: str, protocol: Any, asked: PromptOptions, **options: Any) -> LoadTestReport:
    """Run a load test without warm-up."""
    generation = GenerationOptions(generate=protocol, parameters=FAST, prompts=asked)
    chosen = {"warmup_seconds": 0.0, "timeout_seconds": 20.0, **options}
    return run_loadtest(LoadTestOptions(endpoint=parse_endpoint(url), model="llm", generation=generation, **chosen))


def lengths(streams: list[SentStream]) -> list[tuple[int, int]]:
    """Words of the question and of the answer."""
    return [(stream.input_tokens, len(stream.sent)) for stream in streams]


@pytest.mark.parametrize("protocol", ["chat", "completions"])
def test_synthetic_prompts_arrive_with_the_lengths_that_were_asked_for(
    server: RunningServer, tmp_path: Path, protocol: str
) -> None:
    """And the answers; the server's own counts agree with the tokenizer's."""
    asked = PromptOptions(
        tokenizer=write_tokenizer(tmp_path, word_piece()), input_tokens=TokenLengths(70), output_tokens=TokenLengths(9),
        prefix_tokens=30,
    )  # fmt: skip
    report = ask(server.url, protocol, asked, requests=5)
    assert lengths(read_streams(server.log)) == [(100, 9)] * 5
    generation = report.points[0].generation
    assert generation
    assert (generation.input_tokens, generation.output_tokens) == (500, 45)


def test_a_conversation_carries_what_was_said_and_waits_for_its_user(server: RunningServer) -> None:
    """Each of two users holds one conversation at a time, and thinks before each turn but the first."""
    asked = PromptOptions(input_tokens=TokenLengths(5), output_tokens=TokenLengths(4), turns=3, think_time_seconds=0.1)
    report = ask(server.url, "chat", asked, loads=(ClosedLoop(2),), requests=12)
    streams = read_streams(server.log)
    assert report.points[0].succeeded == 12
    first, second, third = (sum(stream.input_tokens == words for stream in streams) for words in (5, 14, 23))
    assert first + second + third == 12
    assert 0 <= first - third <= 2
    for turn in (stream for stream in streams if stream.input_tokens > 5):
        earlier = [each for each in streams if each.input_tokens == turn.input_tokens - 9]
        assert any(each.sent[-1] + 0.1 <= turn.received for each in earlier)
    busy = [sum(each.received <= stream.received <= each.sent[-1] for each in streams) for stream in streams]
    assert max(busy) <= 2


def test_a_user_who_thinks_beyond_the_end_is_not_waited_for(server: RunningServer) -> None:
    """The run ends with what is in flight."""
    asked = PromptOptions(input_tokens=TokenLengths(5), output_tokens=TokenLengths(2), turns=2, think_time_seconds=3600)
    report = ask(server.url, "chat", asked, loads=(ClosedLoop(2),), duration_seconds=0.3)
    assert (report.complete, report.points[0].succeeded) == (True, 2)


def test_an_open_loop_keeps_its_rate_and_lets_conversations_go_on_when_they_can(server: RunningServer) -> None:
    """Every arrival is a request: the next turn of a conversation whose user has thought, or the first of another."""
    asked = PromptOptions(input_tokens=TokenLengths(5), output_tokens=TokenLengths(2), turns=2, think_time_seconds=0.3)
    report = ask(server.url, "chat", asked, loads=(ConstantRate(20),), requests=40)
    streams = read_streams(server.log)
    first, second = ([each for each in streams if each.input_tokens == words] for words in (5, 12))
    assert report.points[0].succeeded == 40
    assert len(first) + len(second) == 40
    assert second
    assert all(any(each.sent[-1] + 0.3 <= turn.received for each in first) for turn in second)


def test_a_files_conversations_are_held_with_the_servers_answers(server: RunningServer, tmp_path: Path) -> None:
    """Not with the file's own, which only say how long an answer may be."""
    turns = [("system", "be kind"), ("user", "a b c"), ("assistant", "x"), ("user", "d e")]
    path = tmp_path / "chat.jsonl"
    path.write_text(
        json.dumps({"messages": [{"role": role, "content": text} for role, text in turns], "max_tokens": 6})
    )
    ask(server.url, "chat", PromptOptions(prompts=path), requests=2)
    assert lengths(read_streams(server.log)) == [(5, 6), (5 + 6 + 2, 6)]


def write_trace(folder: Path, rows: list[tuple[int, int, int]]) -> Path:
    """A trace of these times in ms, input and output lengths."""
    path = folder / "trace.jsonl"
    names = ("timestamp", "input_length", "output_length")
    path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows))
    return path


@pytest.mark.parametrize("processes", [1, 2])
def test_a_trace_is_replayed_with_its_lengths_at_its_times(
    server: RunningServer, tmp_path: Path, processes: int
) -> None:
    """Whichever process sends a request, and the same again in each repeat."""
    rows = [(index * 200, 10 + index, 1 + index % 3) for index in range(11)]
    asked = PromptOptions(trace=write_trace(tmp_path, rows), trace_speed=2)
    report = ask(server.url, "chat", asked, processes=processes, repeat=2)
    streams = read_streams(server.log)
    assert [(point.load.distribution, point.load.replay_of, point.sent) for point in report.points] == [
        ("replay", "trace.jsonl", 11)
    ] * 2
    for point, repeat in zip(report.points, (streams[:11], streams[11:]), strict=True):
        assert sorted(lengths(repeat)) == [(asked, said) for _, asked, said in rows]
        begun = datetime.fromisoformat(point.started_at).timestamp() - time.time() + time.monotonic()
        # The report's time is in whole milliseconds.
        assert all(each.received >= begun + (each.input_tokens - 10) * 0.2 / 2 - 0.01 for each in repeat)


def test_what_a_trace_gives_up_does_not_delay_the_lengths_of_the_rest(server: RunningServer, tmp_path: Path) -> None:
    """A request that is never sent takes its prompt with it."""
    rows = [(index * 20, 1 + index, 150) for index in range(40)]
    asked = PromptOptions(trace=write_trace(tmp_path, rows))
    report = ask(server.url, "chat", asked, connections=1, timeout_seconds=1.0)
    sent = [stream.input_tokens for stream in read_streams(server.log)]
    never_sent = report.points[0].never_sent
    assert never_sent
    assert max(sent) > len(sent) + never_sent / 2


def test_a_trace_leaves_no_room_for_another_load(server: RunningServer, tmp_path: Path) -> None:
    """It says itself when requests are sent."""
    path = tmp_path / "trace.csv"
    path.write_text("timestamp,input_length,output_length\n0,1,1\n")
    with pytest.raises(UsageError, match="`trace` says when requests are sent"):
        ask(server.url, "chat", PromptOptions(trace=path), loads=(ConstantRate(5),))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_real_triton_is_asked_the_same(triton: TritonServer, simulator_log: Path, protocol: str) -> None:
    """Where a conversation's text is one input, with all that was said before."""
    before = len(read_streams(simulator_log))
    asked = PromptOptions(input_tokens=TokenLengths(7), output_tokens=TokenLengths(3), turns=2)
    ask(triton.grpc_url if protocol == "grpc" else triton.http_url, "auto", asked, requests=4)
    assert sorted(lengths(read_streams(simulator_log)[before:])) == [(7, 3)] * 2 + [(17, 3)] * 2
