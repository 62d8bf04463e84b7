"""What a run has measured, kept on disk after each measurement, so that one that is cut short can go on.

A line of JSON for each: the last one may be torn by a kill, and is then measured again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from serve_deploy import version
from serve_deploy.errors import DestinationError
from serve_deploy.files.moving import interrupts_deferred
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.tuning.candidates.candidate import Candidate
from serve_deploy.tuning.measured import Measured
from serve_deploy.tuning.task.options import TuneOptions

# These change what is done with the result, or where, and not what is measured.
_IRRELEVANT = {"apply", "fresh", "state"}
# Another serve may measure or fail otherwise, and a version does not tell two commits apart.
_CODE = Path(version.__file__).parent


def state_folder(given: Path | None = None) -> Path:
    """Where serve keeps what outlives a run: $XDG_STATE_HOME/serve, or ~/.local/state/serve."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return given or (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state") / "serve"


def fingerprint(options: TuneOptions, folders: Collection[ModelFolder], code: Path = _CODE) -> str:
    """The same for runs that measure the same on this machine, by the same code of serve."""
    files = [
        (folder.name, name, path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for name, path in sorted(folder.files.items())
    ]
    texts = [folder.config_text for folder in folders]
    asked = {each.name: str(getattr(options, each.name)) for each in fields(options) if each.name not in _IRRELEVANT}
    asked["repository"] = str(options.repository.resolve())
    what = [_digest_code(code), platform.node(), os.cpu_count(), asked, files, texts]
    return hashlib.sha256(json.dumps(what, default=str).encode()).hexdigest()[:16]


def _digest_code(root: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(root.rglob("*.py")))).hexdigest()


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep other runs from a checkpoint; DestinationError where one has it.

    They would take each other's measurements for their own, and the CPU from each other's servers. Where the file
    cannot be made or locked, do without.
    """
    with ExitStack() as held:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(path.open("ab"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DestinationError("the same tuning is running already", hint="wait for its end") from error
            held.callback(_remove_empty, path)
        yield


def _remove_empty(path: Path) -> None:
    with suppress(OSError):
        if not path.stat().st_size:
            path.unlink()


class Checkpoint:
    """Measurements and failures by candidate and purpose; what the disk has no room for waits until it has."""

    def __init__(self, path: Path, *, fresh: bool = False, note: Callable[[str], None] = lambda _: None) -> None:
        self._path, self._note = path, note
        self._measured: dict[str, Measured] = {}
        self._failed: dict[str, str] = {}
        self._ended: Counter[str] = Counter()
        self._circumstances: str | None = None
        self._unwritten: list[bytes] = []
        # Why not everything is on disk.
        self.problem: str | None = None
        if fresh:
            self._empty()
        else:
            self._read()
        self.resumed = len(self._measured)

    def _read(self) -> None:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            with suppress(ValueError, KeyError, TypeError, ValidationError):
                entry = json.loads(line)
                if "circumstances" in entry:
                    self._circumstances = str(entry["circumstances"])
                elif "ended" in entry:
                    self._ended[entry["key"]] += 1
                elif "failed" in entry:
                    self._failed[entry["key"]] = str(entry["failed"])
                else:
                    self._measured[entry["key"]] = Measured.model_validate(entry["measured"])

    def require_same(self, circumstances: str) -> None:
        """Forget what was kept under other circumstances, failures too: they need not be what would be found now."""
        if self._circumstances == circumstances:
            return
        if self._measured or self._failed:
            self._note("nothing of the run that was cut short is used: Triton or the requests have changed since")
            self._measured, self._failed, self._ended, self.resumed = {}, {}, Counter(), 0
            self._empty()
        self._circumstances = circumstances
        self._append({"circumstances": circumstances})

    def measurement(self, candidate: Candidate, purpose: str) -> Measured | None:
        """What was measured before, if it was."""
        return self._measured.get(_key(candidate, purpose))

    def failure(self, candidate: Candidate) -> str | None:
        """Why a candidate could not be measured before."""
        return self._failed.get(_key(candidate, ""))

    def keep(self, candidate: Candidate, purpose: str, measured: Measured) -> None:
        """Note a measurement."""
        key = _key(candidate, purpose)
        self._measured[key] = measured
        self._append({"key": key, "measured": measured.model_dump(mode="json")})

    def keep_failure(self, candidate: Candidate, reason: str) -> None:
        """Note that a candidate cannot be measured."""
        key = _key(candidate, "")
        self._failed[key] = reason
        self._append({"key": key, "failed": reason})

    def note_end(self, candidate: Candidate, reason: str) -> int:
        """Note that a candidate's server ended by itself; how often that has happened."""
        key = _key(candidate, "")
        self._ended[key] += 1
        self._append({"key": key, "ended": reason})
        return self._ended[key]

    def _append(self, entry: dict[str, Any]) -> None:
        # A line that a kill or a full disk tore ends here.
        self._unwritten.append(b"\n" + json.dumps(entry).encode())
        try:
            with interrupts_deferred():
                self._write()
        except OSError as error:
            problem = f"measurements could not be kept in {self._path}: {(error.strerror or str(error)).lower()}"
            if self.problem is None:
                self._note(problem)
            self.problem = problem

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(b"".join(self._unwritten))
            file.flush()
            os.fsync(file.fileno())
        self._unwritten.clear()
        self.problem = None

    def _empty(self) -> None:
        """Not removed: the run holds this file."""
        with suppress(OSError):
            os.truncate(self._path, 0)

    def finish(self) -> None:
        """Forget everything: the run is done, and the next one measures anew."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _key(candidate: Candidate, purpose: str) -> str:
    return json.dumps([candidate.values, purpose])
