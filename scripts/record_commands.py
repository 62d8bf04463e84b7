"""Record what serve's commands do, or compare two recordings: for changes that must not change behaviour.

Usage: python scripts/record_commands.py FOLDER
       python scripts/record_commands.py --compare OLD NEW
Runs the lines of recorded_commands.txt with the serve_cli that PYTHONPATH puts first. A recording holds exits.txt,
json/ (what --json printed), files/ (what was written, without comments) and texts/ (all else, which may change on
purpose). What differs from run to run is masked, so that two recordings of the same code are equal. --compare exits
with 1 where anything but texts differs.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import recording_inputs as inputs  # noqa: E402

LINES = Path(__file__).with_name("recorded_commands.txt")
GROUPS = {"exit codes": "exits.txt", "JSON": "json", "files": "files", "texts": "texts"}
PROSE = re.compile(r"\.(md|html)$|\b(NOTES|out)\.txt$")
# What stands in files for people, by the end of their names.
REMARKS = {
    ".pbtxt": re.compile(r"(^|\s+)#.*", re.MULTILINE), ".yaml": re.compile(r"(^|\s+)# .*", re.MULTILINE),
    ".xml": re.compile(r"<system-out>.*</system-out>", re.DOTALL),
}  # fmt: skip
TIMEOUT_SECONDS = 120
MEASURING = ("package", "check", "run", "infer", "loadtest")
MEASURED_KEYS = {"load_seconds", "memory_bytes", "elapsed_seconds", "requests", "pid", "tool_version"}
# In these parts of a load test's report every number is measured, but those of the load.
MEASURED_PARTS = {"points", "intervals", "baseline", "search"}
# Of a load test: when it was, and how busy this machine was, in words or as a flag.
INCIDENTAL = {
    "started_at", "baseline_started_at", "measured", "client_bound", "client_bound_reasons", "trusted", "notes",
    "explanation", "verdict", "regressed",
}  # fmt: skip
QUANTITY = re.compile(r"\d[\d,.]*(?:e[+-]?\d+)? (?:s|ms|µs|[kMG]i?B)\b")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(\+[\d:]+|Z)?")
NUMBER = re.compile(r"(?<![\w.:/])\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?(?: ?(?:ms|µs|us|s|%)(?!\w))?")


@dataclass(frozen=True)
class Sandbox:
    """Where commands run, each case in a folder of its own, and the addresses of the Triton that they ask."""

    root: Path
    addresses: dict[str, str]

    def words(self, line: str) -> tuple[dict[str, str], list[str]]:
        """Split a line into its environment and serve's arguments."""
        for name, address in self.addresses.items():
            line = line.replace(f"{{{name}}}", address)
        words = shlex.split(line)
        settings = [word for word in words if re.match(r"[A-Z]+=", word)]
        return dict(word.split("=", 1) for word in settings), words[len(settings) :]

    def start(self, line: str, folder: Path, output: Path) -> subprocess.Popen[bytes]:
        """Start a command; what it prints goes to OUTPUT.stdout and OUTPUT.stderr."""
        settings, arguments = self.words(line)
        python_path = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        fixed = {
            "PATH": f"{ROOT / '.tools'}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": "in/no-kubeconfig", "TMPDIR": str(self.root / "tmp"), "COLUMNS": "100", "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8", "PYTHONPYCACHEPREFIX": str(self.root / "pycache"),
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, python_path)),
        }  # fmt: skip
        unwanted = ("SERVE_TOKEN", "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if name not in unwanted} | fixed | settings
        with output.with_suffix(".stdout").open("wb") as out, output.with_suffix(".stderr").open("wb") as errors:
            command = [sys.executable, "-m", "serve_cli", *arguments]
            return subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
            )

    def run(self, line: str, folder: Path, output: Path) -> int:
        """Run a command to its end; `serve run` is interrupted once its models are ready."""
        process = self.start(line, folder, output)
        try:
            if " run " in f" {line} ":
                wait_until_ready(process, output)
            return process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            process.kill()

    def normalise(self, text: str) -> str:
        """Replace paths, ports and random names."""
        text = re.sub(rf"{re.escape(str(self.root))}/tmp/[\w.-]+", "TEMPORARY", text)
        text = text.replace(str(self.root), "SANDBOX").replace(str(ROOT), "CHECKOUT")
        return re.sub(r"(127\.0\.0\.1|localhost|port|\[::1\])([: ])\d{4,5}\b", r"\1\2PORT", text)


