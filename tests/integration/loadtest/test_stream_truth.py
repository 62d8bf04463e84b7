"""What is reported of token streams is what the servers sent, by their own log and the clock that both read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.loadtest import ConstantRate, LoadTestOptions
from serve_deploy.loadtest.clients.recorder import SampleBlock
from serve_deploy.loadtest.measurements.answers import AnswerMeasurement
from serve_deploy.loadtest.measurements.measurement import Measurement
from serve_deploy.loadtest.options import GenerationOptions
from serve_deploy.loadtest.requests.generating import build_prompting, choose_prompts, describe_model
from serve_deploy.loadtest.workers.messages import Job, PeriodPlan, Prepare
from serve_deploy.loadtest.workers.worker import Worker
from serve_deploy.prompts.lengths import TokenLengths, read_lengths
from serve_deploy.prompts.options import PromptOptions

PROTOCOLS = ("triton", "grpc", "chat", "completions")
CLOCK = (("ttft_ms", 60), ("itl_ms", 30), ("jitter_seed", 7))
TOKENS = 20
# How long a stream lasts on that clock.
STREAM_SECONDS = 0.06 + 0.03 * (TOKENS - 1)
Measured = Callable[..., Any]


def lengths(text: str) -> TokenLengths:
    return read_lengths("input_tokens", text)


def collect_samples(options: LoadTestOptions, streams: int) -> tuple[list[SampleBlock], float]:
    """What a generator process notes of so many streams, which begin evenly within one's length; and when it began."""
    with ControlPlane(options.endpoint, timeout_seconds=120) as control:
        asked = describe_model(options, control, 30)
    job = Job(
        endpoint=options.endpoint, source=build_prompting(options, asked, choose_prompts(options)), timeout_seconds=60,
        validate=False, streaming=False, worker=0, workers=1,
    )  # fmt: skip
    sent: list[object] = []

    async def measure() -> float:
        worker = Worker(sent.append, {})
        worker.accept(job)
        load = ConstantRate(streams / STREAM_SECONDS)
        await worker.prepare(Prepare(load, streams))
        plan = PeriodPlan(
            shape=load, start=time.monotonic(), duration_seconds=60, backlog_seconds=60, requests=2 * streams,
            connections=2 * streams, seed=0,
        )  # fmt: skip
        await worker.measure(plan, worker.begin(plan))
        await worker.leave()
        return plan.start

    start = uvloop.run(measure())
    return [message for message in sent if isinstance(message, SampleBlock)], start


def by_request(blocks: list[SampleBlock]) -> dict[str, tuple[float, np.ndarray[Any, Any]]]:
    """Of each request, by the id that the server knows: when it was meant to be sent, and when each piece was seen."""
    seen = {}
    for block in blocks:
        rows, answers = (
            np.frombuffer(content, np.float64).reshape(-1, width)
            for content, width in ((block.rows, 4), (block.answers, 5))
        )
        pieces = np.split(np.frombuffer(block.pieces), np.cumsum(answers[:, 1].astype(int))[:-1])
        for id, row, times in zip(block.answer_ids, answers[:, 0].astype(int), pieces, strict=False):
            seen[id] = (float(rows[row, 0]), times)
    return seen


