"""Workers are added and taken away under load: nothing is lost, the order holds, the load is shared."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from kubecdc.storage.testing.actors import event
from tests.harness.fleet import Fleet
from tests.harness.processes import Processes, until
from tests.storage.redis_server import RedisServer

EVENTS, OBJECTS = 20_000, 500
RATE = 1500.0  # events a second
PARTITIONS = 64
MOST, FEWEST = 8, 2
SHARED = 3000  # events after the rebalance by which it is judged
SHARE_SECONDS = 10.0  # a rebalance takes about one; the machine has a core for four workers
UNEVEN = 2.0  # what the busiest worker may do of the mean


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_workers_scale_from_one_to_eight_to_two_under_load(redis: RedisServer, tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        fleet = Fleet(tmp_path, processes, redis.url, partitions=PARTITIONS)
        await fleet.start_receiver()
        async with fleet.opened() as bus:

            async def shared(workers: int) -> bool:
                return await fleet.shares(bus) == [PARTITIONS // workers] * workers

            events = [event(1 + n // OBJECTS, f"o-{n % OBJECTS}") for n in range(EVENTS)]
            publishing = asyncio.create_task(fleet.publish(bus, events, rate=RATE))
            fleet.start_worker("worker-1")
            await fleet.until(lambda: shared(1), 20, "the first worker")
            more = [fleet.start_worker(f"worker-{n}") for n in range(2, MOST + 1)]
            await asyncio.gather(*(worker.wait_for('"bus"', 60) for worker in more))
            took = await fleet.until(lambda: shared(MOST), SHARE_SECONDS, "an even share")
            rebalanced, before = time.monotonic(), fleet.requests()
            await until(lambda: fleet.requests() >= before + SHARED, 60, "what is judged")
            changed = time.monotonic()
            ends = await asyncio.gather(*(worker.stop() for worker in more[FEWEST - 1 :]))
            await fleet.until(lambda: shared(FEWEST), SHARE_SECONDS, "an even share")
            await publishing
            await fleet.settle(bus)
    assert ends == [0] * (MOST - FEWEST)
    report = fleet.account()
    assert (report.lost, report.out_of_order, report.invented) == ([], [], [])
    assert report.repeated == [], "nobody died"
    counts = Counter(line.path for line in fleet.lines() if rebalanced <= line.at < changed)
    print(f"an even share after {took:.1f} s, and then {dict(counts)}")
    assert len(counts) == MOST
    assert max(counts.values()) <= UNEVEN * sum(counts.values()) / MOST
