"""A timer that is put off again and again."""

from __future__ import annotations

import asyncio

from kubecdc.storage.redis.deliveries.alarm import Alarm


class Clock:
    """Tells the time, and counts how often it was asked."""

    def __init__(self) -> None:
        self.time = 0.0
        self._asked: asyncio.Queue[None] = asyncio.Queue()

    def now(self) -> float:
        self._asked.put_nowait(None)
        return self.time

    async def asked(self, times: int) -> None:
        for _ in range(times):
            await self._asked.get()


async def test_it_rings_at_the_time_that_was_set_last_and_not_before() -> None:
    clock, rung = Clock(), asyncio.Event()
    alarm = Alarm(rung.set, clock.now)
    alarm.set(0.001)
    alarm.set(0.002)
    await clock.asked(3)  # for the first timer, when that ran out, and for the next
    assert not rung.is_set()
    clock.time = 0.002
    await rung.wait()


async def test_it_rings_earlier_if_an_earlier_time_is_set() -> None:
    clock, rung = Clock(), asyncio.Event()
    alarm = Alarm(rung.set, clock.now)
    alarm.set(1000.0)
    alarm.set(0.0)
    await rung.wait()
    rung.clear()
    alarm.set(0.0)
    alarm.cancel()
    alarm.set(0.0)
    await rung.wait()
