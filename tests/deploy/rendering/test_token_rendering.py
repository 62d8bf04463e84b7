"""What every format says of token streams: the figures of the field, how tokens were counted, and the longest gap."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from synthetic_reports import make_point, make_report, summarise_latency
from synthetic_streams import (
    Streams,
    make_streams,
    make_token_point,
    make_token_report,
    make_token_sweep,
    plant_gap,
)

from serve_deploy.rendering import Format, render
from serve_deploy.reports.gates import evaluate_gates, parse_gate
from serve_deploy.reports.generation import CountedBy, Generation
from serve_deploy.reports.point import ErrorKind, Point
from serve_deploy.reports.report import LoadTestReport, NamedReport, ReportSet

Golden = Callable[[str, str], None]
GATES = [parse_gate(text) for text in ("ttft_p99<80ms", "itl_p99<50ms", "itl_max<300ms", "e2e_p99<2s", "goodput>95%")]
FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "junit", "html")


def make_judged_report() -> LoadTestReport:
    """One load of 64 streams, of which one pauses for 400 ms and two break."""
    broken = ErrorKind(kind="stream_cut", count=2, example="the connection ended after 7 pieces")
    point = make_token_point(errors=(broken,), sent=834, failed=2)
    assert point.generation is not None
    generation = point.generation.model_copy(update={"output_tokens_of_failures": 14})
    point = point.model_copy(update={"generation": generation})
    return make_token_report(point, gates=evaluate_gates(GATES, [point]))


def make_judged_sweep() -> LoadTestReport:
    """Three loads of three repeats, the highest of which misses its gates."""
    points = make_token_sweep()
    return make_token_report(*points, gates=evaluate_gates([GATES[0], GATES[-1]], points))


def make_empty_report() -> LoadTestReport:
    """A server that broke every stream before its first token."""
    nothing = summarise_latency(np.empty(0))
    cut = ErrorKind(kind="stream_cut", count=4, example="the connection ended before any content")
    generation = Generation(
        protocol="chat", time_to_first_token=nothing, inter_token=nothing, time_per_output_token=nothing,
        input_tokens=None, output_tokens=0, pieces=0, input_tokens_per_second=None, output_tokens_per_second=0.0,
        output_counted_by={}, input_counted_by={},
    )  # fmt: skip
    return make_token_report(make_point(response_us=np.empty(0), errors=(cut,), generation=generation))


REPORTS = {"tokens": make_judged_report, "token_sweep": make_judged_sweep, "no_tokens": make_empty_report}


@pytest.mark.parametrize("name", REPORTS)
def test_text_says_it_all(name: str, golden: Golden) -> None:
    """The end table of one load, of a sweep and of a server that sent no token."""
    golden(f"loadtest/{name}.txt", render(REPORTS[name](), "table"))


@pytest.mark.parametrize("name", REPORTS)
def test_markdown_says_it_all(name: str, golden: Golden) -> None:
    """The CI summary, which says what each figure means."""
    golden(f"loadtest/{name}.md", render(REPORTS[name](), "markdown"))


@pytest.mark.parametrize("name", ["tokens", "no_tokens"])
def test_csv_and_junit_are_fixed(name: str, golden: Golden) -> None:
    """Every figure in full precision; every gate as a test case."""
    golden(f"loadtest/{name}.csv", render(REPORTS[name](), "csv"))
    golden(f"loadtest/{name}.xml", render(REPORTS[name](), "junit"))


@pytest.mark.parametrize("name", ["tokens", "no_tokens"])
def test_html_is_fixed(name: str, golden: Golden) -> None:
    """The page without its drawings and style."""
    page = render(REPORTS[name](), "html")
    golden(f"loadtest/{name}.html", re.sub(r"<(svg|style)\b.*?</\1>\n?", "", page, flags=re.DOTALL))


def test_drawings_are_fixed(golden: Golden) -> None:
    """The charts of one load and the curve of a sweep, as they are drawn for a phone."""
    charts = [
        *re.findall(r'<svg class="narrow".*?</svg>', render(make_judged_report(), "html"), flags=re.DOTALL)[:4],
        *re.findall(r'<svg class="narrow".*?</svg>', render(make_judged_sweep(), "html"), flags=re.DOTALL)[:1],
    ]
    golden("loadtest/token_charts.svg", "\n\n".join(charts) + "\n")


@pytest.mark.parametrize("output_format", ["table", "markdown", "html"])
def test_a_pause_of_one_stream_of_64_is_named(output_format: Format) -> None:
    """With its length, its request and its place; no percentile shows it."""
    text = render(make_token_report(), output_format)
    assert "400 ms after 18 pieces of the answer to request request-200" in text
    assert "1.28 s into the measurement" in text
    assert "400 ms after" not in render(make_token_report(make_token_point(make_streams())), output_format)


def test_a_pause_of_one_stream_of_64_stands_out_in_the_drawings() -> None:
    """A dot with its name in the timeline, and a bar of its own at the right end of the distribution."""
    page = render(make_token_report(), "html")
    timeline, gaps = (
        re.search(rf'<figure id="{name}-0-0">.*?</figure>', page, flags=re.DOTALL) for name in ("tokens", "gaps")
    )
    assert timeline is not None
    assert gaps is not None
    assert 'class="point-name">400 ms</text>' in timeline[0]
    assert "longest 400 ms</text>" in gaps[0]
    bars = re.findall(r'<rect [^>]*height="([\d.]+)"[^>]*><title>([^<]*)</title>', gaps[0].split("</svg>")[0])
    assert bars[-1][1].startswith("1 gap about 3")
    assert float(bars[-1][0]) > 5


def test_every_gap_is_in_the_distribution() -> None:
    """The numbers behind the chart add up to all gaps of all answers."""
    streams = make_streams()
    page = render(make_token_report(make_token_point(streams)), "html")
    figure = page.split('<figure id="gaps-0-0">')[1].split("</figure>")[0]
    rows = re.findall(r"<tr><th[^>]*>[^<]*</th><td[^>]*>[^<]*</td><td[^>]*>([\d,]+)</td></tr>", figure)
    assert sum(int(count.replace(",", "")) for count in rows) == streams.gaps.size


@pytest.mark.parametrize(
    ("counted", "words"),
    [
        ({"usage": 832}, "counted by the server's usage"),
        ({"tokenizer": 832}, "counted by the tokenizer"),
        ({"chunks": 832}, "counted by the pieces of the streams"),
        ({"usage": 800, "chunks": 32}, "the server's usage (800 requests) and the pieces of the streams (32 requests)"),
    ],
)
@pytest.mark.parametrize("output_format", ["table", "markdown", "html"])
def test_the_report_says_how_tokens_were_counted(
    counted: dict[CountedBy, int], words: str, output_format: Format
) -> None:
    """In every format that a person reads."""
    point = make_token_point()
    assert point.generation is not None
    generation = point.generation.model_copy(update={"output_counted_by": counted})
    text = render(make_token_report(point.model_copy(update={"generation": generation})), output_format)
    assert words in text.replace("&#39;", "'")


@pytest.mark.parametrize(
    ("point", "warning"),
    [
        (make_token_point(counted_by="chunks"), "a piece may hold several tokens. Give the model's tokenizer"),
        (make_token_point(tokens_in_piece=4), "A piece held 4.00 tokens on average"),
    ],
)
def test_what_makes_token_figures_doubtful_is_a_warning(point: Point, warning: str) -> None:
    """Tokens counted by pieces, and pieces of several tokens."""
    assert warning in render(make_token_report(point), "table")


def test_token_figures_without_doubt_have_no_warning() -> None:
    """One token a piece, counted by the server."""
    assert "warning" not in render(make_token_report(), "table")


def test_answers_of_one_token_have_no_gap() -> None:
    """Neither a figure nor a chart is made up for them."""
    streams = make_streams()
    short = Streams(streams.starts, streams.first, np.empty((streams.starts.size, 0)))
    report = make_token_report(make_token_point(short))
    assert "longest gap" not in render(report, "table")
    page = render(report, "html")
    assert 'id="gaps-' not in page
    assert "No answer had a second piece" in page


def test_the_longest_gap_of_repeats_names_its_repeat() -> None:
    """Times run from the start of each."""
    points = [make_token_point(make_streams(seed=seed), repeat=seed) for seed in (0, 2)]
    points.insert(1, make_token_point(plant_gap(make_streams(seed=1), 7, 3, 0.7), repeat=1))
    text = render(make_token_report(*points), "table")
    assert re.search(r"longest gap +700 ms after 4 pieces .* into the measurement of repeat 2\n", text)


def test_csv_has_token_columns_only_for_streams() -> None:
    """In the same file as a plain load test, whose row leaves them empty."""
    reports = [("plain.json", make_report()), ("streams.json", make_token_report())]
    both = ReportSet(reports=tuple(NamedReport(name=name, report=report) for name, report in reports))
    plain, streams = csv.DictReader(io.StringIO(render(both, "csv")))
    assert (plain["ttft_p99_us"], plain["output_tokens"], plain["goodput"]) == ("", "", "")
    generation = make_token_point().generation
    assert generation is not None
    assert float(streams["itl_max_us"]) == 400_000.0
    assert float(streams["ttft_p99_us"]) == generation.time_to_first_token.p99_us
    assert int(streams["output_tokens"]) == generation.output_tokens
    assert "ttft" not in render(make_report(), "csv")


@pytest.mark.parametrize("output_format", FORMATS)
def test_streams_and_whole_answers_stand_side_by_side(output_format: Format) -> None:
    """By the figures that both have."""
    reports = [("plain.json", make_report()), ("streams.json", make_token_report())]
    both = ReportSet(reports=tuple(NamedReport(name=name, report=report) for name, report in reports))
    text = render(both, output_format)
    assert "plain.json" in text
    assert "streams.json" in text


@pytest.mark.parametrize("reports", [(make_token_report(), make_token_report()), (make_judged_sweep(),) * 2])
def test_runs_of_streams_are_compared_by_first_token_and_by_gap(reports: tuple[LoadTestReport, ...]) -> None:
    """A chart for each, of single loads and of sweeps."""
    named = tuple(NamedReport(name=f"{number}.json", report=report) for number, report in enumerate(reports))
    page = render(ReportSet(reports=named), "html")
    leads = re.findall(r"<h2>Run by run</h2><p>The (.*?) by ", page)
    assert leads in (["time to first token", "inter-token latency"], ["TTFT p99", "ITL p99"])


def test_a_narrow_terminal_keeps_the_figures_of_repeated_streams_in_one_table() -> None:
    """At 80 columns it leaves out a percentile rather than make a block of each."""
    text = render(make_token_report(*make_token_sweep()[:3]), "table", width=80)
    assert max(map(len, text.splitlines())) <= 80
    (header,) = [line for line in text.splitlines() if line.split()[:2] == ["mean", "p50"]]
    assert header.split()[-1] == "max"


def test_an_openai_server_is_not_called_triton() -> None:
    """Its version and platform are not known, so neither is said."""
    report = make_empty_report()
    target = report.target.model_copy(
        update={"server_version": "", "platform": "", "model_version": "", "inputs": (), "outputs": ()}
    )
    report = report.model_copy(update={"target": target})
    assert "llm at http://127.0.0.1:8000 over http (OpenAI chat completions)\n" in render(report, "table")
    page = render(report, "html")
    assert "Triton" not in page
    assert "<dt>largest batch</dt>" not in page
