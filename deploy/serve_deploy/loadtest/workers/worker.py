"""A generator process: told over a pipe for each model what to measure, it sends its samples over another.

Run as `python -m serve_deploy.loadtest.workers.worker`, so that it starts alike everywhere and inherits nothing by
accident.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import resource
import signal
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from serve_deploy.arrivals.schedule import Schedule, split_evenly
from serve_deploy.arrivals.shapes import ClosedLoop, LoadShape, SharedLoop
from serve_deploy.loadtest.clients.exchange import LOSS_KINDS, Exchange
from serve_deploy.loadtest.clients.recorder import SUCCEEDED
from serve_deploy.loadtest.requests.prompting import Prompting
from serve_deploy.loadtest.requests.source import Sequences
from serve_deploy.loadtest.workers.closed_period import ClosedPeriod
from serve_deploy.loadtest.workers.interruption import INTERRUPTS
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
from serve_deploy.loadtest.workers.open_period import OpenPeriod
from serve_deploy.loadtest.workers.shared_period import SharedPeriod, Turns

FLUSH_SECONDS = 0.5
LOST_AFTER_FLUSHES = 4


class Worker:
    """Carries out its parent's messages, one period at a time.

    `rounds` has, by their start, the periods to come of users whom the process's workers share.
    """

    def __init__(self, send: Callable[[object], None], rounds: dict[float, Turns]) -> None:
        self._send, self._rounds = send, rounds
        self._period: ClosedPeriod | OpenPeriod | None = None
        self._preparation: asyncio.Task[None] | None = None
        self._lost_flushes = 0
        self._lost = False

    def accept(self, job: Job) -> None:
        """Learn what a run is about."""
        self._job = job
        self._exchange = _open_exchange(job)
        self._exchange.client = _open_client(job, self._exchange)

    def stop(self) -> None:
        """End the current period, or its preparation, at once."""
        if self._period:
            self._period.stop()
        if self._preparation:
            self._preparation.cancel()

    async def prepare(self, message: Prepare) -> None:
        """Open the slots before the clock starts."""
        self._preparation = asyncio.current_task()
        try:
            await self._exchange.open_slots(self._slots_needed(message.shape, message.connections))
        except ConnectionError as error:
            self._send(Prepared(str(error)))
        except asyncio.CancelledError:
            self._send(Prepared("stopped"))
        else:
            self._send(Prepared())
        self._preparation = None

    def _slots_needed(self, shape: LoadShape, connections: int) -> int:
        if isinstance(shape, SharedLoop):
            # As many as call this model on average; where more do, more are opened.
            return math.ceil(self._users(shape) * shape.order.count(shape.number) / len(shape.order))
        if isinstance(shape, ClosedLoop):
            return self._users(shape)
        return min(32, connections)

    def _users(self, shape: ClosedLoop) -> int:
        return split_evenly(shape.concurrency, self._job.workers, self._job.worker)

    def begin(self, plan: PeriodPlan) -> ClosedPeriod | OpenPeriod:
        """Make ready for a period; from now on it can be stopped."""
        period = self._period = self._build_period(plan)
        self._exchange.begin(period)
        return period

    async def measure(self, plan: PeriodPlan, period: ClosedPeriod | OpenPeriod) -> None:
        """Carry out one period and report it."""
        self._lost_flushes, self._lost = 0, False
        gc.collect()
        gc.freeze()
        gc.disable()
        await asyncio.sleep(max(plan.start - time.monotonic(), 0))
        cpu, wall, starved = time.process_time(), time.monotonic(), _starved_seconds()
        watch = asyncio.get_running_loop().create_task(self._watch(period))
        await period.start()
        await period.done
        watch.cancel()
        end = PeriodEnd(
            cpu_seconds=time.process_time() - cpu,
            wall_seconds=max(time.monotonic() - wall, 1e-6),
            starved_seconds=_starved_seconds() - starved,
            kinds=tuple(self._exchange.recorder.kinds.values()),
            unfinished=self._abandon(),
            lost=self._lost,
            ran_out_of_connections=isinstance(period, OpenPeriod) and period.ran_out_of_connections,
        )
        gc.enable()
        self._period = None
        period.close()
        self._send(self._exchange.recorder.take(0))
        self._send(end)

    def _build_period(self, plan: PeriodPlan) -> ClosedPeriod | OpenPeriod:
        worker, workers = self._job.worker, self._job.workers
        end = plan.start + plan.duration_seconds
        if isinstance(plan.shape, ClosedLoop):
            # Workers without a user have no share of the requests either.
            busy = min(workers, plan.shape.concurrency)
            requests = None if plan.requests is None else split_evenly(plan.requests, busy, worker)
            if isinstance(plan.shape, SharedLoop):
                turns = self._take_turns(plan.start, plan.shape)
                return SharedPeriod(self._exchange, turns, plan.shape.number, end=end, requests=requests)
            return ClosedPeriod(self._exchange, self._users(plan.shape), end=end, requests=requests)
        schedule = Schedule(
            plan.shape,
            plan.duration_seconds,
            requests=plan.requests,
            worker=worker,
            workers=workers,
            seed=plan.seed,
        )
        return OpenPeriod(
            self._exchange,
            schedule,
            start=plan.start,
            end=end,
            cutoff=end + plan.backlog_seconds,
            connections=plan.connections,
            keep_together=isinstance(self._job.source, Sequences),
        )

    def _take_turns(self, start: float, shape: SharedLoop) -> Turns:
        for past in [each for each in self._rounds if each < start]:
            del self._rounds[past]
        # The workers begin at different turns, so that they do not all call the same model at once.
        first = self._job.worker % len(shape.order)
        order = shape.order[first:] + shape.order[:first]
        return self._rounds.setdefault(start, Turns(self._users(shape), order))

    async def _watch(self, period: ClosedPeriod | OpenPeriod) -> None:
        interval = min(max(self._job.timeout_seconds / 20, 0.005), 0.1)
        flush_at = time.monotonic() + FLUSH_SECONDS
        while True:
            await asyncio.sleep(interval)
            now = time.monotonic()
            self._exchange.expire(now)
            if now >= flush_at:
                flush_at += FLUSH_SECONDS
                self._flush(period)

    def _flush(self, period: ClosedPeriod | OpenPeriod) -> None:
        block = self._exchange.recorder.take(period.in_flight, self._exchange.count_pieces())
        self._send(block)
        outcomes = set(array("d", block.rows)[3::4])
        if outcomes and self._losses().issuperset(outcomes):
            self._lost_flushes += 1
        elif SUCCEEDED in outcomes:
            self._lost_flushes = 0
        if self._lost_flushes >= LOST_AFTER_FLUSHES:
            self._lost = True
            period.stop()

    def _losses(self) -> set[int]:
        return {kind.code for kind in self._exchange.recorder.kinds.values() if kind.name in LOSS_KINDS}

    def _abandon(self) -> tuple[float, ...]:
        busy = [slot for slot in self._exchange.slots if slot.is_busy]
        for slot in busy:
            slot.give_up()
            self._exchange.note_unfinished(slot)
        return tuple(slot.sent for slot in busy)

    async def leave(self) -> None:
        """Close the idle connections in order, so that the server need not wait for them."""
        self.stop()
        gc.unfreeze()
        for slot in list(self._exchange.slots):
            slot.close()
        await self._exchange.client.close()
        await asyncio.sleep(0)


def _open_exchange(job: Job) -> Exchange:
    if not isinstance(job.source, Prompting):
        return Exchange(job.source.open(job.worker, job.workers), job.timeout_seconds)
    from serve_deploy.loadtest.clients.generation_exchange import GenerationExchange

    prompter = job.source.open(job.worker, job.workers)
    return GenerationExchange(prompter, job.timeout_seconds, keeps_text=job.source.counts_tokens)


def _open_client(job: Job, exchange: Exchange) -> Any:
    if job.endpoint.protocol == "http":
        from serve_deploy.loadtest.clients.http_client import HttpClient
        from serve_deploy.loadtest.clients.http_connection import KeptBody
        from serve_deploy.loadtest.clients.http_stream import StreamBody

        generates = isinstance(job.source, Prompting)
        return HttpClient(job.endpoint, exchange, StreamBody if generates else KeptBody if job.validate else None)
    from serve_deploy.loadtest.clients.grpc_answers import AnswerStreamSlot
    from serve_deploy.loadtest.clients.grpc_client import GrpcClient
    from serve_deploy.loadtest.clients.grpc_slots import StreamSlot
    from serve_deploy.loadtest.clients.validation import check_grpc_reply

    if isinstance(job.source, Prompting):
        asking = job.source.asking
        return GrpcClient(job.endpoint, exchange, open_stream=partial(AnswerStreamSlot, text_output=asking.text_output))
    check = check_grpc_reply if job.validate else None
    return GrpcClient(
        job.endpoint, exchange, check=check, open_stream=partial(StreamSlot, check=check) if job.streaming else None
    )


def _starved_seconds() -> float:
    """How long this process was ready to run but had no core; 0 where the system does not say."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


