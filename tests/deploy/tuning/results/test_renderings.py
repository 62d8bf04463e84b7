"""What tuning found, as a table, rows and a page."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.tuning.results.page import render_page
from serve_deploy.tuning.results.result import (
    AssuredGate,
    Confirmation,
    Effort,
    FieldChange,
    FieldEffect,
    Figures,
    SettingMeasured,
    TunedCandidate,
    TuningResult,
)
from serve_deploy.tuning.results.saved import check_destinations, write_results
from serve_deploy.tuning.results.tables import RACE_COLUMNS, race_row, render_csv, render_table


def _figures(users: int, throughput: float, p99_us: float) -> Figures:
    return Figures(
        concurrency=users, score=throughput, throughput=throughput, p50_us=p99_us / 2, p99_us=p99_us,
        mean_batch_size=6.5, memory_bytes=120_000_000, meets=True,
    )  # fmt: skip


def make_result() -> TuningResult:
    """A tuning with a winner, a loser, and one that did not load."""
    baseline = TunedCandidate(
        values={"max_batch_size": 4, "instance_group.count": 1}, description="current configuration",
        predicted=_figures(8, 280, 30_000), measured=_figures(8, 275, 32_000),
        curve=(_figures(1, 80, 12_000), _figures(8, 280, 30_000)), standing="baseline",
    )  # fmt: skip
    winner = TunedCandidate(
        values={"max_batch_size": 16, "instance_group.count": 2}, description="max_batch_size 16, 2 instances",
        predicted=_figures(32, 1300, 25_000), measured=_figures(32, 1150, 28_000),
        curve=(_figures(1, 80, 12_000), _figures(32, 1300, 25_000)), gain=3.1, gain_low=2.8, gain_high=3.4,
        standing="better",
    )  # fmt: skip
    loser = TunedCandidate(
        values={"max_batch_size": 1, "instance_group.count": 2}, description="max_batch_size 1, 2 instances",
        predicted=_figures(8, 180, 45_000), measured=_figures(8, 170, 46_000), gain=-0.4, gain_low=-0.99,
        gain_high=140.0, standing="not better",
    )  # fmt: skip
    change = FieldChange(
        path="max_batch_size", before=4, after=16, effect=0.6,
        reason="tuned, was: max_batch_size 4; with that 60.0 % worse, by simulation",
    )  # fmt: skip
    assured = AssuredGate(expression="p99<50ms", figure="p99", mean=28.1, bound=30.4, threshold=50, unit="ms",
                          confidence=0.95, holds=True)  # fmt: skip
    return TuningResult(
        tool_version="0.1.0", model="timed", repository="models", server="embedded Triton 2.51.0",
        objective="throughput", gates=("p99<50ms",), verdict="better",
        explanation="max_batch_size 16, 2 instances: 1,150 inferences/s against 275.0 inferences/s (+318 %)",
        baseline=baseline, winner=winner, changes=(change,), race=(winner, loser), rounds=4,
        ranked=(TunedCandidate(values=winner.values, description=winner.description, predicted=winner.predicted),),
        effects=(FieldEffect(path="max_batch_size", values=(4, 16), scores=(280, 1300)),
                 FieldEffect(path="dynamic_batching.preferred_batch_size", values=(None, (8,)), scores=(1300, 900))),
        measured_settings=(SettingMeasured(setting={"parameters.intra_op_thread_count": 1}, instances=1,
                                           batch_sizes=(1, 16), execution_us=(11_000, 18_000), outside_us=200),),
        confirmation=Confirmation(winner=_figures(32, 1150, 28_000), baseline=_figures(8, 275, 32_000), gain=3.18,
                                  runs=3, holds=True, gates=(assured,)),
        failed=(TunedCandidate(values={}, description="accelerator tensorrt", standing="left out", reason="no GPU"),),
        notes=("not compared, because it differs when asked twice: output noise",),
        effort=Effort(wall_seconds=66, measuring_seconds=20, simulating_seconds=8, waiting_seconds=38, measurements=26,
                      resumed_measurements=4, servers_started=6, mean_start_seconds=2.1, simulated_configurations=180),
    )  # fmt: skip


def test_at_a_given_rate_the_twin_says_times() -> None:
    """All serve as much then: the column would say nothing."""
    figures = _figures(0, 60, 30_000).model_copy(update={"concurrency": None, "request_rate": 60.0})
    row = race_row(TunedCandidate(values={}, description="m", predicted=figures, measured=figures))
    assert row[RACE_COLUMNS.index("by the twin")] == "p99 30.0 ms"


def test_the_table(golden) -> None:
    """Verdict, race, reasons, what was left out, and the effort."""
    golden("tuning/table.txt", render_table(make_result()))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_keeps_to_its_width(width: int) -> None:
    """In a narrow terminal, rows become blocks."""
    assert max(map(len, render_table(make_result(), width).splitlines())) <= width


def test_every_figure_is_a_row() -> None:
    """What was raced, what was predicted for it, and the ranking, with a column for each field."""
    text = render_csv(make_result())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["stage"], row["max_batch_size"], float(row["throughput"])) for row in rows] == [
        ("raced", "4", 275.0), ("predicted", "4", 280.0), ("raced", "16", 1150.0), ("predicted", "16", 1300.0),
        ("raced", "1", 170.0), ("predicted", "1", 180.0), ("ranked", "16", 1300.0),
    ]  # fmt: skip


def test_the_page_says_it_all_and_fetches_nothing() -> None:
    """Each chart once, the reasons, and no address but the page's own."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.addresses: list[str] = []
            self.identifiers: list[str] = []

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]
            self.identifiers += [value or "" for name, value in attributes if name == "id"]

    page, reader = render_page(make_result()), Reader()
    reader.feed(page)
    assert reader.addresses == []
    assert len(set(reader.identifiers)) == len(reader.identifiers)
    assert {"front", "predictions", "effect-0", "effect-1"} <= set(reader.identifiers)
    for words in ("with that 60.0 % worse", "no GPU", "no preferred sizes", "66 s, of which 57.6 % waiting"):
        assert words in page


def test_results_are_written_by_their_extension(tmp_path: Path) -> None:
    """JSON that reads as the same result, and the others."""
    files = [tmp_path / f"result{extension}" for extension in (".json", ".csv", ".html", ".txt")]
    check_destinations(files)
    write_results(make_result(), files)
    read = TuningResult.model_validate_json(files[0].read_text())
    assert read.model_dump_json() == make_result().model_dump_json()
    assert all(file.stat().st_size for file in files)


def test_a_file_that_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    """An unknown format, or a folder that is not there."""
    with pytest.raises(UsageError, match="extension"):
        check_destinations([tmp_path / "result.pdf"])
    with pytest.raises(DestinationError, match="cannot write"):
        check_destinations([tmp_path / "missing" / "result.json"])
