"""A watcher that starts again over a large inventory: how long until its first event, and how much memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.objects import BASE, KINDS
from benchmarks.program import POLL, Program
from benchmarks.stage import KEY, Stage, committed, staged
from kubecdc.storage.contracts import Bus

INVENTORY = f"{{kubecdc:default}}:inventory:{KEY}"


@dataclass(frozen=True)
class Started:
    """Seconds from the start of the process to its first event, and the most memory it ever used, in MiB."""

    seconds: float
    memory: float


async def starts(objects: int, runs: int) -> list[tuple[Started, Started]]:
    """Ours, past the audit that follows a start; and the imports, one watch and one read of the same inventory."""
    found: list[tuple[Started, Started]] = []
    async with _captured(objects, watches=runs) as (stage, bus, url):
        for run in range(runs):
            ours = await _ours(stage, bus, run)
            args = (f"{url}{KINDS['service'].path}", BASE + run, stage.redis_url, INVENTORY)
            program = stage.bare("start", *args)
            printed = await program.decoded()
            found.append((ours, Started(printed["first"] - program.begun, printed["peak"])))
    return found


@asynccontextmanager
async def _captured(objects: int, watches: int) -> AsyncIterator[tuple[Stage, Bus, str]]:
    """A bus that knows so many Services, and an API server with one change for each watch that is opened."""
    with staged(redis=True) as stage:
        url = await stage.apiserver("service", 1, listed=objects, objects=objects, watches=watches + 1)
        stage.manifests("service", initialList="skip")
        async with stage.bus() as bus:
            watcher = stage.watch()
            await _passed(watcher, bus, 1)
            watcher.stop()
            yield stage, bus, url


async def _ours(stage: Stage, bus: Bus, run: int) -> Started:
    watcher = stage.watch("--log-level", "debug")
    seconds = await _passed(watcher, bus, run + 2) - watcher.begun
    await watcher.until(lambda: '"audited"' in watcher.said(), "the audit")
    memory = watcher.peak()
    watcher.stop()
    return Started(seconds, memory)


async def _passed(watcher: Program, bus: Bus, changes: int) -> float:
    """The monotonic time at which so many were committed."""
    while await committed(bus) < changes:
        watcher.check(f"change {changes} was committed")
        await asyncio.sleep(POLL)
    return time.monotonic()
