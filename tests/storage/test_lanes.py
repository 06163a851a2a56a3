"""The cost of claims, counted in steps of SQLite's virtual machine rather than in time."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from kubecdc.storage.contracts import NO_FAILURES, SubscriptionSpec
from kubecdc.storage.sqlite.administration import retention
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.sqlite.deliveries import lanes
from kubecdc.storage.sqlite.file.connection import rows
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from tests.storage.conftest import SqliteHarness

NAME = "billing"
HOT = 10_000


def steps(db: apsw.Connection, operation: Callable[[], object]) -> int:
    """How much SQLite did for the operation, in units of ten instructions."""
    count = 0

    def tick() -> bool:
        nonlocal count
        count += 1
        return False

    db.set_progress_handler(tick, 10)
    try:
        operation()
    finally:
        db.set_progress_handler(None)
    return count


async def bus_with(harness: SqliteHarness, hot: int, others: int) -> SqliteBus:
    """A bus with one object that has many events pending, and some with one."""
    bus = await harness.sqlite()
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    leader = await Leader.take(bus)
    for first in range(0, hot, 1000):
        await leader.commit(*(event(number, "hot") for number in range(first, min(first + 1000, hot))))
    await leader.commit(*(event(number, f"object-{number}") for number in range(others)))
    return bus


async def cost(bus: SqliteBus) -> dict[str, int]:
    """Steps of each thing a worker does, on the hot object among others. Everything is rolled back."""

    def operation(db: apsw.Connection) -> dict[str, int]:
        found: dict[str, int] = {}
        found["look"] = steps(db, lambda: lanes.next_due(db, NAME))
        claims: list[lanes.Claim] = []
        found["claim"] = steps(
            db,
            lambda: claims.extend(
                lanes.claim(db, NAME, token="t", holder="h", now=2e9, until=3e9, limit=8, most_bytes=1 << 20)
            ),
        )
        assert claims[0].seq == 1, "the hot object's first"
        found["nack"] = steps(db, lambda: lanes.nack(db, claims[1], 2.5e9, 1, NO_FAILURES))
        found["ack of a hot one"] = steps(db, lambda: lanes.ack(db, claims[0], success=True))
        found["ack of another"] = steps(db, lambda: lanes.ack(db, claims[2], success=True))
        found["nothing to forget"] = steps(db, lambda: retention.forget(db, before=0, keep_bytes=1 << 40))
        return found

    return await bus._writer.submit(operation)


async def test_a_hot_object_costs_nobody_more(harness: SqliteHarness) -> None:
    bus = await bus_with(harness, HOT, 20)
    hot = await cost(bus)
    await bus.close()
    harness.path = harness.path.with_name("small.db")
    small = await cost(await bus_with(harness, 3, 20))
    for what, count in hot.items():
        assert count <= small[what] + 5, f"{what}: {hot} against {small}"


async def test_a_commit_to_a_hot_object_costs_as_much_as_to_any(harness: SqliteHarness) -> None:
    bus = await bus_with(harness, HOT, 1)
    leader = await Leader.take(bus)
    counts: list[int] = []
    ticks = 0

    def tick() -> bool:
        nonlocal ticks
        ticks += 1
        return False

    await bus._writer.submit(lambda db: db.set_progress_handler(tick, 10))
    for name in ("hot", "quite-new"):
        before = ticks
        await leader.commit(*(event(number, name) for number in range(50_000, 50_010)))
        counts.append(ticks - before)
    assert counts[0] <= counts[1] * 1.2, counts


async def test_others_are_worked_on_while_a_hot_object_backs_off(harness: SqliteHarness) -> None:
    bus = await bus_with(harness, HOT, 20)
    async with Receiver.of(bus, NAME, prefetch=4) as receiver:
        hot = await receiver.next()
        assert hot.event.partitionkey.endswith("/hot")
        assert len(set(await receiver.acked(20))) == 20
        await receiver.nothing()


async def test_claiming_searches_the_index_of_heads_in_its_order(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    explain = f"EXPLAIN QUERY PLAN {lanes.CLAIMABLE}"
    plan = await bus._reader.submit(lambda db: [detail for *_, detail in rows(db, explain, (NAME, 0, 1))])
    assert "SEARCH d USING INDEX deliveries_due (subscription=? AND due<?)" in plan
    assert not any(detail.startswith(("SCAN", "USE TEMP B-TREE")) for detail in plan), plan


def test_lanes_are_the_same_in_every_process() -> None:
    assert lanes.lane("workflows.argoproj.io/default/a") == 7_845_411_925_031_935_738
