"""How long the event loop is held up, whatever else the machine does."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Heartbeat:
    """``longest``: the longest turn of the loop so far, in seconds of CPU of its own thread.

    The clock on the wall would also count the work of other processes, and make a test fail on a busy machine.
    """

    longest: float = 0.0


@asynccontextmanager
async def heartbeat() -> AsyncIterator[Heartbeat]:
    """Measure every turn of the running loop until the end of the block. The loop does not sleep meanwhile."""
    beat, loop = Heartbeat(), asyncio.get_running_loop()
    gc.freeze()  # else the objects of all tests before are searched for garbage, and that time counts

    def turn(begun: float) -> None:
        beat.longest = max(beat.longest, time.thread_time() - begun)
        if beating:
            loop.call_soon(turn, time.thread_time())

    beating = True
    loop.call_soon(turn, time.thread_time())
    try:
        yield beat
    finally:
        beating = False
        await asyncio.sleep(0)  # the turn that ends here counts too
        gc.unfreeze()
