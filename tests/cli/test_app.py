"""The shell as a whole: help, version, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

from serve_cli.streams import ReaderGone
from serve_deploy import __version__, errors

KINDS = {errors.ServeError, ReaderGone, *errors.ServeError.__subclasses__()}
README = Path(__file__).parents[2] / "README.md"


def test_version_is_the_result_and_goes_to_stdout(serve):
    """A script can read the version."""
    done = serve("--version")
    assert (done.returncode, done.stdout) == (0, f"serve {__version__}\n")


def test_an_unknown_command_is_a_usage_error(serve):
    """Exit code 2, words on stderr, nothing on stdout."""
    done = serve("no-such-command")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no-such-command" in done.stderr


def test_every_error_has_an_exit_code_of_its_own():
    """Scripts tell failures apart by the code."""
    assert len({kind.exit_code for kind in KINDS}) == len(KINDS)


def test_the_readme_lists_exactly_the_exit_codes_that_exist():
    """The table cannot go stale."""
    rows = re.findall(r"^\| (\d+) \|", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {int(row) for row in rows} == {0} | {kind.exit_code for kind in KINDS}
