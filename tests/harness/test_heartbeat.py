"""The heartbeat notices what holds up the loop, and nothing else."""

from __future__ import annotations

import asyncio
import time

from kubecdc.concurrency import in_thread
from tests.harness.heartbeat import heartbeat

BUSY = 0.05


def busy() -> None:
    begun = time.thread_time()
    while time.thread_time() - begun < BUSY:
        pass


async def test_the_longest_turn_counts() -> None:
    async with heartbeat() as beat:
        await asyncio.sleep(0)
        busy()
        await asyncio.sleep(0)
    assert beat.longest >= BUSY


async def test_so_does_one_at_the_end() -> None:
    async with heartbeat() as beat:
        busy()
    assert beat.longest >= BUSY


async def test_work_of_other_threads_does_not_count() -> None:
    async with heartbeat() as beat:
        await in_thread(busy, seconds=10)
    assert 0 < beat.longest < BUSY
