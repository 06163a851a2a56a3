"""An object that changes all the time, and whose trigger is slow, holds up no other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median

from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.testing.actors import event
from tests.harness.fleet import Fleet
from tests.harness.processes import Processes, until
from tests.harness.receiver import Behaviour
from tests.storage.redis_server import RedisServer

BACKLOG = 10_000
ROUNDS = 5
OTHERS, VERSIONS = 100, 3  # a round
RATE, BATCH = 300.0, 3  # events a second, and in a commit
PARTITIONS = 4  # few, so that many others share one with the hot object
FACTOR, FLOOR = 3.0, 0.1  # seconds: below that it is the machine; waiting for the hot object takes much longer
HOT = event(1, "hot").partitionkey


async def test_ten_thousand_events_of_one_object_do_not_delay_the_others(redis: RedisServer, tmp_path: Path) -> None:
    """Two buses side by side, so that the machine's mood strikes both; one of them has the backlog."""
    idle_folder, busy_folder = tmp_path / "idle", tmp_path / "busy"
    idle_folder.mkdir()
    busy_folder.mkdir()
    with Processes(idle_folder) as beside, Processes(busy_folder) as processes:
        idle = Fleet(idle_folder, beside, redis.database(0), partitions=PARTITIONS)
        busy = Fleet(busy_folder, processes, redis.database(1), partitions=PARTITIONS)
        async with idle.opened() as idle_bus, busy.opened() as busy_bus:
            for fleet in (idle, busy):
                await fleet.start_receiver()
                fleet.start_worker("worker")
            await asyncio.gather(percentile(idle, idle_bus, 0), percentile(busy, busy_bus, 0))  # both have come to work
            await busy.behave(Behaviour(delay=0.2, seconds=600, partitionkey=HOT))
            await busy.publish(busy_bus, [event(n, "hot") for n in range(1, BACKLOG + 1)])
            rounds = [
                await asyncio.gather(percentile(idle, idle_bus, n), percentile(busy, busy_bus, n))
                for n in range(1, ROUNDS + 1)
            ]
    done = sum(line.partitionkey == HOT for line in busy.lines())
    print("p99 in ms, idle and busy:", [(round(1000 * a, 1), round(1000 * b, 1)) for a, b in rounds], f"{done} hot")
    assert done < BACKLOG / 2
    assert median(b for _, b in rounds) <= max(FACTOR * median(a for a, _ in rounds), FLOOR)


async def percentile(fleet: Fleet, bus: RedisBus, number: int) -> float:
    """A round of events of the other objects: the 99th percentile of the seconds from commit to trigger."""
    versions = range(1 + number * VERSIONS, 1 + (number + 1) * VERSIONS)
    events = [event(version, f"o-{n}") for version in versions for n in range(OTHERS)]
    await fleet.publish(bus, events, rate=RATE, batch=BATCH)
    wanted = {event.id for event in events}
    await until(lambda: wanted <= {line.id for line in fleet.lines()}, 60, "the others' events")
    delays = fleet.delays(line for line in fleet.lines() if line.id in wanted)
    return delays[int(0.99 * len(delays))]
