"""The parent's side of the generator processes: start them, talk to them, notice when one dies."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from serve_deploy.errors import ServeError
from serve_deploy.loadtest.workers.interruption import INTERRUPTS, Interruption
from serve_deploy.loadtest.workers.messages import (
    Job,
    Leave,
    PeriodEnd,
    PeriodPlan,
    Prepare,
    Prepared,
    Stop,
    frame,
    unframe,
)

_STOP_SECONDS = 5.0


class Channel:
    """One model's way to a generator process, which may serve several."""

    def __init__(self, process: GeneratorProcess, number: int, incoming: int, outgoing: int) -> None:
        self._process = process
        self.number = number
        self._input = open(incoming, "wb", buffering=0)  # noqa: SIM115 - closed by `close`
        self.output = open(outgoing, "rb", buffering=0)  # noqa: SIM115
        self._buffer = bytearray()

    def send(self, message: object) -> None:
        """Send a message, however long it is."""
        with contextlib.suppress(BrokenPipeError):  # its end shows when we read
            view = memoryview(frame(message))
            while view:
                view = view[self._input.write(view) :]

    def receive(self) -> list[Any]:
        """The whole messages that have come; ServeError where the process has ended."""
        data = os.read(self.output.fileno(), 1 << 20)
        if not data:
            raise self._process.explain_end()
        self._buffer += data
        return unframe(self._buffer)

    def close(self) -> None:
        """Tell the process that this model is done."""
        self._input.close()
        self.output.close()


class GeneratorProcess:
    """A process that sends the requests of `models` models, each over a channel of its own."""

    def __init__(self, number: int, models: int) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipes = [(*os.pipe(), *os.pipe()) for _ in range(models)]
        theirs = [(read, write) for read, _, _, write in pipes]
        with _interrupts_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker", *(f"{read},{write}" for read, write in theirs)],
                stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors, env=environment,
                pass_fds=[descriptor for pair in theirs for descriptor in pair],
            )  # fmt: skip
        for descriptor in itertools.chain(*theirs):
            os.close(descriptor)
        self.channels = [Channel(self, number, write, read) for _, write, read, _ in pipes]

    def explain_end(self) -> ServeError:
        """That it ended, and its last words."""
        return ServeError(
            f"a generator process ended unexpectedly (exit code {self._process.wait()}): {self._last_words()}",
            hint="this run has no result; check whether the machine ran out of memory",
        )

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "no error output"

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """Wait until it has ended by itself, or end it."""
        for channel in self.channels:
            channel.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    # Ctrl-C reaches the whole process group. The child inherits the mask, so that it is deaf to it from its first
    # instruction on, not only once it has imported what it needs.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def start_workers(count: int, models: int = 1) -> Iterator[tuple[Workers, ...]]:
    """`count` generator processes that are the workers of each of so many models, until the end of the context."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(contextlib.closing(GeneratorProcess(each, models))) for each in range(count)]
        yield tuple(stack.enter_context(contextlib.closing(Workers(processes, model))) for model in range(models))


class Workers:
    """What generator processes do for one model, in one run after the other."""

    def __init__(self, processes: Sequence[GeneratorProcess], model: int) -> None:
        self.count = len(processes)
        self._processes = processes
        self._selector = selectors.DefaultSelector()
        self._channels = [process.channels[model] for process in processes]
        for channel in self._channels:
            self._selector.register(channel.output, selectors.EVENT_READ, channel)

    def close(self) -> None:
        """Tell the processes that this model is done."""
        self._selector.close()
        for channel in self._channels:
            channel.close()

    @contextlib.contextmanager
    def run(self, interruption: Interruption, build_job: Callable[[int], Job]) -> Iterator[None]:
        """Tell each worker, by its number, what a run is about; an interruption ends its period at once."""
        self._selector.register(interruption.file, selectors.EVENT_READ)
        for channel in self._channels:
            channel.send(build_job(channel.number))
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

    def kill(self) -> None:
        """End the processes at once: whoever listens to one hears of it."""
        for process in self._processes:
            process.kill()

    def _broadcast(self, message: object) -> None:
        for channel in self._channels:
            channel.send(message)

    def _messages(self, last: type) -> Iterator[tuple[int, Any]]:
        waiting = len(self._channels)
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
