"""Notices a system clock that is set, and says so: ages, `--since` and retention follow it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from kubecdc.metrics import Counter

log = structlog.get_logger()
Clock = Callable[[], float]
PERIOD_SECONDS = 5.0
SMALLEST = 1.0  # seconds; smaller steps are corrections
JUMPS = Counter("kubecdc_clock_jumps", "Times that the system clock was set by a second or more").at()


async def watch(wall: Clock = time.time, monotonic: Clock = time.monotonic, *, period: float = PERIOD_SECONDS) -> None:
    """Compare the wall clock with the monotonic clock periodically. Never returns."""
    offset = wall() - monotonic()
    while True:
        await asyncio.sleep(period)
        step, offset = wall() - monotonic() - offset, wall() - monotonic()
        if abs(step) >= SMALLEST:
            JUMPS.value += 1
            log.warning(
                f"the system clock was set {'forward' if step > 0 else 'back'}, or the machine has slept",
                code="clock-set",
                seconds=round(abs(step), 1),
                hint="claims and delays of this process last as long as before; synchronize the clocks of all machines",
            )
