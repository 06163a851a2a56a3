"""What a commit costs while many triggers wait for events.

``python -m benchmarks.triggers EVENTBUS TRIGGERS COMMITS``: one process commits an event for each of the triggers in
turn, at a steady pace, and delivers them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import msgspec
import uvloop
from redis import Redis

from benchmarks import setup
from benchmarks.bus import acked, opened_bus
from benchmarks.stage import staged
from kubecdc.storage.contracts import Bus, Delivery, SubscriptionSpec
from kubecdc.storage.testing.actors import Leader, event

MANY, FEW = 1000, 20
PACE = 50  # commits a second
CALM = 3.0, 200  # seconds until each subscription has its partitions, and one more for each so many


async def costs(seconds: float, *, redis: bool) -> tuple[float, float]:
    """Milliseconds of CPU for each event, of the process and of Redis, with many triggers and with few."""
    many, few = [await _run(count, int(seconds * PACE), redis=redis) for count in (MANY, FEW)]
    return many, few


async def _run(triggers: int, commits: int, *, redis: bool) -> float:
    with staged(redis=redis) as stage:
        spec = {"redis": {"url": stage.redis_url}} if redis else {"sqlite": {"path": str(stage.bus_file)}}
        argv = [sys.executable, "-m", "benchmarks.triggers", msgspec.json.encode(spec).decode()]
        program = stage.programs.start("triggers", [*argv, str(triggers), str(commits)], piped=True)
        return (await program.decoded())["milliseconds"]


async def _cost(bus: Bus, redis: Redis | None, triggers: int, commits: int) -> float:
    specs = [SubscriptionSpec(f"bench/act-{number}", "bench", f"changed-{number}") for number in range(triggers)]
    await bus.register(specs)
    left, done = commits, asyncio.Event()

    def note(_: Delivery) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    waiting = [asyncio.create_task(acked(bus, commits + 1, note, name=spec.name)) for spec in specs]
    leader = await Leader.take(bus)
    seconds, each = CALM
    await asyncio.sleep(seconds + triggers / each)
    begun, start = _cpu(redis), time.monotonic()
    for number in range(commits):
        subject = specs[number % triggers].subject
        await leader.commit(event(number, f"o-{number}", source="bench", subject=subject, padding=5000))
        await asyncio.sleep(max(0.0, start + (number + 1) / PACE - time.monotonic()))
    await done.wait()
    used = _cpu(redis) - begun
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return used / commits * 1000


def _cpu(redis: Redis | None) -> float:
    """Seconds of CPU that this process and the server have used."""
    server: Any = redis.info("cpu") if redis else {}
    return time.process_time() + float(server.get("used_cpu_user", 0)) + float(server.get("used_cpu_sys", 0))


async def main(spec: str, triggers: int, commits: int) -> None:
    url = msgspec.json.decode(spec).get("redis", {}).get("url")
    redis = Redis.from_url(url) if url else None
    async with opened_bus(spec) as bus:
        setup.begin()
        print(msgspec.json.encode({"milliseconds": await _cost(bus, redis, triggers, commits)}).decode())


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
