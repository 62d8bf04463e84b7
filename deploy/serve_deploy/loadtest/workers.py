"""The parent's side of the generator processes: start them, talk to them, notice when one dies."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Any, cast

from serve_deploy.errors import ServeError
from serve_deploy.loadtest.interruption import INTERRUPTS, Interruption
from serve_deploy.loadtest.messages import Job, Leave, PeriodEnd, PeriodPlan, Prepare, Prepared, Stop, frame, unframe

_STOP_SECONDS = 5.0


class _Process:
    def __init__(self, number: int) -> None:
        self.number = number
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with _interrupts_blocked():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serve_deploy.loadtest.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment, bufsize=0,
            )  # fmt: skip
        self.input = cast("IO[bytes]", self.process.stdin)
        self.output = cast("IO[bytes]", self.process.stdout)
        self.buffer = bytearray()

    def send(self, message: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # its end shows when we read
            view = memoryview(frame(message))
            while view:
                view = view[self.input.write(view) :]

    def receive(self) -> list[Any]:
        data = os.read(self.output.fileno(), 1 << 20)
        if not data:
            raise ServeError(
                f"a generator process ended unexpectedly (exit code {self.process.wait()}): {self._last_words()}",
                hint="this run has no result; check whether the machine ran out of memory",
            )
        self.buffer += data
        return unframe(self.buffer)

    def _last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "no error output"

    def close(self) -> None:
        self.input.close()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        self.errors.close()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    # Ctrl-C reaches the whole process group. The child inherits the mask, so that it is deaf to it from its first
    # instruction on, not only once it has imported what it needs.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers:
    """Generator processes, for one run after the other; the end of the context ends them."""

    def __init__(self, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._processes: list[_Process] = []
        self.count = count

    def __enter__(self) -> Workers:
        for number in range(self.count):
            process = _Process(number)
            self._processes.append(process)
            self._selector.register(process.output, selectors.EVENT_READ, process)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._selector.close()
        for process in self._processes:
            process.close()

    @contextlib.contextmanager
    def run(self, interruption: Interruption, build_job: Callable[[int], Job]) -> Iterator[None]:
        """Tell each worker, by its number, what a run is about; an interruption ends its period at once."""
        self._selector.register(interruption.file, selectors.EVENT_READ)
        for process in self._processes:
            process.send(build_job(process.number))
        try:
            yield
        finally:
            self._broadcast(Leave())
            with contextlib.suppress(KeyError):  # it happened
                self._selector.unregister(interruption.file)

    def prepare(self, message: Prepare) -> str | None:
        """Have all slots opened; returns why not where that failed."""
        self._broadcast(message)
        failures = [answer.failure for _, answer in self._messages(Prepared) if answer]
        return next((failure for failure in failures if failure), None)

    def measure(self, plan: PeriodPlan) -> Iterator[tuple[int, Any]]:
        """Carry out a period; yields (worker, block or end) as they come, and (-1, None) twice a second."""
        self._broadcast(plan)
        return self._messages(PeriodEnd)

    def stop(self) -> None:
        """End the current period at once: its ends arrive promptly."""
        self._broadcast(Stop())

    def _broadcast(self, message: object) -> None:
        for process in self._processes:
            process.send(message)

    def _messages(self, last: type) -> Iterator[tuple[int, Any]]:
        waiting = len(self._processes)
        wake = time.monotonic() + 0.5
        while waiting:
            for key, _ in self._selector.select(max(wake - time.monotonic(), 0)):
                if key.data is None:
                    self._selector.unregister(key.fileobj)
                    self.stop()
                    continue
                for message in key.data.receive():
                    waiting -= isinstance(message, last)
                    yield key.data.number, message
            if time.monotonic() >= wake:
                wake += 0.5
                yield -1, None