def wait_until_ready(process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait for the models of `serve run`, then press Ctrl-C."""
    before, deadline = "", time.monotonic() + TIMEOUT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        printed = output.with_suffix(".stdout").read_text()
        if "READY" in printed and printed == before:
            process.send_signal(signal.SIGINT)
            return
        before = printed
        time.sleep(0.3)


def mask(value: Any, key: str = "", measured: bool = False) -> Any:
    """Replace what a command measured by its type; within a load test's measurements, keep one of each alike item."""
    if isinstance(value, dict):
        return {name: mask(item, name, measured and name != "load") for name, item in value.items()}
    if isinstance(value, list):
        items = [mask(item, "", measured) for item in value]
        return [item for index, item in enumerate(items) if not measured or item not in items[:index]]
    if (key in MEASURED_KEYS and value is not None) or (measured and type(value) in (int, float)):
        return type(value).__name__
    return value


def mask_report(value: Any, key: str = "") -> Any:
    """Replace what a load test measured, and what says how busy this machine was."""
    if key in INCIDENTAL:
        return type(value).__name__
    if isinstance(value, dict):
        value = {name: mask_report(item, name) for name, item in value.items()}
    if isinstance(value, list):
        value = [mask_report(item) for item in value]
    return mask(value, key, key in MEASURED_PARTS)


def mask_text(text: str, verb: str) -> str:
    """Mask what a command measured in the text that it printed."""
    if verb != "loadtest":
        return QUANTITY.sub("QUANTITY", text)
    text = re.sub(r"[ ─]{2,}", "  ", NUMBER.sub("N", TIMESTAMP.sub("TIME", text)))
    # The table shows the service time only where it differs.
    text = re.sub(r"(N  )+N", "N", text.replace("service p99  ", ""))
    lines = (line for line in text.splitlines(keepends=True) if "generator" not in line)
    return "".join(dict.fromkeys(lines))


@dataclass(frozen=True)
class Recording:
    """A folder of what commands did."""

    folder: Path
    sandbox: Sandbox

    def write(self, path: str, text: str) -> None:
        """Write one text of the recording."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(self.sandbox.normalise(text))

    def write_content(self, name: str, content: str, verb: str) -> None:
        """Write what was printed or saved, masked as far as the verb measures."""
        if name.endswith(".json"):
            document = json.loads(content)
            if verb == "infer":
                document["outputs"].sort(key=lambda output: output["name"])  # Triton sends them in any order
            if verb in MEASURING:
                document = mask_report(document) if verb == "loadtest" else mask(document)
            content = json.dumps(document, indent=1) + "\n"
        elif verb in MEASURING:
            content = mask_text(content, verb)
        self.write(name, content)

    def write_output(self, name: str, output: Path, verb: str, code: int) -> None:
        """Keep what a command printed: JSON by itself, all else as texts."""
        measured = verb if code in (0, 7) else ""
        printed = output.with_suffix(".stdout").read_text()
        self.write_content(f"texts/{name}.stderr", output.with_suffix(".stderr").read_text(), measured)
        place = f"json/{name}.json" if printed.startswith("{\n") else f"texts/{name}.stdout"
        self.write_content(place, printed, verb)

    def write_files(self, case: str, folder: Path, verb: str) -> None:
        """Keep the files that a case wrote: texts with their content, others by their digest."""
        paths = [path for path in sorted(folder.rglob("*")) if path != folder / "in"]
        names = {path: str(path.relative_to(folder)) + "/" * path.is_dir() for path in paths}
        self.write(f"files/{case}/listing", "".join(f"{name}\n" for name in names.values()))
        for path in filter(Path.is_file, paths):
            try:
                self.write_text_file(f"{case}/{names[path]}", path, verb)
            except UnicodeDecodeError:
                self.write(f"files/{case}/{names[path]}.digest", digest(path))

    def write_text_file(self, name: str, path: Path, verb: str) -> None:
        """Keep a file of text; what it says to people stands among the texts."""
        content, remarks = path.read_text(), REMARKS.get(path.suffix)
        if remarks or PROSE.search(name):
            self.write_content(f"texts/{name}", content, verb)
        if not PROSE.search(name):
            self.write_content(f"files/{name}", remarks.sub("", content) if remarks else content, verb)


def digest(path: Path) -> str:
    """A digest of a file; a packed chart is packed at some time, so that its members are listed in its place."""
    if path.suffix != ".tgz":
        return hashlib.sha256(path.read_bytes()).hexdigest() + "\n"
    with tarfile.open(path) as archive:
        return "".join(f"{member.name} {member.mode:o} {member.size}\n" for member in archive)


@contextmanager
def running_sandbox(root: Path) -> Iterator[Sandbox]:
    """Make the inputs, start a Triton and stand-ins for clusters; all of it ends with the context."""
    made = root / "in"
    for folder in (made, root / "tmp", root / "setup", made / "clusters"):
        folder.mkdir()
    (made / "digits").symlink_to(ROOT / "examples" / "digits")
    inputs.write_models(made)
    inputs.write_broken_repository(made / "broken")
    for repository, names in (("partly-broken", ("well", "wrong_name")), ("all-broken", ("truncated",))):
        for name in names:
            shutil.copytree(made / "broken" / name, made / repository / name)
    sandbox = Sandbox(root, {})
    set_up(sandbox, "package in/digits/digits.onnx -o in/models --samples in/digits/samples.npz")
    set_up(sandbox, "package in/sums.onnx in/free.onnx in/text.onnx -o in/models --no-verify")
    manifest = made / "models" / "digits" / "manifest.json"
    known = re.sub(r'"load_seconds": [\d.]+', '"load_seconds": 0.5', manifest.read_text())
    manifest.write_text(re.sub(r'"memory_bytes": \d+', '"memory_bytes": 100000000', known))
    for name in ("digits", "sums"):
        shutil.copytree(made / "models" / name, made / f"{name}-only" / name)
    set_up(sandbox, "chart in/digits-only -o in/chart")
    line = "run in/models --http-port 0 --grpc-port 0 --metrics-port 0 --json"
    server = sandbox.start(line, root, root / "setup" / "server")
    try:
        addresses = read_addresses(root / "setup" / "server.stdout")
        sandbox = Sandbox(root, addresses)
        set_up(sandbox, "loadtest {http} -m digits -n 10 --warmup 0 -o in/target.json")
        target = json.loads((made / "target.json").read_text())["target"] | {"url": "http://127.0.0.1:8000"}
        inputs.write_reports(made, target)
        with inputs.running_clusters(made / "clusters"):
            yield sandbox
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(TIMEOUT_SECONDS)


def set_up(sandbox: Sandbox, line: str) -> None:
    """Run a command that the recorded ones rest on."""
    output = sandbox.root / "setup" / "command"
    if sandbox.run(line, sandbox.root, output):
        sys.exit(f"serve {line} failed:\n{output.with_suffix('.stderr').read_text()}")


def read_addresses(printed: Path) -> dict[str, str]:
    """Wait until `serve run --json` says where it serves."""
    for _ in range(TIMEOUT_SECONDS * 10):
        if printed.read_text().endswith("}\n"):
            urls = json.loads(printed.read_text())
            http = urls["http_url"]
            return {"http": http, "grpc": urls["grpc_url"], "metrics": urls["metrics_url"],
                    "gone": "http://127.0.0.1:9", "port": http.rsplit(":", 1)[1]}  # fmt: skip
        time.sleep(0.1)
    sys.exit("Triton did not start")


def read_cases() -> dict[str, list[str]]:
    """The lines to run, by their case."""
    cases = defaultdict(list)
    for line in LINES.read_text().splitlines():
        if line and not line.startswith("#"):
            case, _, command = line.partition(":")
            cases[case].append(command.strip())
    return cases


def record(folder: Path) -> None:
    """Run all cases, three at a time, and write what they did."""
    folder.mkdir(parents=True)
    cases = read_cases()
    with tempfile.TemporaryDirectory(prefix="record-") as root, running_sandbox(Path(root)) as sandbox:
        recording = Recording(folder, sandbox)
        with ThreadPoolExecutor(3) as pool:
            exits = pool.map(lambda case: record_case(recording, case, cases[case]), cases)
            recording.write("exits.txt", "".join(line for lines in exits for line in lines))


def record_case(recording: Recording, case: str, lines: list[str]) -> list[str]:
    """Run the lines of one case in its folder; returns a line on each, with its exit code."""
    sandbox = recording.sandbox
    folder, exits, verb = sandbox.root / case, [], case.split("-", 1)[0]
    folder.mkdir()
    (folder / "in").symlink_to(sandbox.root / "in")
    for number, line in enumerate(lines, 1):
        name = f"{case}-{number}"
        output = sandbox.root / "setup" / name
        code = sandbox.run(line, folder, output)
        exits.append(f"{name}: {code}  serve {line}\n")
        recording.write_output(name, output, verb, code)
    recording.write_files(case, folder, verb)
    return exits


def compare(old: Path, new: Path) -> int:
    """Print what differs, by group; 1 where it is not only texts."""
    changed = [group for group, part in GROUPS.items() if print_differences(group, old / part, new / part)]
    return int(any(group != "texts" for group in changed))


def print_differences(group: str, old: Path, new: Path) -> bool:
    """Print the unified diffs of one group of a recording, and whether there are any."""
    paths = {path.relative_to(place) for place in (old, new) for path in [place, *place.rglob("*")] if path.is_file()}
    differences = []
    for path in sorted(paths):
        before, after = ((place / path).read_text().splitlines(keepends=True) if (place / path).is_file() else []
                         for place in (old, new))  # fmt: skip
        differences += difflib.unified_diff(before, after, str(old / path), str(new / path))
    print(f"== {group}: {'differ' if differences else 'equal'}")
    print("".join(line if line.endswith("\n") else f"{line}\n" for line in differences), end="")
    return bool(differences)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--compare", old, new]:
            sys.exit(compare(Path(old), Path(new)))
        case [folder] if not folder.startswith("-"):
            record(Path(folder))
        case _:
            sys.exit(__doc__)
