"""`serve loadtest` on a real Triton: gates, baseline, search, files, live metrics, interruption."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ports import free_port
from pushgateway import read_when_up, running_pushgateway

from serve_deploy.reports.report import LoadTestReport
from serve_deploy.triton import TritonServer

SERVE = [sys.executable, "-m", "serve_cli"]
Loadtest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def loadtest(serve: Loadtest, triton: TritonServer) -> Loadtest:
    """Run a short `serve loadtest` of the model that takes 5 ms."""

    def run(*arguments: object, seconds: float = 1, **options: object) -> subprocess.CompletedProcess[str]:
        period = ("--duration", seconds, "--warmup", 0)
        return serve("loadtest", triton.http_url, "-m", "exact", *period, *arguments, **options)

    return run


def read(path: Path) -> LoadTestReport:
    """Read a saved report."""
    return LoadTestReport.model_validate_json(path.read_text())


def test_gates_that_hold_exit_0_and_are_in_the_report(loadtest: Loadtest, tmp_path: Path) -> None:
    """Figures of a real server against gates that it holds by far."""
    saved = tmp_path / "run.json"
    gates = ("--slo", "p99<10s", "--slo", "errors<0.1%", "--slo", "queue<10s", "--slo", "rate>1")
    done = loadtest("--rate", 50, *gates, "-o", saved)
    assert done.returncode == 0, done.stderr
    assert [gate.passed for gate in read(saved).gates if gate.expression != "queue<10s"] == [True] * 3
    assert done.stdout.count("passed") >= 3


def test_a_gate_below_the_service_time_is_missed(loadtest: Loadtest, tmp_path: Path) -> None:
    """The model takes 5 ms, so that a median below 1 ms is missed by 4 ms or more, exit 7, in every file."""
    outputs = [tmp_path / f"run.{extension}" for extension in ("html", "md", "xml", "json", "csv")]
    done = loadtest("-c", 1, "--slo", "p50<1ms", *(word for path in outputs for word in ("-o", path)))
    assert done.returncode == 7
    assert re.search(r"1 of 1 gate missed: p50<1ms at concurrency 1: \d\S* ms, \d\S* ms \([\d,]+ %\) over", done.stderr)
    assert all(path.stat().st_size for path in outputs)
    assert "✗ missed" in outputs[0].read_text()
    assert read(outputs[3]).gates[0].passed is False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--slo", "p99<50"), "the unit of p99"),
        (("-o", "report.docx"), "the format follows from the extension"),
        (("--baseline", "missing.json"), "cannot read the report missing.json"),
        (("--find", "rate"), "--find needs a gate"),
        (("--find", "rate", "--slo", "p99<1s", "--ramp", "1..9"), "--find and --ramp exclude each other"),
        (("--find", "rate", "--slo", "p99<1s", "-c", "1..4"), "--find rate searches for a rate"),
        (("--find", "rate", "--slo", "p99<1s", "--rate", "10"), "needs room to search"),
        (("--metrics-port", "none"), "not a port"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_first_request(
    loadtest: Loadtest, arguments: tuple[str, ...], says: str
) -> None:
    """Gates, files, baselines and searches are checked before anything is measured."""
    done = loadtest(*arguments, seconds=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_baseline_of_another_load_is_refused_at_once(loadtest: Loadtest, tmp_path: Path) -> None:
    """A comparison that cannot be made is refused before a minute is spent on it."""
    saved = tmp_path / "main.json"
    assert loadtest("-c", 1, "-o", saved).returncode == 0
    done = loadtest("-c", 2, "--baseline", saved, seconds=60)
    assert done.returncode == 2
    assert "was measured at concurrency 1, not at concurrency 2" in done.stderr


def test_a_server_that_was_much_faster_before_is_a_regression(loadtest: Loadtest, tmp_path: Path) -> None:
    """Against a baseline of a hundredth of the latency the run is slower, exit 7, and the report says so."""
    saved, now = tmp_path / "main.json", tmp_path / "now.json"
    assert loadtest("-c", 1, "--repeat", 2, "-o", saved).returncode == 0
    report = json.loads(saved.read_text())
    for point in report["points"]:
        point["client_bound"] = False
        for name in ("p50_us", "p99_us"):
            point["response"][name] /= 100
    saved.write_text(json.dumps(report))
    done = loadtest("-c", 1, "--repeat", 3, "--baseline", saved, "-o", now)
    comparison = read(now).baseline
    assert comparison is not None
    if any(point.client_bound for point in read(now).points):
        assert done.returncode == 7
        pytest.skip("the generator was the limit on this machine just now, so that nothing is compared")
    assert done.returncode == 7
    assert comparison.regressed
    assert "slower than the baseline: p50 at concurrency 1" in done.stderr


def test_the_search_ends_at_its_limit_and_at_its_floor(loadtest: Loadtest, tmp_path: Path) -> None:
    """Gates that every load holds are searched up to the limit, those that none holds end with exit 7."""
    saved = tmp_path / "find.json"
    bounds = ("--find", "rate", "--rate", "8..16", "--repeat", 1)
    done = loadtest(*bounds, "--slo", "p99<20s", "-o", saved, seconds=1)
    found = read(saved)
    assert done.returncode == 0, done.stderr
    assert found.kind == "find"
    assert found.search is not None
    assert (found.search.highest, found.search.stopped_by) == (16, "limit")
    assert [point.load.request_rate for point in found.points] == [8, 16, 16]
    done = loadtest("--find", "concurrency", "-c", "1..4", "--repeat", 1, "--slo", "p50<1ms", seconds=2)
    assert done.returncode == 7
    assert "No concurrency meets p50<1ms" in done.stdout


def test_two_generators_at_once_merge_into_one_run(
    running: Callable[..., subprocess.Popen[str]], serve: Loadtest, tmp_path: Path
) -> None:
    """Each sends its half of the load; the merged report has the requests of both, in one histogram."""
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    started = [running("--rate", 25, "--duration", 2, "-o", file) for file in files]
    assert [process.wait(timeout=300) for process in started] == [0, 0]
    # However late a busy machine started the second one, the parts are to count as begun together.
    late = read(files[1])
    begun = late.points[0].model_copy(update={"started_at": read(files[0]).points[0].started_at})
    files[1].write_text(late.model_copy(update={"points": (begun,)}).model_dump_json())
    done = serve("report", "--merge", *files, "-o", tmp_path / "whole.json", "-o", tmp_path / "whole.html")
    assert done.returncode == 0, done.stderr
    (whole,) = read(tmp_path / "whole.json").points
    parts = [read(file).points[0] for file in files]
    assert (whole.load.request_rate, whole.sent) == (50, 100)
    assert whole.response.count == sum(part.response.count for part in parts) == 100
    assert whole.response.max_us == max(part.response.max_us for part in parts)
    assert dict(whole.response.histogram) == {
        bound: sum(dict(part.response.histogram).get(bound, 0) for part in parts)
        for part in parts
        for bound, _ in part.response.histogram
    }


def test_a_full_disk_loses_no_report(loadtest: Loadtest, tmp_path: Path) -> None:
    """On a disk without room the run ends with exit 4, and the report is kept elsewhere and said where."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("only root may make a disk to fill")
    try:
        done = loadtest("-c", 1, "-o", disk / "run.json", env=os.environ | {"TMPDIR": str(tmp_path)})
        left = list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert done.returncode == 4
    assert "No space left on device" in done.stderr
    assert left == []
    (kept,) = tmp_path.glob("serve-loadtest-*.json")
    assert str(kept) in done.stderr
    assert read(kept).points[0].succeeded > 0


