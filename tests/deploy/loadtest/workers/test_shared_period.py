"""Users who call several models by turns."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from serve_deploy.loadtest.clients.exchange import Exchange
from serve_deploy.loadtest.workers.shared_period import SharedPeriod, Turns


class _Slot:
    """Notes that it was sent a request, and waits."""

    is_open = True
    intended = sent = 0.0

    def __init__(self, model: int, log: list[int]) -> None:
        self._model, self._log = model, log

    def send(self, _intended: float) -> None:
        self._log.append(self._model)


async def _start(turns: Turns, log: list[int], requests: tuple[int, int]) -> tuple[list[SharedPeriod], list[Exchange]]:
    exchanges, periods = [], []
    for model, count in enumerate(requests):
        exchange = Exchange(lambda: lambda: None, 1.0)  # type: ignore[arg-type, return-value]
        slots: Any = {_Slot(model, log)}
        exchange.slots = slots
        period = SharedPeriod(exchange, turns, model, end=monotonic() + 3600, requests=count)
        exchange.begin(period)
        exchanges.append(exchange)
        periods.append(period)
    for period in periods:
        await period.start()
    return periods, exchanges


def test_requests_follow_the_order_until_all_are_sent() -> None:
    """One user, three turns of four at the first model; both periods end with the last answer."""

    async def follow() -> list[int]:
        log: list[int] = []
        periods, exchanges = await _start(Turns(1, (0, 0, 1, 0)), log, (6, 2))
        for answered in range(8):
            assert not any(period.done.done() for period in periods)
            exchange = exchanges[log[answered]]
            exchange.finish(next(iter(exchange.slots)), 0)
        assert all(period.done.done() for period in periods)
        return log

    assert asyncio.run(follow()) == [0, 0, 1, 0] * 2


def test_stopping_one_model_ends_the_others_when_nobody_is_left() -> None:
    """Where a model's server is lost, users who wait for it come to no other model any more."""

    async def stop() -> bool:
        (first, second), _ = await _start(Turns(1, (0, 1)), [], (5, 5))
        first.stop()
        return second.done.done()

    assert asyncio.run(stop())
