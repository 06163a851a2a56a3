"""Processes are added, taken away and replaced under load: nothing is lost, the order holds, the load is shared."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from kubecdc.storage.testing.actors import event
from tests.harness.api import WORKFLOWS, Api
from tests.harness.fleet import Fleet
from tests.harness.load import Load
from tests.harness.own_redis import RedisStreams
from tests.harness.processes import Processes, until
from tests.harness.servers import Server
from tests.harness.stack import Stack
from tests.harness.trial import SUBSCRIPTION, raise_stack, verdict
from tests.harness.writer import Writer
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer

EVENTS, OBJECTS = 20_000, 500
RATE = 1500.0  # events a second
PARTITIONS = 64
MOST, FEWEST = 8, 2
SHARED = 3000  # events after the rebalance by which it is judged
SHARE_SECONDS = 10.0  # a rebalance takes about one; the machine has a core for four workers
SEED = int(os.environ.get("KUBECDC_SEED", "1"))
UNEVEN = 2.0  # what the busiest worker may do of the mean


@pytest.mark.long
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


async def more(writer: Writer, changes: int) -> None:
    """Wait until the load has made so many more."""
    wanted = len(writer.changes) + changes
    await until(lambda: len(writer.changes) >= wanted, 180, "more changes")


async def arrived(stack: Stack, events: int) -> None:
    """Wait until so many more have come."""
    wanted = len(stack.receipts(SUBSCRIPTION)) + events
    await stack.processes.until(lambda: len(stack.receipts(SUBSCRIPTION)) >= wanted, 180, "more deliveries")


async def stopped(stack: Stack, *names: str) -> None:
    """Stop them together, as a Deployment does that is scaled."""
    assert await asyncio.gather(*(stack.processes[name].stop() for name in names)) == [0] * len(names)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_one_eight_none_and_two_workers_and_rolling_restarts_under_load(
    simulator: Server, tmp_path: Path
) -> None:
    redis_server.require()
    with Processes(tmp_path) as processes:
        async with RedisStreams(processes, tmp_path / "redis").running() as bus:
            stack = await raise_stack(tmp_path, simulator, processes, bus, workers=("worker-1",), redelivery={})
            async with Api(stack.kubeconfig) as api, asyncio.TaskGroup() as group:
                writer, done = Writer(api, WORKFLOWS), asyncio.Event()
                load = Load(seed=SEED, objects=200, changes=1000, rate=50)
                loading = group.create_task(load.run(writer, longer=lambda: not done.is_set()))
                await arrived(stack, 100)
                eight = [f"worker-{number}" for number in range(1, 9)]
                await asyncio.gather(*(stack.start_worker(name).wait_for('"bus"', 180) for name in eight[1:]))
                await arrived(stack, 100)
                await stopped(stack, *eight)
                none = len(stack.receipts(SUBSCRIPTION))
                await more(writer, 200)
                assert len(stack.receipts(SUBSCRIPTION)) == none, "there is no worker"

                await asyncio.gather(*(stack.start_worker(name).wait_for('"bus"', 180) for name in ("a-1", "a-2")))
                for old, new in (("a-1", "b-1"), ("a-2", "b-2")):
                    await stack.start_worker(new).wait_for('"bus"', 180)
                    await stopped(stack, old)
                for old, new in (("watcher-1", "watcher-3"), ("watcher-2", "watcher-4")):
                    await stack.start_watcher(new).wait_for("standing by", 180)
                    await stopped(stack, old)
                    await more(writer, 50)
                done.set()
                await loading
                report = await verdict(stack, writer)
    print(f"seed {SEED}\n{report}")
    assert report.ok, str(report)
    assert (report.delivered, report.collapsed, report.synthetic) == (report.made, 0, 0)
    assert report.duplicates == [], "nobody died"
