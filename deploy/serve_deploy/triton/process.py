"""One server process, its children, and the certainty that none of them outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.endpoint.local_server import list_pids, read_memory_bytes, read_stat
from serve_deploy.files.temporary import remove_temporary
from serve_deploy.triton.leftovers import remove_environment_folders
from serve_deploy.triton.limits import raise_file_limit
from serve_deploy.triton.runtime import Launch

_LOG_NAME = "triton.log"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX keeps it, not a temporary file of ours
# The guard leads the process group, and outlives us only to end it: its stdin closes when we die, however we die.
_GUARD = """
trap '' HUP INT TERM
read -r _
folder=$1; shared_memory=$2; shift 2
"$@"
rm -rf -- "$folder"
rm -f -- "$shared_memory"*
kill -KILL 0
"""


@dataclass
class ServerProcess:
    """A started process, in a process group of its own that ends with it or with us."""

    _process: subprocess.Popen[bytes]
    _guard: subprocess.Popen[bytes]
    _launch: Launch
    _folder: Path
    _shared_memory_prefix: str
    _started: float  # by the file system's clock
    _final_log: str | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Wait for its end; None if it still runs after the timeout."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def log_text(self) -> str:
        """Everything the process and its children wrote so far."""
        if self._final_log is not None:
            return self._final_log
        return self.in_own_words((self._folder / _LOG_NAME).read_text(encoding="utf-8", errors="replace"))

    def read_log(self, start: int) -> tuple[str, int]:
        """What was written from byte `start` on, and where that ends."""
        with (self._folder / _LOG_NAME).open("rb") as log:
            log.seek(start)
            content = log.read()
        return self.in_own_words(content.decode("utf-8", errors="replace")), start + len(content)

    def in_own_words(self, text: str) -> str:
        """What the server says, with the repository's own path in it."""
        repository = self._launch.repository
        return repository.in_own_words(text) if repository else text

    def memory_bytes(self) -> int:
        """Memory of all its processes."""
        if self._launch.memory:
            listed = subprocess.run(list(self._launch.memory), capture_output=True, text=True, check=False).stdout
            return sum(int(line) for line in listed.split() if line.isdigit()) * 1024
        return sum(_used_bytes(pid) for pid in _group_members(self._guard.pid) if pid != self._guard.pid)

    def dead_children(self) -> list[int] | None:
        """The processes of models that have ended without the server's notice; None where they cannot be seen."""
        if self._launch.release:
            return None
        return sorted(pid for pid in list_pids() if read_stat(pid)[:2] == ["Z", str(self._process.pid)])

    def terminate(self) -> None:
        """Ask it to end, in its own time."""
        self._process.terminate()

    def destroy(self) -> None:
        """End what is left of the group at once, and remove its folder and shared memory."""
        if self._final_log is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._process.wait()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        if self._launch.release:
            subprocess.run(list(self._launch.release), capture_output=True, check=False)
        self._final_log = self.log_text()
        remove_temporary(self._folder)
        for region in _SHARED_MEMORY.glob(f"{self._shared_memory_prefix}*"):
            region.unlink(missing_ok=True)
        if not self._launch.release:
            remove_environment_folders(self._started)


def start_process(launch: Launch, folder: Path, shared_memory_prefix: str) -> ServerProcess:
    """Start the launch's command; raises OSError where it cannot be executed."""
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "sh", str(folder), str(_SHARED_MEMORY / shared_memory_prefix),
         *(launch.release or ["true"])],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0,
    )  # fmt: skip
    try:
        with (folder / _LOG_NAME).open("wb") as log:
            started = os.fstat(log.fileno()).st_ctime
            process = subprocess.Popen(
                list(launch.command), env=dict(launch.environment) or None, process_group=guard.pid,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        raise_file_limit(process.pid)
    except BaseException:
        guard.kill()
        guard.communicate()
        raise
    return ServerProcess(process, guard, launch, folder, shared_memory_prefix, started)


def _group_members(group: int) -> list[int]:
    return [pid for pid in list_pids() if read_stat(pid)[2:3] == [str(group)]]


def _used_bytes(pid: int) -> int:
    """Memory of a process: what it shares with others is counted once over all, where the system tells."""
    if (used := read_memory_bytes(pid)) is not None:
        return used
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
