"""stdout and stderr of the real command: full, closed, read in part, narrow, or without letters beyond ASCII."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_reports import make_report, make_stalled_point, make_sweep

from serve_cli.output import print_table

SERVE = [sys.executable, "-m", "serve_cli"]
GOLDEN = Path(__file__).parents[1] / "golden"
Golden = Callable[[str, str], None]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved report whose text has µ, ± and – in it."""
    path = tmp_path / "run.json"
    path.write_text(make_report(*make_sweep(), notes=("the server said <café>",)).model_dump_json())
    return path


@pytest.fixture
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python holds output back until it exits, as it does for most users."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def run_shell(command: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run serve in a shell line, in which "$@" is the command with its arguments."""
    line = ["bash", "-c", f"set -o pipefail; {command}", "bash", *SERVE, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


def run_on_terminal(columns: int, *arguments: object) -> str:
    """Run serve on a terminal that is so wide, and return what it showed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm", "NO_COLOR": "1"}
    command = [*SERVE, *map(str, arguments)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:  # how Linux says that the other end has gone
            os.close(ours)
        assert process.wait(timeout=300) == 0
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.usefixtures("buffered")
@pytest.mark.parametrize("arguments", [("report", "run.json"), ("report", "run.json", "--json"), ("--help",)])
def test_a_full_device_is_named(saved: Path, arguments: tuple[str, ...]) -> None:
    """A result that stdout did not take is an error of its own: exit 4, and what could not be written to."""
    done = run_shell('"$@" > /dev/full', *arguments, cwd=saved.parent)
    assert done.returncode == 4
    assert done.stderr.startswith("error: the result cannot be written to stdout: No space left on device\n")
    assert "Exception" not in done.stderr


@pytest.mark.usefixtures("buffered")
@pytest.mark.parametrize("arguments", [("report", "run.json"), ("report", "run.json", "--json"), ("--help",)])
def test_a_reader_that_leaves_ends_it_quietly(saved: Path, arguments: tuple[str, ...]) -> None:
    """Like any program whose pipe breaks: the code of SIGPIPE, and no word."""
    done = run_shell('"$@" | true', *arguments, cwd=saved.parent)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_missed_gate_outweighs_a_reader_that_left(saved: Path) -> None:
    """What was measured is still judged."""
    done = run_shell('"$@" | true', "report", saved, "--slo", "p99<1ms")
    assert done.returncode == 7
    assert "5 of 5 gates missed" in done.stderr


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stdout_does_not_stop_the_work(saved: Path, closed: str) -> None:
    """Who closes stdout wants no words, but the file, and nothing else is written into it."""
    output = saved.with_suffix(".md")
    done = run_shell(f'"$@" {closed}', "report", saved, "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert output.read_text().startswith("### ")


def test_an_unwritable_stderr_changes_no_exit_code() -> None:
    """An error that nobody can read is still that error."""
    assert run_shell('"$@" 2> /dev/full', "no-such-command").returncode == 2


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["PYTHONIOENCODING", "C locale"],
)
def test_an_ascii_terminal_gets_the_whole_report(saved: Path, environment: dict[str, str]) -> None:
    """Letters that it does not know are spelled out; none costs the report."""
    done = run_shell('"$@"', "report", saved, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    assert "+/-208 us" in done.stdout
    assert r"caf\xe9" in done.stdout


def test_what_programs_read_is_utf_8_everywhere(saved: Path) -> None:
    """JSON and HTML say the same in an ASCII locale as in any other."""
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    for name in ("json", "html", "markdown", "junit"):
        arguments = [*SERVE, "report", str(saved), "--format", name]
        plain, ascii_only = (
            subprocess.run(arguments, capture_output=True, check=True, env=each).stdout for each in (os.environ, env)
        )
        assert plain == ascii_only
        assert "café".encode() in plain


def test_a_name_that_is_not_text_is_no_crash(tmp_path: Path) -> None:
    """A file name in another encoding reaches JSON as an escape."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    done = subprocess.run([*map(os.fsencode, SERVE), b"check", b"--no-load", b"--json", folder], capture_output=True)
    assert b"Unicode" not in done.stderr
    assert not done.stdout or json.loads(done.stdout)


@pytest.mark.parametrize("columns", [80, 60, 40])
@pytest.mark.parametrize("name", ["sweep", "stalled"])
def test_a_report_fits_its_terminal(tmp_path: Path, golden: Golden, name: str, columns: int) -> None:
    """Tables lose columns, then become a block a row, and sentences break at words, never within one."""
    report = make_report(*make_sweep()) if name == "sweep" else make_report(make_stalled_point())
    path = tmp_path / "run.json"
    path.write_text(report.model_dump_json())
    shown = run_on_terminal(columns, "report", path)
    assert max(map(len, shown.splitlines())) <= columns
    golden(f"terminal/{name}-{columns}.txt", shown)


def test_columns_says_how_wide_a_report_is_in_a_pipe(tmp_path: Path) -> None:
    """As on a terminal of that width; without it, a pipe has no edge."""
    path = tmp_path / "run.json"
    path.write_text(make_report(*make_sweep()).model_dump_json())
    folded = run_shell('COLUMNS=60 "$@" | cat', "report", path).stdout
    assert folded == (GOLDEN / "terminal" / "sweep-60.txt").read_text()
    assert max(map(len, run_shell('"$@" | cat', "report", path).stdout.splitlines())) > 80


ROWS = (
    ("digits", "1", "ok", "READY", "Triton 26.07"),
    ("text-classification-with-a-long-name", "1, 2, 3", "failed", "UNAVAILABLE", "Triton 26.07"),
)


@pytest.mark.parametrize("columns", [100, 80, 60, 40])
def test_a_table_of_any_command_fits_its_terminal(
    golden: Golden, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    """In a narrow terminal a row becomes a block, where it would have been folded within its words."""
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(("model", "versions", "result", "state", "checked for"), ROWS)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    golden(f"terminal/table-{columns}.txt", shown)


_INTERRUPTED = """
import sys
from serve_cli.streams import open_streams

def interrupt(frame, event, function):
    if event == "c_return" and "streams" in frame.f_code.co_filename and function.__name__ in ("write", "flush"):
        sys.setprofile(None)
        raise KeyboardInterrupt

open_streams()
sys.stdout.write("once")
sys.setprofile(interrupt)
try:
    sys.stdout.flush()
except KeyboardInterrupt:
    sys.stdout.flush()
"""


def test_what_ctrl_c_finds_written_is_not_written_again() -> None:
    """The result was out, and Ctrl-C came before Python knew: it stands there once."""
    ended = subprocess.run([sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, check=True)
    assert ended.stdout == "once"
