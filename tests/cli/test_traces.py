"""A command leaves nothing behind but its result, also when it is interrupted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def test_packaging_writes_nothing_outside_its_destination(serve, tmp_path: Path) -> None:
    """No library leaves a cache, a session or an identifier in the home or the temporary folder."""
    places = {name: tmp_path / name for name in ("home", "temporary")}
    for place in places.values():
        place.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    environment |= {"HOME": str(places["home"]), "TMPDIR": str(places["temporary"])}
    environment.pop("ORT_DISABLE_TELEMETRY")
    done = serve("package", DIGITS / "digits.onnx", "-o", tmp_path / "models", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert {path for place in places.values() for path in place.rglob("*")} == set()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM], ids=lambda kind: kind.name)
def test_an_interrupted_command_says_so_and_exits_130(kind: signal.Signals) -> None:
    """Ctrl-C while an endpoint keeps the command waiting is one line, never a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent_endpoint:
        silent_endpoint.settimeout(300)
        url = f"http://127.0.0.1:{silent_endpoint.getsockname()[1]}"
        command = [sys.executable, "-m", "serve_cli", "loadtest", url, "-m", "digits"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        connection, _ = silent_endpoint.accept()
        with connection:
            process.send_signal(kind)
            output, errors = process.communicate(timeout=300)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines() == ["error: interrupted"]
