"""watch -> commit: how many changes a second the watcher takes from a stream and makes durable."""

from __future__ import annotations

import asyncio
import time

from benchmarks.program import POLL
from benchmarks.stage import Stage, committed, staged
from kubecdc.storage.contracts import Bus


async def watch_commit(kind: str, *, redis: bool, changes: int) -> tuple[float, float]:
    """Changes a second: ours until the last is committed, and the official client's that only reads them."""
    with staged(redis=redis) as stage:
        await stage.apiserver(kind, changes)
        stage.manifests(kind, sqlite=not redis)
        async with stage.bus() as bus:
            ours = await captured(stage, bus, changes)
    with staged(redis=False) as stage:
        url = await stage.apiserver(kind, changes)
        bare = (await stage.printed("official", url, kind, changes))["rate"]
    return ours, bare


async def captured(stage: Stage, bus: Bus, changes: int) -> float:
    """Run a watcher until it has committed as many; the rate, from the first commit that was seen."""
    watcher = stage.watch()
    first: tuple[float, int] | None = None
    done = 0
    while done < changes:
        watcher.check("all changes were committed")
        done = await committed(bus)
        now = time.monotonic()
        if done and first is None:
            first = (now, done)
        await asyncio.sleep(POLL)
    assert first
    watcher.stop()
    return (done - first[1]) / max(now - first[0], POLL)