@pytest.mark.parametrize("streams", [1, 8, 64])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_token_is_seen_when_it_was_sent(stream_servers: dict[str, Any], protocol: str, streams: int) -> None:
    """Each token of each request, matched with the server's log: none before it was sent, and nothing holds them up.

    A busy machine shows many of them late; those that it does not keep waiting are seen within a millisecond. What is
    reported are the times that were noted.
    """
    server = stream_servers[protocol]
    server.log.write_text("")
    options = LoadTestOptions(
        endpoint=parse_endpoint(server.url), model="llm", loads=(ConstantRate(1),), requests=2 * streams,
        generation=GenerationOptions(
            generate="auto" if protocol == "grpc" else protocol, max_tokens=TOKENS, parameters=CLOCK,
            prompts=PromptOptions(input_tokens=lengths("16")),
        ),
    )  # fmt: skip
    blocks, start = collect_samples(options, streams)
    seen, sent = by_request(blocks), {stream.id: stream for stream in server.sent(2 * streams)}
    assert seen.keys() == sent.keys()
    late = np.concatenate([times - sent[id].sent for id, (_, times) in seen.items()])
    assert late.min() >= 0
    assert np.percentile(late, 5) < 0.001
    assert all(intended <= sent[id].received for id, (intended, _) in seen.items())

    measured = Measurement(start, AnswerMeasurement(start))
    for block in blocks:
        measured.add(0, block)
    first = np.array([times[0] - intended for intended, times in seen.values()]) * 1e6
    gaps = np.concatenate([np.diff(times) for _, times in seen.values()]) * 1e6
    assert measured.answers
    for histogram, noted in ((measured.answers.first, first), (measured.answers.gaps, gaps)):
        for percent in (50, 99):
            truth = np.percentile(noted, percent, method="inverted_cdf")
            assert histogram.percentile_us(percent) == pytest.approx(truth, rel=1 / 256, abs=1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tokens_add_up_exactly(measure_streams: Measured, protocol: str) -> None:
    """Input and output tokens are the server's; some answers end before the most tokens asked for."""
    generation = {
        "parameters": (("eos_at", 7), ("ttft_ms", 1), ("itl_ms", 1)),
        "prompts": PromptOptions(input_tokens=lengths("20±5")),
    }
    run = measure_streams(protocol, 8, 40, generation=generation)
    assert run.point.succeeded == 40
    assert run.generation.output_tokens == sum(len(stream.sent) for stream in run.sent) == 280
    assert run.generation.input_tokens == sum(stream.input_tokens for stream in run.sent)
    assert run.generation.output_counted_by == {"usage": 40}
    assert run.generation.input_counted_by == {"usage": 40}
    assert sum(bucket.output_tokens for bucket in run.generation.timeline) == pytest.approx(280)
    assert sum(bucket.first_tokens for bucket in run.generation.timeline) == 40


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ignoring_the_end_holds_the_length(measure_streams: Measured, protocol: str) -> None:
    """With `ignore_eos` every answer has the tokens that were asked for."""
    generation = {"parameters": (("eos_at", 3), ("itl_ms", 1)), "ignore_eos": True}
    run = measure_streams(protocol, 2, 4, generation=generation)
    assert {len(stream.sent) for stream in run.sent} == {12}
    assert run.generation.output_tokens == 48


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_gap_in_64_streams_is_found(measure_streams: Measured, tmp_path: Path, protocol: str) -> None:
    """400 ms inside one of 64 streams, once: the report says how long, in which request, and after how many pieces."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"{'needle' if index == 40 else 'hay'} {index}\n" for index in range(64)))
    stall = (*CLOCK, ("stall_at", 5), ("stall_ms", 400), ("stall_prompt", "needle"))
    generation = {"parameters": stall, "prompts": PromptOptions(prompts=prompts)}
    for _ in range(8):
        run = measure_streams(protocol, 64, 64, generation=generation)
        stalled = max(run.sent, key=lambda stream: max(stream.gaps_seconds))
        truth, found = max(stalled.gaps_seconds) * 1e6, run.generation.longest_gap
        assert run.generation.inter_token.max_us == pytest.approx(found.gap_us)
        assert max(bucket.gap_max_us for bucket in run.generation.timeline) == pytest.approx(found.gap_us)
        # A machine that does other things too may stop for longer, once, or send the token before the gap late.
        place = (found.request, found.pieces_before)
        if truth >= 400_000 and place == (stalled.id, 5) and found.gap_us == pytest.approx(truth, rel=0.03):
            return
    pytest.fail(f"{found} is not the gap of {truth:.0f} µs in {stalled.id}")
