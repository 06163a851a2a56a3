"""How many events a second go into the queues of an rq bus, and out of them."""

from __future__ import annotations

import asyncio
import time

import msgspec

from benchmarks.objects import BASE, KINDS
from benchmarks.stage import staged
from kubecdc.storage.contracts import Bus, Delivery, SubscriptionSpec
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.rq import ServerSettings, open_bus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, event

BATCH = 100
AT_A_TIME = 64
NAME = "bench/act"


async def jobs(*, events: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Events a second, ours and RQ's: committed in batches, enqueued one by one; acked, run by SimpleWorker."""
    with staged(redis=True) as stage:
        bus = await open_bus(ServerSettings(stage.redis_url), holder="the benchmark")
        try:
            await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
            committed, settled = await _committed(bus, events), await _settled(bus, events)
        finally:
            await bus.close()
    with staged(redis=True) as stage:
        bare = await stage.printed("jobs", stage.redis_url, events)
    return (committed, bare["enqueue"]), (settled, bare["run"])


async def _committed(bus: Bus, events: int) -> float:
    leader = await Leader.take(bus)
    prepared = [_event(number) for number in range(events)]
    begun = time.perf_counter()
    for first in range(0, events, BATCH):
        await leader.commit(*prepared[first : first + BATCH])
    return events / (time.perf_counter() - begun)


async def _settled(bus: Bus, events: int) -> float:
    tasks: set[asyncio.Task[None]] = set()
    begun, taken = time.perf_counter(), 0
    async for delivery in bus.subscription(NAME, prefetch=AT_A_TIME).deliveries():
        task = asyncio.create_task(_done(delivery))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        taken += 1
        if taken == events:
            break
    await asyncio.gather(*tasks)
    return events / (time.perf_counter() - begun)


async def _done(delivery: Delivery) -> None:
    await delivery.start()
    await delivery.ack()


def _event(number: int) -> Event:
    data = b'{"type":"UPDATE","body":%s}' % KINDS["workflow"].object(number, number)
    return msgspec.structs.replace(event(number, f"object-{number % BASE}"), data=msgspec.Raw(data))
