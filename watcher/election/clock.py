"""Time, as leader election uses it."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

# If possible, a clock that goes on while the machine is suspended, as the clocks of the other candidates do.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Monotonic seconds, sleep measured in them, and the time of day, which only the number of a term depends on."""

    def now(self) -> float: ...
    def wall(self) -> datetime: ...
    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.clock_gettime(_CLOCK)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True)
class Timing:
    """The clock and the random numbers of an elector; tests replace them. ``rng`` spreads the retries."""

    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random | None = None
