"""The console sessions of the documents: typed in a folder of their own, and compared with what is shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ports import free_port

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The last line that a server prints once it is ready.
READY, READY_SECONDS = re.compile(r"loaded in .*\n"), 150
ELISION = "…"


@dataclass
class Step:
    """A command as it is typed, what the document shows, and what came."""

    typed: str
    shown: str
    came: str = ""
    exit_code: int = 0

    @property
    def command(self) -> str:
        """The command on one line."""
        return re.sub(r"\\\n\s*", "", self.typed)

    @property
    def is_server(self) -> bool:
        return self.command.endswith("&")


def read_steps(text: str) -> list[Step]:
    """Split the console blocks of a document into commands and their output."""
    steps = []
    for language, body in BLOCK.findall(text):
        if language == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                typed, shown = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", part, re.DOTALL).groups()
                steps.append(Step(typed, shown.rstrip("\n")))
    return steps


def normalise(text: str) -> list[str]:
    """Reduce output to what does not change from run to run: words, not numbers, units, padding or rules."""
    text = re.sub(r"\b[0-9a-f]{12,}\b", "#", text)
    text = re.sub(r"-?\d[\d.,]*(?:e-?\d+)?( ?(?:s|ms|µs|us|KB|MB|kB|KiB|MiB|B|bytes)\b)?", "#", text)
    lines = (re.sub(r"[─━═\s]+", " ", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def matches(shown: str, came: str) -> bool:
    """Compare what is shown with what came; a line of … stands for any number of lines."""
    pattern = "\n".join(".*" if line == ELISION else re.escape(line) for line in normalise(shown))
    return re.fullmatch(pattern.replace("\n.*", r"(?:\n.*)?"), "\n".join(normalise(came)), re.DOTALL) is not None


class Terminal:
    """A folder to type commands in; servers started with & are ended by their own handle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[str, str] = {}
        self.servers: list[subprocess.Popen[str]] = []
        shutil.copytree(ROOT / "examples", folder / "examples")

    def type(self, step: Step) -> None:
        """Run one command; a server is waited for until it has said all that the document shows."""
        # Other tests, and other servers of the developer, may hold the ports that the document names.
        command = re.sub(r"\b(?:127\.0\.0\.1|localhost):(\d{4})\b", lambda match: self._address(match[1]), step.command)
        if step.is_server:
            self._start(step, command.removesuffix("&").strip())
            return
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=os.environ | {"COLUMNS": "100"}, text=True, timeout=300,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        step.came, step.exit_code = self._as_documented(done.stdout), done.returncode

    def _as_documented(self, text: str) -> str:
        for documented, port in self.ports.items():
            text = text.replace(f":{port}", f":{documented}")
        return text

    def _address(self, port: str) -> str:
        if port not in self.ports:
            self.ports[port] = str(free_port())
        return f"127.0.0.1:{self.ports[port]}"

    def _start(self, step: Step, command: str) -> None:
        ports = {name: self._address(port).split(":")[1] for name, port in
                 {"http": "8000", "grpc": "8001", "metrics": "8002"}.items()}  # fmt: skip
        options = [f"--{name}-port={port}" for name, port in ports.items()]
        log = self.folder / "server.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                [*command.split(), *options], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                text=True, env=os.environ | {"COLUMNS": "100"},
            )  # fmt: skip
        self.servers.append(server)
        deadline = time.monotonic() + READY_SECONDS
        while not READY.search(step.came) and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            step.came = self._as_documented(log.read_text())

    def close(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.terminate()
            server.wait(timeout=300)


def type_session(document: Path, folder: Path, *, updating: bool) -> None:
    """Run each command of the document in the folder; it says, numbers apart, what the document shows."""
    steps = read_steps(document.read_text(encoding="utf-8"))
    with closing(Terminal(folder)) as terminal:
        for step in steps:
            terminal.type(step)
            difference = f"$ {step.command}\n{step.came}\n--- shown in {document.name}:\n{step.shown}"
            meant = f"{difference}\nif that is meant: make golden, read the diff"
            assert updating or matches(step.shown, step.came), meant
            assert updating or (step.exit_code == 0) == ("error: " not in step.shown), difference
    if updating:
        _rewrite(document, steps)


def _rewrite(path: Path, steps: list[Step]) -> None:
    """Put what came into the document, where it differs from what is shown."""
    text = path.read_text(encoding="utf-8")
    for step in steps:
        if not matches(step.shown, step.came):
            lines = "\n".join(line.rstrip() for line in step.came.rstrip().splitlines())
            head, found, tail = text.partition(f"$ {step.typed}\n{step.shown}\n" if step.shown else f"$ {step.typed}\n")
            assert found, f"{path.name} does not contain {step.typed}"
            text = f"{head}$ {step.typed}\n{lines}\n{tail}"
    path.write_text(text, encoding="utf-8")
