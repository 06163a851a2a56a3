"""A timer that is put off again and again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """Calls ``ring`` at the time that was `set` last, by the clock ``now``.

    A timer costs more than the wait for a single event should. So one that runs out too early is left alone until then.
    """

    def __init__(self, ring: Callable[[], None], now: Callable[[], float]) -> None:
        self._ring = ring
        self._now = now
        self._time = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_time = math.inf

    def set(self, time: float) -> None:
        """Ring then, and not at the time that was set before."""
        self._time = time
        if time < self._timer_time:
            self._start()

    def cancel(self) -> None:
        """Do not ring any more."""
        if self._timer:
            self._timer.cancel()
        self._timer, self._timer_time = None, math.inf

    def _start(self) -> None:
        self.cancel()
        self._timer_time = self._time
        delay = max(0.0, self._time - self._now())
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        self.cancel()
        if self._now() < self._time:
            self._start()
        else:
            self._ring()
