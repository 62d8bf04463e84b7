"""`serve report` as a user runs it: rendering, judging, merging, comparing, and files that are no report."""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from synthetic_reports import make_point, make_report, make_stalled_point, make_sweep

from serve_deploy.reports.report import LoadTestReport

Serve = Callable[..., subprocess.CompletedProcess[str]]


def save(path: Path, report: LoadTestReport) -> Path:
    """Save a report as `serve loadtest` does."""
    path.write_text(report.model_dump_json(indent=2))
    return path


def test_a_saved_report_is_printed(serve: Serve, tmp_path: Path) -> None:
    """Without options the end table is shown again."""
    done = serve("report", save(tmp_path / "run.json", make_report(make_stalled_point())))
    assert done.returncode == 0
    assert "response time  17.9 ms" in done.stdout
    assert done.stderr == ""


def test_json_is_the_report_itself(serve: Serve, tmp_path: Path) -> None:
    """--json prints what was saved."""
    path = save(tmp_path / "run.json", make_report(make_stalled_point()))
    done = serve("report", path, "--json")
    assert json.loads(done.stdout) == json.loads(path.read_text())


def test_a_missed_gate_exits_7_after_the_report(serve: Serve, tmp_path: Path) -> None:
    """The report is printed and written, then the error says which gate and by how much."""
    path = save(tmp_path / "run.json", make_report(make_stalled_point()))
    done = serve("report", path, "--slo", "p99<50ms", "--slo", "errors<0.1%", "-o", tmp_path / "run.md")
    assert done.returncode == 7
    assert "1 of 2 gates missed: p99<50ms at 200/s: 405 ms, 355 ms (710 %) over the threshold" in done.stderr
    assert "❌" in (tmp_path / "run.md").read_text()
    assert "missed" in done.stdout


def test_a_regression_exits_7(serve: Serve, tmp_path: Path) -> None:
    """Slower than the baseline is a missed threshold."""
    random = np.random.default_rng(0)
    before, now = (
        make_report(
            *(
                make_point(response_us=pace * random.lognormal(9, 0.1, 2000), repeat=repeat)
                for repeat, pace in enumerate(random.lognormal(mean, 0.01, 5))
            )
        )
        for mean in (0.0, 0.3)
    )
    files = save(tmp_path / "now.json", now), save(tmp_path / "main.json", before)
    done = serve("report", files[0], "--baseline", files[1])
    assert done.returncode == 7
    assert "slower than the baseline: p50 at 200/s: +" in done.stderr


def test_a_partial_report_misses_its_gates(serve: Serve, tmp_path: Path) -> None:
    """Exit 7 with what cut it short and the flag that lets it pass; without a gate it is only shown."""
    path = save(tmp_path / "run.json", make_report(complete=False, interrupted_reason="interrupted while measuring"))
    done = serve("report", path, "--slo", "p99<1s")
    assert done.returncode == 7
    assert "the run is partial: interrupted while measuring" in done.stderr
    assert "--allow-partial judges by what was measured" in done.stderr
    assert serve("report", path, "--slo", "p99<1s", "--allow-partial").returncode == 0
    assert serve("report", path).returncode == 0


def test_a_malformed_gate_is_a_usage_error(serve: Serve, tmp_path: Path) -> None:
    """Exit 2, and the hint lists what may be said."""
    done = serve("report", save(tmp_path / "run.json", make_report()), "--slo", "p99<50")
    assert done.returncode == 2
    assert "the unit of p99 is us or µs or ms or s" in done.stderr
    assert "service_p99" in done.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read the report"),
        (b"", "is not a load-test report: Invalid JSON"),
        (b"{}", "is not a load-test report: tool_version: is missing"),
        (b"[1, 2]", "is not a load-test report"),
        (b'{"format_version": 1, "points": 3}', "is not a load-test report"),
        (b"\xff\xfe\x00", "it is not text"),
    ],
)
def test_a_file_that_is_no_report_is_one_line(serve: Serve, tmp_path: Path, content: bytes | None, says: str) -> None:
    """Exit 2 with the file and the reason in one line, and no traceback."""
    path = tmp_path / "odd.json"
    if content is not None:
        path.write_bytes(content)
    done = serve("report", path)
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert says in first
    assert str(path) in first
    assert all(line.startswith("hint: ") for line in rest)


