"""Fixtures that every suite shares."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is. The examples are the same in every run, so that CI fails on a
# change and not by chance; `--hypothesis-profile=explore` draws new ones.
settings.register_profile("serve", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("serve")
GOLDEN = Path(__file__).parent / "golden"
# What `make tools` fetched, and the environment's own scripts, also where pytest is started by hand.
_PROGRAMS = [str(Path(__file__).parents[1] / ".tools"), str(Path(sys.executable).parent)]
# A shell that starts pytest in the background has it, and all that it starts, ignore Ctrl-C; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Tables would fold: pytest-xdist hands its terminal's width on, and readline, which pytest imports, hands on 80 columns
# behind the back of os.environ.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")
os.environ["PATH"] = os.pathsep.join([*_PROGRAMS, os.environ.get("PATH", os.defpath)])


# Few tests that take long: begun last, they would leave the other cores with nothing to do.
LONG = {
    "test_wheel.py", "test_ci_examples.py", "test_documents.py", "test_interruption.py", "test_config_rules.py",
    "test_polling_triton.py", "test_thirty_models.py", "test_remote.py", "test_run.py", "test_kernels.py",
    "test_python_page.py",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long goes first, and then what needs a server."""
    items.sort(key=lambda item: (item.path.name not in LONG, "integration" not in item.path.parts))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with tests/golden/<name>, or rewrite it with --update-golden."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == expected, f"{name} differs; if that is meant: make golden, read the diff, commit"

    return compare


@pytest.fixture
def serve() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command in a process of its own, as a user does."""

    def run(*arguments: object, timeout: float = 300, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "serve_cli", *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip

    return run
