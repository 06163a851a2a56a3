"""Workers whose Redis hangs, breaks off or is killed: they say so once, and go on by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.testing.actors import event
from tests.harness.fleet import Fleet
from tests.harness.processes import Process, Processes, until
from tests.harness.proxy import Proxy
from tests.storage.redis_server import RedisServer

OBJECTS = 50
RATE = 400.0  # events a second
SAID = 30.0  # seconds: a command has ten
TROUBLE, OVER = "cannot read the subscription", "recovered"
CUTS = 3


async def test_workers_outlive_a_redis_that_hangs_breaks_off_and_is_killed(redis: RedisServer, tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        async with Proxy(redis.port) as proxy:
            fleet = Fleet(tmp_path, processes, redis.url, partitions=8, way=f"redis://127.0.0.1:{proxy.port}/0")
            await fleet.start_receiver()
            async with fleet.opened() as bus:
                workers = [fleet.start_worker(f"worker-{n}") for n in range(2)]
                await publish(fleet, bus, 200)
                await fleet.settle(bus)

                publishing = asyncio.create_task(publish(fleet, bus, 1000))
                async with proxy.hanging():
                    await until(lambda: any(log(worker, TROUBLE) for worker in workers), SAID, "a word of it")
                await publishing
                await fleet.settle(bus)

                publishing = asyncio.create_task(publish(fleet, bus, 1000))
                for _ in range(CUTS):
                    enough = fleet.requests() + 100
                    await until(lambda: fleet.requests() > enough, 20, "events between two cuts")  # noqa: B023
                    assert proxy.cut() > 0
                await publishing
                await fleet.settle(bus)

            said = [len(log(worker, TROUBLE)) for worker in workers]
            redis.kill()
            await until(lambda: all(len(log(w, TROUBLE)) > n for w, n in zip(workers, said, strict=True)), SAID, "more")
            redis.start()
            async with fleet.opened() as bus:
                await publish(fleet, bus, 200)
                await fleet.settle(bus)
            ends = await asyncio.gather(*(worker.stop() for worker in workers))
    report = fleet.account()
    assert (report.lost, report.out_of_order, report.invented) == ([], [], [])
    assert ends == [0, 0]
    for worker in workers:
        troubles = log(worker, TROUBLE)
        assert len(troubles) <= 2 + CUTS, "once each time"
        over = [line for line in log(worker, OVER) if line["was"] == TROUBLE]
        assert len(over) == len(troubles)
        assert all("does not answer: " in str(line["error"]) and line["hint"] for line in troubles)


async def publish(fleet: Fleet, bus: RedisBus, count: int) -> None:
    """The next so many events."""
    numbers = range(len(fleet.published), len(fleet.published) + count)
    events = [event(1 + n // OBJECTS, f"o-{n % OBJECTS}") for n in numbers]
    await fleet.publish(bus, events, rate=RATE, batch=10)


def log(worker: Process, event: str) -> list[dict[str, object]]:
    """Such lines of its log, of which each must be JSON: a traceback would be none."""
    lines = [msgspec.json.decode(line, type=dict[str, object]) for line in worker.output().splitlines()]
    return [line for line in lines if line["event"] == event]
