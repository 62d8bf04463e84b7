"""A real SIGINT on each line of the modules that move folders, one process a line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_ON_EACH_LINE = """
import os, signal, sys
from pathlib import Path
from serve_deploy.files import moving, staging

signal.signal(signal.SIGINT, signal.default_int_handler)

def fill(folder, content):
    folder.mkdir(parents=True)
    (folder / "config").write_text(content)

def run(models, number):
    count = 0
    def trace(frame, event, _argument):
        nonlocal count
        if frame.f_code.co_filename not in (moving.__file__, staging.__file__):
            return None
        if event == "line":
            count += 1
            if count == number:
                signal.raise_signal(signal.SIGINT)
        return trace
    sys.settrace(trace)
    try:
        with staging.staging_folder(models, beside=True) as folder:
            for name in sys.argv[3:]:
                fill(folder / name, "new")
            exec(sys.argv[2])
    except KeyboardInterrupt:
        pass
    sys.settrace(None)
    sys.exit(0 if count >= number else 3)

for number in range(1, 1000):
    models = Path(sys.argv[1]) / str(number)
    fill(models / sys.argv[3], "old")
    child = os.fork()
    if child == 0:
        run(models, number)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3:
        break
"""


def interrupt_on_each_line(root: Path, move: str, names: Iterable[str]) -> None:
    """Interrupt `move`, whose code moves new folders of those names from `folder` into `models`, in `root`/1, 2, 3 …

    The first of the names is there before, with an old content.
    """
    command = [sys.executable, "-c", _ON_EACH_LINE, str(root), move, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