def test_a_report_of_a_newer_serve_is_refused(serve: Serve, tmp_path: Path) -> None:
    """A format that is not known is not guessed at."""
    done = serve("report", save(tmp_path / "run.json", make_report(format_version=99)))
    assert done.returncode == 2
    assert "newer serve" in done.stderr


def test_a_part_is_not_merged_twice(serve: Serve, tmp_path: Path) -> None:
    """The same file named twice, as a shell pattern does beside a name, would double its requests: refused."""
    part = save(tmp_path / "part.json", make_report())
    done = serve("report", "--merge", part, f"{tmp_path}/../{tmp_path.name}/part.json")
    assert done.returncode == 2
    assert "given twice" in done.stderr


def test_parts_of_one_run_are_merged(serve: Serve, tmp_path: Path) -> None:
    """Two generators of 200/s at the same time are one load of 400/s, with all their requests."""
    parts = [save(tmp_path / f"{name}.json", make_report(make_stalled_point(seed))) for seed, name in enumerate("ab")]
    done = serve("report", "--merge", *parts, "--json")
    merged = json.loads(done.stdout)
    assert merged["kind"] == "merged"
    assert merged["points"][0]["load"]["request_rate"] == 400
    assert merged["points"][0]["sent"] == 4000
    assert merged["merged_from"] == [str(part) for part in parts]


def test_several_runs_stand_side_by_side(serve: Serve, tmp_path: Path) -> None:
    """Without --merge every run keeps its name and its figures, in one table."""
    files = [
        save(tmp_path / "stall.json", make_report(make_stalled_point())),
        save(tmp_path / "sweep.json", make_report(*make_sweep())),
    ]
    done = serve("report", *files)
    assert done.returncode == 0
    table = done.stdout.split("\n\n")[0].splitlines()
    assert len(table) == 1 + 1 + 5
    assert table[1].startswith(str(files[0]))
    assert json.loads(serve("report", *files, "--json").stdout)["reports"][1]["name"] == str(files[1])


def test_every_format_is_written_by_extension(serve: Serve, tmp_path: Path) -> None:
    """One run, all files at once, each what its extension says."""
    path = save(tmp_path / "run.json", make_report(*make_sweep()))
    outputs = [tmp_path / f"out.{extension}" for extension in ("json", "csv", "xml", "md", "txt")]
    done = serve("report", path, *(word for file in outputs for word in ("-o", file)))
    assert done.returncode == 0
    assert LoadTestReport.model_validate_json(outputs[0].read_text()).kind == "sweep"
    assert len(outputs[1].read_text().splitlines()) == 1 + 15
    assert xml.parse(outputs[2]).getroot().tag == "testsuites"
    assert outputs[4].read_text() == done.stdout
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("name", ["out.pdf", "missing/out.json", "out"])
def test_an_output_that_cannot_be_is_refused_before_the_work(serve: Serve, tmp_path: Path, name: str) -> None:
    """An unknown format or folder is an error before anything is read or measured."""
    done = serve("report", tmp_path / "not-there.json", "-o", tmp_path / name)
    assert done.returncode in (2, 4)
    assert f"--output {tmp_path / name}" in done.stderr


def test_a_full_disk_does_not_lose_the_report(serve: Serve, tmp_path: Path) -> None:
    """Exit 4, the old file untouched, nothing half-written, and the whole report as JSON on stdout."""
    path = save(tmp_path / "run.json", make_report(*make_sweep()))
    (tmp_path / "out.json").write_text("what was there before")
    done = serve(
        "report",
        path,
        "-o",
        tmp_path / "out.json",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 4
    assert "could not be written" in done.stderr
    assert json.loads(done.stdout) == json.loads(path.read_text())
    assert (tmp_path / "out.json").read_text() == "what was there before"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.json", "run.json"]


def test_a_report_that_one_disk_refuses_is_kept_on_another(serve: Serve, tmp_path: Path) -> None:
    """Where only the chosen place fails, the report is kept in the temporary folder, and the hint says where."""
    path = save(tmp_path / "run.json", make_report())
    (tmp_path / "tmp").mkdir()
    done = serve(
        "report", path, "-o", "/proc/self/fdinfo/out.json", env={"TMPDIR": str(tmp_path / "tmp"), "PATH": "/usr/bin"}
    )
    kept = list((tmp_path / "tmp").iterdir())
    assert done.returncode == 4
    assert [file.suffix for file in kept] == [".json"]
    assert str(kept[0]) in done.stderr
    assert LoadTestReport.model_validate_json(kept[0].read_text()) == make_report()
