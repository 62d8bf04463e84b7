"""`serve loadtest --generate` judged: objectives, gates, baseline and files, on a server whose clock is known."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai_server import RunningServer, running_openai_server
from token_stream import read_streams

from serve_deploy.reports.generation import Generation
from serve_deploy.reports.report import LoadTestReport

Generate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """An OpenAI-compatible server that streams on a clock."""
    with running_openai_server(tmp_path / "streams.jsonl") as running:
        yield running


@pytest.fixture
def generate(serve: Generate, server: RunningServer) -> Generate:
    """Run a short load test of token streams: twelve answers of eight tokens."""

    def run(*arguments: object, protocol: str = "chat") -> subprocess.CompletedProcess[str]:
        clock = ("--parameter", "ttft_ms=20", "--parameter", "itl_ms=2", "--max-tokens", 8, "--warmup", 0)
        prompts = ("--generate", protocol, "--input-tokens", 4)
        return serve("loadtest", server.url, "-m", "llm", *prompts, *clock, "--requests", 12, *arguments)

    return run


def read(path: Path) -> LoadTestReport:
    """Read a saved report."""
    return LoadTestReport.model_validate_json(path.read_text())


def get_tokens(report: LoadTestReport) -> Generation:
    """The token figures of its one point, which are there."""
    generation = report.points[0].generation
    assert generation is not None
    return generation


def test_a_pause_in_every_answer_spoils_goodput_but_not_the_first_token(generate: Generate, tmp_path: Path) -> None:
    """Each request is held to its own longest gap; exit 7, the reason, and every file."""
    outputs = [tmp_path / f"run.{extension}" for extension in ("json", "html", "md", "xml", "csv", "txt")]
    pause = ("--parameter", "stall_at=5", "--parameter", "stall_ms=1500")
    gates = ("--objective", "itl_max<500ms", "--slo", "ttft_p99<10s", "--slo", "goodput>50%")
    done = generate("-c", 4, *pause, *gates, *(word for path in outputs for word in ("-o", path)))
    assert done.returncode == 7
    missed = "goodput>50% at concurrency 4: 0 %, 50.0 points (100 %) under the threshold"
    assert f"1 of 2 gates missed: {missed}" in done.stderr
    report = read(outputs[0])
    generation = get_tokens(report)
    assert (generation.good, [each.missed for each in generation.objectives]) == (0, [12, 0])
    assert [each.expression for each in generation.objectives] == ["itl_max<500ms", "ttft<10s"]
    assert generation.longest_gap is not None
    assert generation.longest_gap.gap_us > 500_000
    assert generation.longest_gap.pieces_before == 5
    (row,) = csv.DictReader(outputs[4].read_text().splitlines())
    assert float(row["longest_gap_us"]) == generation.longest_gap.gap_us
    assert all("goodput" in path.read_text() for path in outputs)


def test_what_the_server_logged_is_what_goodput_says(generate: Generate, server: RunningServer, tmp_path: Path) -> None:
    """Requests that answered slower than the bound by the server's own log are not good."""
    saved = tmp_path / "run.json"
    generate("-c", 4, "--objective", "itl_max<1s", "-o", saved)
    generation = get_tokens(read(saved))
    longest = [max(stream.gaps_seconds) for stream in read_streams(server.log)]
    assert len(longest) == 12
    assert generation.good == sum(gap < 1 for gap in longest)
    assert generation.output_tokens == sum(len(stream.sent) for stream in read_streams(server.log)) == 96


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (("--slo", "goodput>95%"), "nothing says which requests are good", "--objective 'ttft<500ms'"),
        (("--slo", "goodput>95"), "the unit of goodput is % or /s", "goodput"),
        (("--objective", "ttft_p99<1s"), "--objective ttft_p99<1s: unknown figure", "itl_mean"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_the_first_request(
    generate: Generate, server: RunningServer, arguments: tuple[str, ...], says: str, hint: str
) -> None:
    """With the flags to give."""
    done = generate(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert hint in done.stderr
    assert read_streams(server.log) == []


def test_a_gate_on_tokens_needs_token_streams(serve: Generate, server: RunningServer) -> None:
    """A plain load test has none."""
    done = serve("loadtest", server.url, "-m", "llm", "--slo", "itl_p99<50ms")
    assert done.returncode == 2
    assert "--slo itl_p99<50ms is about token streams, and none are measured" in done.stderr
    assert "--generate" in done.stderr


def test_a_baseline_by_another_protocol_is_refused_before_the_first_request(
    generate: Generate, server: RunningServer, tmp_path: Path
) -> None:
    """A whole run is not lost to it; by the same one every token figure is compared."""
    saved = tmp_path / "chat.json"
    assert generate("-c", 2, "-o", saved).returncode == 0
    asked = len(read_streams(server.log))
    done = generate("-c", 2, "--baseline", saved, protocol="completions")
    assert done.returncode == 2
    assert "measured token streams (chat), this run token streams (completions)" in done.stderr
    assert len(read_streams(server.log)) == asked
    compared = generate("-c", 2, "--baseline", saved, "--min-effect", 50, "-o", tmp_path / "now.json")
    assert compared.returncode == 0, compared.stderr
    baseline = read(tmp_path / "now.json").baseline
    assert baseline is not None
    assert {"ttft_p50", "ttft_p99", "itl_p99", "output_tokens"} <= {change.metric for change in baseline.changes}


def test_a_search_goes_by_gates_on_streams(generate: Generate, tmp_path: Path) -> None:
    """No gap of 50 ms is below 1 ms, at any load; a busy machine would have to hold up seven of them."""
    saved = tmp_path / "run.json"
    slow = ("--parameter", "itl_ms=50", "--requests", 4)
    done = generate(
        *slow, "--find", "concurrency", "--concurrency", "1..2", "--repeat", 1, "--slo", "tpot_p50<1ms", "-o", saved
    )
    assert done.returncode == 7
    report = read(saved)
    assert report.search is not None
    assert (report.search.highest, report.search.stopped_by) == (None, "floor")
    assert "No concurrency meets tpot_p50<1ms" in done.stdout
