"""What an event costs with and without what kubectl and the controllers note in an object."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from benchmarks.program import POLL
from benchmarks.stage import PENDING, Stage, committed, staged

NOTES = [
    "metadata.managedFields",
    "metadata.annotations.kubectl\\.kubernetes\\.io/last-applied-configuration",
]


SECRETS = ("--secrets-dir", "secrets")


async def costs(events: int) -> tuple[float, float]:
    """Microseconds of CPU for each event, of watcher, Redis and worker: without these parts, and with them."""
    without, whole = [await cost(events, entry) for entry in ({"project": {"drop": NOTES}}, {})]
    return without, whole


async def cost(
    events: int,
    entry: Mapping[str, Any],
    bus: Mapping[str, Any] | None = None,
    secret: tuple[str, str, str] | None = None,
) -> float:
    """Microseconds of CPU for each event. ``bus`` has fields of the EventBus, ``secret`` is mounted for it."""
    with staged(redis=True) as stage:
        await stage.apiserver("deployment", events)
        stage.manifests("deployment", bus=bus, **entry)
        if secret:
            stage.secret(*secret)
        async with Redis.from_url(stage.redis_url) as redis:
            seconds = await _captured(stage, events) + await _delivered(stage, redis)
            info = await redis.info("cpu")
        server: float = info["used_cpu_user"] + info["used_cpu_sys"]
        return (seconds + server) / events * 1e6


async def _captured(stage: Stage, events: int) -> float:
    watcher = stage.watch(*SECRETS)
    async with stage.bus() as bus:
        while await committed(bus) < events:
            watcher.check("all changes were committed")
            await asyncio.sleep(POLL)
    used = watcher.cpu()
    watcher.stop()
    return used


async def _delivered(stage: Stage, redis: Redis) -> float:
    worker = stage.work(*SECRETS)
    while int(await redis.hget(PENDING, "pending") or 0):
        worker.check("the backlog was empty")
        await asyncio.sleep(POLL)
    used = worker.cpu()
    worker.stop()
    return used
