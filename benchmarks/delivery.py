"""How many events a second one worker process takes through its trigger."""

from __future__ import annotations

import asyncio
import time

from redis.asyncio import Redis

from benchmarks.capture import captured
from benchmarks.program import POLL
from benchmarks.stage import PENDING, Stage, staged

CONCURRENCY = 256


async def worker_log(*, events: int) -> tuple[float, float]:
    """Events a second: ours to a line on standard output each, and XREADGROUP COUNT 100 with XACK."""
    ours = await _worked(events, {"log": {}})
    with staged(redis=True) as stage:
        bare = (await stage.printed("consume", "drain", stage.redis_url, events))["rate"]
    return ours, bare


async def worker_http(*, events: int) -> tuple[float, float]:
    """Events a second to a peer that answers in 50 ms: ours, and aiohttp alone; 256 at a time."""
    ours = await _worked(events, None)
    with staged(redis=False) as stage:
        bare = (await stage.printed("post", await stage.peer(), events, CONCURRENCY))["rate"]
    return ours, bare


async def _worked(events: int, trigger: dict[str, object] | None) -> float:
    """Let the watcher fill the bus, and then one worker empty it; without a trigger, to the peer by HTTP."""
    with staged(redis=True) as stage:
        await stage.apiserver("workflow", events)
        if trigger is None:
            trigger = {"http": {"url": await stage.peer(), "method": "POST"}}
        stage.manifests("workflow", trigger)
        async with stage.bus() as bus:
            await captured(stage, bus, events)
        return await _emptied(stage, events)


async def _emptied(stage: Stage, events: int) -> float:
    """The rate from the first settlement that was seen to the last."""
    first: tuple[float, int] | None = None
    pending = events
    async with Redis.from_url(stage.redis_url) as redis:
        worker = stage.work("--concurrency", str(CONCURRENCY))
        while pending:
            worker.check("the backlog was empty")
            pending = int(await redis.hget(PENDING, "pending") or 0)
            now = time.monotonic()
            if pending < events and first is None:
                first = (now, pending)
            await asyncio.sleep(POLL)
    assert first
    worker.stop()
    return first[1] / max(now - first[0], POLL)