@pytest.fixture
def running(triton: TritonServer) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a `serve loadtest` of a minute, which the test may watch and interrupt; it does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
        command = [*SERVE, "loadtest", triton.http_url, "-m", "exact", "--duration", "60", "--warmup", "0"]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        started.append(subprocess.Popen([*command, *map(str, arguments)], text=True, **streams))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_live_metrics_are_served_while_it_runs(running: Callable[..., subprocess.Popen[str]]) -> None:
    """A scraper sees counters grow during the run, and the port is gone after it."""
    port = free_port()
    process = running("--rate", 50, "--metrics-port", port)
    counter = re.compile(r'serve_loadtest_requests_total\{model="exact",outcome="succeeded",phase="measuring"\} (\S+)')
    for _ in range(2000):
        text = read_when_up(f"http://127.0.0.1:{port}/metrics", process)
        found = counter.search(text)
        if found and float(found[1]) >= 25:
            break
    assert found is not None
    assert 'serve_loadtest_target_rate{model="exact"} 50.0' in text
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    with pytest.raises(AssertionError, match="does not answer"):
        read_when_up(f"http://127.0.0.1:{port}/metrics", process)


def test_an_interrupted_run_leaves_its_report_in_every_file(
    running: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Ctrl-C ends with exit 130, and the files hold what was measured up to there, marked as partial."""
    port, saved, page = free_port(), tmp_path / "run.json", tmp_path / "run.html"
    process = running("--rate", 50, "--slo", "p99<20s", "--metrics-port", port, "-o", saved, "-o", page)
    while 'phase="measuring"' not in read_when_up(f"http://127.0.0.1:{port}/metrics", process):
        pass
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    report = read(saved)
    assert (report.complete, report.ended_by) == (False, "interrupt")
    assert report.points[0].succeeded > 0
    assert "This report is partial" in printed
    assert "This report is partial" in page.read_text()


def test_an_interrupted_search_does_not_contradict_itself(
    running: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Interrupted in its first measurement, a search claims no limit, passes no gate, and exits with 130."""
    port, saved = free_port(), tmp_path / "find.json"
    process = running("--find", "rate", "--slo", "p99<20s", "--metrics-port", port, "-o", saved)
    while 'phase="measuring"' not in read_when_up(f"http://127.0.0.1:{port}/metrics", process):
        pass
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "No rate is known to meet p99<20s; the run ended before the search did." in printed
    assert [(gate.passed, gate.measured) for gate in read(saved).gates] == [(False, None)]


def test_a_full_stdout_does_not_lose_the_run(triton: TritonServer, tmp_path: Path) -> None:
    """What was measured is kept in the temporary folder, and the error says where."""
    command = [*SERVE, "loadtest", triton.http_url, "-m", "exact", "-n", "5", "--warmup", "0"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
    (kept,) = tmp_path.glob("serve-loadtest-*.json")
    assert done.returncode == 4
    assert f"hint: the whole report was kept in {kept}" in done.stderr
    assert read(kept).points[0].sent == 5


def test_a_live_line_shows_on_a_terminal(running: Callable[..., subprocess.Popen[str]]) -> None:
    """On a terminal rate, p99, errors and requests in flight are seen while it runs."""
    ours, theirs = pty.openpty()
    try:
        process = running("--rate", 50, stderr=theirs, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"})
        os.close(theirs)
        seen = ""
        line = re.compile(r"measuring at 50/s, \d+ of 60 s: \d\S*/s, p99 \S+ \S+, 0 errors, \d+ in flight")
        while not line.search(seen):
            seen += os.read(ours, 4096).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        # Until its end of the terminal is closed, what it still writes has to be taken.
        with suppress(OSError):
            while os.read(ours, 4096):
                pass
        process.wait(timeout=300)
    finally:
        os.close(ours)
    assert process.returncode == 130


def test_results_are_pushed_to_a_pushgateway(loadtest: Loadtest) -> None:
    """A real Pushgateway has the run's figures and gates afterwards, by model and load."""
    with running_pushgateway() as url:
        done = loadtest("-c", 1, "--slo", "p99<20s", "--pushgateway", url)
        assert done.returncode == 0, done.stderr
        with subprocess.Popen(["true"]) as ended:
            text = read_when_up(f"{url}/metrics", ended)
    assert re.search(r'serve_loadtest_throughput\{.*load="concurrency 1",model="exact"\} [1-9]', text)
    assert re.search(r'serve_loadtest_gate_passed\{gate="p99<20s",.*\} \d', text)


def test_a_pushgateway_that_is_not_there_is_said_after_the_report(loadtest: Loadtest) -> None:
    """The report is printed, then exit 6 with the address."""
    url = f"http://127.0.0.1:{free_port()}"
    done = loadtest("-c", 1, "--pushgateway", url)
    assert done.returncode == 6
    assert "response time" in done.stdout
    assert f"cannot push to the Pushgateway {url}" in done.stderr
