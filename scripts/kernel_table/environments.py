"""An environment for each ONNX Runtime, from its wheel, and questions to it."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_RUNNER = Path(__file__).with_name("runner.py")
_MINORS = (12, 11, 10, 9, 8)
# These builds were compiled against numpy 1.
_NEEDS = ("numpy<2",)


class Environment:
    """A folder with one ONNX Runtime, and the Python that its wheel is for."""

    def __init__(self, python: str, folder: Path) -> None:
        self.python, self.folder = python, folder

    def list_kernels(self) -> dict[str, Any]:
        """What `runner.py list` prints."""
        done = self._run(["list"], None)
        listed: dict[str, Any] = json.loads(done.stdout)
        return listed

    def try_models(self, models: Sequence[bytes], *, optimise: bool = False) -> list[str]:
        """ONNX Runtime's answer to each model: "" where it loads; "crashed" where the process ended."""
        answers: list[str] = []
        while len(answers) < len(models):
            with tempfile.TemporaryFile() as source:
                for model in models[len(answers) :]:
                    source.write(struct.pack("<I", len(model)) + model)
                source.seek(0)
                answers += self._run(["load" if optimise else "try"], source).stdout.splitlines()
            if len(answers) < len(models):
                answers.append("crashed")
        return answers

    def _run(self, arguments: list[str], source: Any) -> subprocess.CompletedProcess[str]:
        command = [self.python, str(_RUNNER), *arguments]
        environment = {"PYTHONPATH": str(self.folder), "LANG": "C.UTF-8"}
        return subprocess.run(command, stdin=source, capture_output=True, text=True, env=environment, check=False)


def install(version: str, folder: Path, pythons: Sequence[str]) -> Environment | None:
    """Install the wheel for the first Python that it has one for; None where there is none."""
    for python in pythons:
        if (folder / "onnxruntime").exists():
            if _imports(python, folder):
                return Environment(python, folder)
            continue
        only = ("--only-binary=:all:", "--no-deps", "--no-compile")
        command = [python, "-m", "pip", "install", "-q", *only, "--target", str(folder)]
        if subprocess.run([*command, f"onnxruntime=={version}"], capture_output=True, check=False).returncode == 0:
            subprocess.run([*command, *_NEEDS], check=True, capture_output=True)
            return Environment(python, folder)
    return None


def _imports(python: str, folder: Path) -> bool:
    command = [python, "-c", "import onnxruntime"]
    return subprocess.run(command, capture_output=True, env={"PYTHONPATH": str(folder)}, check=False).returncode == 0


def find_pythons() -> list[str]:
    """This Python and those on PATH, newest first; wheels of ONNX Runtime 1.13 and 1.14 need Python 3.10 or older."""
    found = [shutil.which(f"python3.{minor}") for minor in _MINORS]
    return list(dict.fromkeys([sys.executable, *(path for path in found if path)]))
