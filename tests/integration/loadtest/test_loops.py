"""The generator without its fast parts: plain asyncio, and timers of the loop instead of the kernel's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serve_deploy.loadtest import ClosedLoop, ConstantRate
from serve_deploy.loadtest.clients.alarm import LoopAlarm, TimerfdAlarm


@pytest.mark.parametrize("load", [ClosedLoop(4), ConstantRate(200)], ids=["closed", "open"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_plain_asyncio_does_it_too(
    measure: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, load: Any, protocol: str
) -> None:
    """Where uvloop cannot be imported, the same run gives the same counts."""
    (tmp_path / "uvloop.py").write_text("raise ImportError('not here')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (point,) = measure("double", protocol, loads=(load,), requests=50, shapes=(("IN", (2,)),)).points
    assert (point.sent, point.succeeded) == (50, 50)


@pytest.mark.parametrize("kind", [TimerfdAlarm, LoopAlarm])
def test_alarms_ring_at_or_after_their_time(kind: Any) -> None:
    """Each `set` rings once and never early; a time that has passed rings at once."""
    import time

    async def ring_twice() -> list[tuple[float, float]]:
        loop = asyncio.get_running_loop()
        rung = asyncio.Event()
        alarm = kind(loop, rung.set)
        times = []
        for when in (time.monotonic() + 0.01, time.monotonic() - 1):
            alarm.set(when)
            await rung.wait()
            rung.clear()
            times.append((when, time.monotonic()))
        alarm.close()
        return times

    for when, rang in asyncio.run(ring_twice()):
        assert rang >= when
