"""Many files at once: tried again, ended by the first error, told as they go."""

from __future__ import annotations

import threading

import pytest

from serve_deploy.errors import EndpointError
from serve_deploy.progress import silent
from serve_deploy.stores.store import OnBytes, StoreUnreachableError
from serve_deploy.stores.transfer.transfer import Tally, describe_progress, transfer


def test_every_item_is_done_once() -> None:
    """By as many threads as asked for, and no more."""
    done: list[int] = []
    busy, most, lock = 0, 0, threading.Lock()

    def work(item: int, _on_bytes: OnBytes) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        done.append(item)
        with lock:
            busy -= 1

    transfer(list(range(50)), work, concurrency=4, tally=Tally("sending", 0, silent))
    assert sorted(done) == list(range(50))
    assert most <= 4


def test_a_broken_connection_is_tried_again() -> None:
    """With pauses that grow; the bytes of a failed attempt do not count."""
    attempts, pauses, told = 0, [], []

    def work(_item: str, on_bytes: OnBytes) -> None:
        nonlocal attempts
        attempts += 1
        on_bytes(1 << 20)
        if attempts < 4:
            raise StoreUnreachableError("the connection broke")

    transfer(["a"], work, concurrency=1, tally=Tally("sending", 1 << 20, told.append), sleep=pauses.append)
    assert attempts == 4
    assert [0.25 * 2**step <= pause <= 0.75 * 2**step for step, pause in enumerate(pauses)] == [True] * 3
    assert told[-1].startswith("sending 1.0 MB of 1.0 MB")


def test_it_is_given_up_in_time() -> None:
    """With the store's own words."""
    pauses: list[float] = []

    def work(_item: str, _on_bytes: OnBytes) -> None:
        raise StoreUnreachableError("the connection broke")

    with pytest.raises(StoreUnreachableError, match="the connection broke"):
        transfer(["a"], work, concurrency=1, tally=Tally("sending", 0, silent), sleep=pauses.append)
    assert len(pauses) == 4


def test_the_first_error_ends_the_others() -> None:
    """What they move next raises in them; a refusal is not tried again."""
    began, attempts = threading.Event(), []

    def work(item: str, on_bytes: OnBytes) -> None:
        attempts.append(item)
        if item == "refused":
            began.wait(300)
            raise EndpointError("no permission")
        began.set()
        while True:
            on_bytes(1)

    with pytest.raises(EndpointError, match="no permission"):
        transfer(["endless", "refused", "never"], work, concurrency=2, tally=Tally("sending", 0, silent))
    assert sorted(attempts) == ["endless", "refused"]


def test_an_interruption_ends_all() -> None:
    """At once, though a thread hangs."""
    hangs, release = threading.Event(), threading.Event()

    def work(_item: str, _on_bytes: OnBytes) -> None:
        hangs.set()
        release.wait(300)

    def interrupt(_message: str) -> None:
        if hangs.wait(300):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(["a"], work, concurrency=1, tally=Tally("sending", 0, interrupt))
    release.set()


@pytest.mark.parametrize(
    ("done", "rate", "said"),
    [
        (0, 0.0, "sending 0 KB of 2.0 GB"),
        (1 << 30, 100 * 2**20, "sending 1.0 GB of 2.0 GB, 100.0 MB/s, 10 s left"),
        (0, 10 * 2**20, "sending 0 KB of 2.0 GB, 10.0 MB/s, 3 min 25 s left"),
    ],
)
def test_progress_has_rate_and_time_left(done: int, rate: float, said: str) -> None:
    """Once something has moved."""
    assert describe_progress("sending", done, 2 << 30, rate) == said


def test_the_rate_is_of_late() -> None:
    """A stop of the connection shows."""
    times, told = iter([0.0, 1.0, 10.0, 20.0, 30.0]), []
    tally = Tally("sending", 100 << 20, told.append, clock=lambda: next(times))
    tally.add(50 << 20)
    tally.tell()
    for _time in range(3):
        tally.add(10 << 20)
        tally.tell()
    assert [line.split(", ")[1] for line in told] == ["50.0 MB/s", "6.0 MB/s", "1.1 MB/s", "1.0 MB/s"]


def test_silence_is_told() -> None:
    """Rather than a rate of nothing, while connections are tried again."""
    times, told = iter([0.0, 1.0, 4.0, 13.0]), []
    tally = Tally("sending", 100 << 20, told.append, clock=lambda: next(times))
    tally.add(10 << 20)
    for _ in range(3):
        tally.tell()
    assert [text.endswith("; nothing moved for 12 s") for text in told] == [False, False, True]
