"""What an event costs while many subscriptions of other events are open.

``python -m benchmarks.crowd URL EVENTS OTHERS``: one process commits the events, delivers them to the one subscription
that wants them, and has the others open too.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import uvloop
from redis import Redis

from benchmarks import setup
from benchmarks.bus import SPEC, acked, batches
from benchmarks.stage import staged
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.redis import RedisSettings, open_bus
from kubecdc.storage.testing.actors import Leader

OTHERS = 99
CALM = 3.0  # seconds after which each subscription has its partitions


async def costs(events: int) -> tuple[float, float]:
    """Milliseconds of CPU for each event, of the process and of Redis, among the others; and alone."""
    among, alone = [await _run(events, others) for others in (OTHERS, 0)]
    return among, alone


async def _run(events: int, others: int) -> float:
    with staged(redis=True) as stage:
        argv = [sys.executable, "-m", "benchmarks.crowd", stage.redis_url, str(events), str(others)]
        return (await stage.programs.start("crowd", argv, piped=True).decoded())["milliseconds"]


async def _cost(bus: Bus, redis: Redis, events: int, others: int) -> float:
    specs = [SubscriptionSpec(f"bench/other-{number}", f"other-{number}", SPEC.subject) for number in range(others)]
    await bus.register([SPEC, *specs])
    idle = [asyncio.create_task(acked(bus, 1, name=spec.name)) for spec in specs]
    leader = await Leader.take(bus)
    async with asyncio.TaskGroup() as group:
        warm = group.create_task(acked(bus, 1))
        for batch in batches(leader, 1):
            await leader.send(batch)
        await warm
    await asyncio.sleep(CALM)
    begun = _cpu(redis)
    async with asyncio.TaskGroup() as group:
        group.create_task(acked(bus, events))
        for batch in batches(leader, events):
            await leader.send(batch)
    used = _cpu(redis) - begun
    for task in idle:
        task.cancel()
    await asyncio.gather(*idle, return_exceptions=True)
    return used / events * 1000


def _cpu(redis: Redis) -> float:
    """Seconds of CPU that this process and the server have used."""
    server = msgspec.convert(redis.info("cpu"), dict[str, float], strict=False)
    return time.process_time() + server["used_cpu_user"] + server["used_cpu_sys"]


async def main(url: str, events: int, others: int) -> None:
    bus = await open_bus(RedisSettings(url), holder="the benchmark")
    try:
        with Redis.from_url(url) as redis:
            setup.begin()
            print(msgspec.json.encode({"milliseconds": await _cost(bus, redis, events, others)}).decode())
    finally:
        await bus.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