async def _serve_all(channels: Sequence[tuple[int, int]]) -> None:
    rounds: dict[float, Turns] = {}
    async with asyncio.TaskGroup() as tasks:
        for incoming, outgoing in channels:
            tasks.create_task(_serve(incoming, outgoing, rounds))


async def _serve(incoming: int, outgoing: int, rounds: dict[float, Turns]) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(incoming, "rb"))
    transport, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(outgoing, "wb"))
    worker = Worker(lambda message: transport.write(frame(message)), rounds)
    # A failing task ends the group, and so the process: the parent must not wait for it in vain.
    async with asyncio.TaskGroup() as tasks:
        buffer = bytearray()
        while data := await reader.read(1 << 20):
            buffer += data
            for message in unframe(buffer):
                match message:
                    case Job():
                        worker.accept(message)
                    case Prepare():
                        tasks.create_task(worker.prepare(message))
                    case PeriodPlan():
                        tasks.create_task(worker.measure(message, worker.begin(message)))
                    case Stop():
                        worker.stop()
                    case Leave():
                        await worker.leave()
        worker.stop()
    transport.close()


def main() -> None:
    """Serve the parent until it closes every channel; the arguments are their descriptors, read,write."""
    # Ctrl-C reaches the whole process group; the parent tells us what follows from it, or closes the channels.
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    channels = [
        (int(incoming), int(outgoing)) for incoming, _, outgoing in (word.partition(",") for word in sys.argv[1:])
    ]
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve_all(channels))
    else:
        uvloop.run(_serve_all(channels))


if __name__ == "__main__":
    # Messages name their classes by the module's import path, not by __main__.
    from serve_deploy.loadtest.workers import worker as module

    module.main()
