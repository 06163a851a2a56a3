"""``rateLimit``: the runs of a trigger are spread evenly over time, over all workers where they share state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from kubecdc.storage.contracts import StateEntry, StateStore
from kubecdc.storage.shared_state import change
from kubecdc.workers.settlement import persist

KEY = "rate"
AHEAD = 0.1  # seconds: a worker takes the places of that time at once, so that fast triggers do not ask for each
LATEST = 60.0  # seconds besides; a place that is further off was taken before the clock was set back
KEPT = timedelta(days=1)

Sleep = Callable[[float], Awaitable[None]]


class Rate:
    """The places of one trigger, ``interval`` seconds apart. No place that has passed is made up for: no bursts.

    ``state`` is None where workers share none: then each has places of its own. ``now`` gives seconds since 1970.
    """

    def __init__(
        self,
        interval: float,
        state: StateStore | None = None,
        scope: str = "",
        *,
        now: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._interval = interval
        self._state = state
        self._scope = scope
        self._now = now
        self._sleep = sleep
        self._at_once = max(1, int(AHEAD / interval))
        self._next = 0.0  # place
        self._left = 0  # places
        self._free = 0.0  # from when on places are free, as far as this worker knows
        self._turn = asyncio.Lock()  # first come, first served

    async def turn(self) -> None:
        """Wait for the next place, and take it."""
        async with self._turn:
            now = self._now()
            if not self._left or self._next + self._interval < now or self._next > self._latest(now):
                self._next, self._left = await self._places(), self._at_once
            place = self._next
            self._next, self._left = place + self._interval, self._left - 1
            await self._sleep(max(0.0, place - self._now()))

    async def _places(self) -> float:
        """Take some places in a row. Returns the first."""
        if self._state is None:
            first, self._free = self._after(self._free)
            return first
        state, taken = self._state, [0.0]

        def decide(entry: StateEntry | None) -> bytes:
            taken[0], free = self._after(float(entry.value) if entry else 0.0)
            return repr(free).encode()

        await persist(lambda: change(state, self._scope, KEY, decide, ttl=KEPT + self._span))
        return taken[0]

    @property
    def _span(self) -> timedelta:
        return timedelta(seconds=self._interval * self._at_once)

    def _after(self, free: float) -> tuple[float, float]:
        """The first of some places, and what is free after them."""
        now = self._now()
        if free > self._latest(now):
            free = now
        first = max(now, free)
        return first, first + self._span.total_seconds()

    def _latest(self, now: float) -> float:
        """The last place that anybody may have taken, unless the clock was set back since."""
        return now + 100 * self._span.total_seconds() + LATEST
