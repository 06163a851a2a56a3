"""``rateLimit``: places in time, shared by the workers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from kubecdc.current import Current
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite import open_bus as open_sqlite
from kubecdc.storage.testing.actors import Leader, known, until
from kubecdc.workers import worker
from kubecdc.workers.plan import plan_of, subscriptions
from kubecdc.workers.rate import LATEST, Rate
from tests.workers.support import event, into, log_trigger, sensor


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


async def turns(limit: Rate, time: Time, count: int) -> list[float]:
    """When each of the next turns came."""
    found = []
    for _ in range(count):
        await limit.turn()
        found.append(time.now)
    return found


@pytest.mark.parametrize("interval", [0.001, 0.05, 1.0, 3600.0])
async def test_turns_are_an_interval_apart_also_after_a_pause(interval: float, time: Time) -> None:
    limit = Rate(interval, now=time, sleep=time.sleep)
    found = await turns(limit, time, 300)
    time.now += 1000 * interval + 7
    found += await turns(limit, time, 300)
    assert min(b - a for a, b in pairwise(found)) >= interval * 0.999, "nothing is made up for"
    assert found[299] - found[0] == pytest.approx(299 * interval, rel=0.01)


@pytest.mark.parametrize("interval", [0.01, 2.0])
async def test_workers_together_are_as_fast_as_one(interval: float, time: Time, tmp_path: Path) -> None:
    rng = random.Random(1)
    bus = await open_sqlite(SqliteSettings(tmp_path / "bus.db", ack_wait=timedelta(seconds=30)), holder="the test")
    limits = [Rate(interval, bus.state, "s/t", now=time, sleep=time.sleep) for _ in range(3)]
    found = []
    for _ in range(200):
        found += await turns(rng.choice(limits), time, 1)
    await bus.close()
    whole = found[-1] - found[0]
    assert whole >= 199 * interval * 0.999
    assert max(sum(start <= one < start + 10 * interval for one in found) for start in found) <= 10 + 1


async def test_a_clock_that_is_set_back_stops_nothing_for_long(time: Time, tmp_path: Path) -> None:
    bus = await open_sqlite(SqliteSettings(tmp_path / "bus.db", ack_wait=timedelta(seconds=30)), holder="the test")
    await Rate(1.0, bus.state, "s/t", now=time, sleep=time.sleep).turn()
    time.now -= 86_400
    before = time.now
    await Rate(1.0, bus.state, "s/t", now=time, sleep=time.sleep).turn()
    await bus.close()
    assert time.now - before <= LATEST


@pytest.mark.parametrize("step", [-86_400.0, -LATEST - 20])
async def test_places_that_were_taken_before_the_clock_was_set_back_are_left(step: float, time: Time) -> None:
    limit = Rate(0.01, now=time, sleep=time.sleep)
    await turns(limit, time, 3)  # of the ten that were taken at once
    time.now += step
    before = time.now
    found = await turns(limit, time, 30)
    assert found[0] == before
    assert [b - a for a, b in pairwise(found)] == pytest.approx([0.01] * 29, abs=0.001)


async def test_who_gives_up_waiting_leaves_the_turn_to_the_next(time: Time) -> None:
    limit = Rate(3600.0)
    await limit.turn()
    waiting = [asyncio.create_task(limit.turn()) for _ in range(2)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2


async def test_the_runs_of_a_trigger_are_spread_and_a_stop_waits_for_none(tmp_path: Path) -> None:
    """At one run an hour the second event waits for its place, without an attempt."""
    manifest = log_trigger(rateLimit={"unit": "Hour", "requestsPerUnit": 1})
    made, runs, stop = sensor(manifest), list[Mapping[str, object]](), asyncio.Event()
    bus = await open_sqlite(SqliteSettings(tmp_path / "bus.db", ack_wait=timedelta(seconds=30)), holder="the test")
    await bus.register(subscriptions([made]))
    await (await Leader.take(bus)).commit(event(1, key="a"), event(2, key="b"))
    task = asyncio.create_task(worker.run(bus, Current(plan_of([made])), Redelivery(), stop=stop, render=into(runs)))

    async def one() -> bool:
        (status,) = await bus.subscriptions()
        return known(status.pending) == 1

    await until(one)
    stop.set()
    async with asyncio.timeout(60):
        await task
    assert len(runs) == 1
    async for delivery in bus.subscription("s/t", prefetch=1).deliveries():
        assert delivery.attempt == 1
        break
    await bus.close()
