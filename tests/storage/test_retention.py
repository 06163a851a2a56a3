"""Settled events go by age and by size, and the file stays bounded."""

from __future__ import annotations

from datetime import timedelta

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite.administration import registrations
from kubecdc.storage.sqlite.administration.retention import SPARE_PAGES
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.sqlite.file.connection import row, rows
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, pending, until
from tests.clock import Clock
from tests.storage.conftest import SqliteHarness

NAME = "billing"
SIZE = len(event(1).encode())


async def open_with(
    harness: SqliteHarness, clock: Clock, *, hours: int = 24, keep_bytes: int = 1 << 30
) -> tuple[SqliteBus, Leader]:
    settings = SqliteSettings(harness.path, retention=timedelta(hours=hours), retention_bytes=keep_bytes)
    bus = await harness.on(clock, settings)
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    return bus, await Leader.take(bus)


async def kept(bus: SqliteBus) -> list[int]:
    """The events that are still there; every body has its event."""
    both = "SELECT e.seq, b.seq FROM events AS e FULL JOIN bodies AS b ON b.seq = e.seq ORDER BY e.seq"
    found = await bus._reader.submit(lambda db: rows(db, both))  # at one moment: retention may be at work
    seqs = [seq for seq, _ in found]
    assert seqs == [seq for _, seq in found]
    return seqs


async def ack(bus: SqliteBus, count: int) -> None:
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(count)


async def test_settled_events_go_when_they_are_old(harness: SqliteHarness) -> None:
    clock = Clock()
    bus, leader = await open_with(harness, clock, hours=1)
    await leader.commit(event(1), event(2))
    clock.now += 1800
    await leader.commit(event(3), event(4))
    await ack(bus, 3)
    clock.now += 1799
    await bus.retention.enforce()
    assert await kept(bus) == [1, 2, 3, 4]
    clock.now += 2
    await bus.retention.enforce()
    assert await kept(bus) == [3, 4]
    clock.now += 1_000_000
    await bus.retention.enforce()
    assert await kept(bus) == [4], "what is owed stays, however old"


async def test_settled_events_go_when_together_they_are_large(harness: SqliteHarness) -> None:
    bus, leader = await open_with(harness, Clock(), keep_bytes=3 * SIZE)
    await leader.commit(*(event(number) for number in range(1, 9)))
    await ack(bus, 6)
    await bus.retention.enforce()
    assert await kept(bus) == [4, 5, 6, 7, 8]
    await ack(bus, 1)
    await bus.retention.enforce()
    assert await kept(bus) == [5, 6, 7, 8]


async def test_an_event_stays_until_its_last_subscription_has_settled_it(harness: SqliteHarness) -> None:
    bus, leader = await open_with(harness, Clock(), keep_bytes=0)
    await bus.register([SubscriptionSpec("second", SOURCE, SUBJECT)])
    await leader.commit(event(1), event(2))
    await ack(bus, 2)
    await bus.retention.enforce()
    assert await kept(bus) == [1, 2]
    async with Receiver.of(bus, "second") as receiver:
        await (await receiver.next()).dead_letter("broken")
    await bus.retention.enforce()
    assert await kept(bus) == [2]
    (letter,) = await bus.dead_letters.page()
    assert await bus.dead_letters.letter(letter.id) == (letter, event(1).encode()), "a copy of its own"
    await bus.prune("second")
    await bus.retention.enforce()
    assert await kept(bus) == []
    assert await bus._reader.submit(lambda db: row(db, "SELECT settled_bytes FROM meta")) == (0,)


async def test_a_prune_that_was_interrupted_is_finished_by_retention(harness: SqliteHarness) -> None:
    bus, leader = await open_with(harness, Clock(), keep_bytes=0)
    await leader.commit(*(event(number, f"object-{number % 3}") for number in range(20)))
    assert await bus._writer.submit(lambda db: registrations.end(db, NAME))
    assert await bus._writer.submit(lambda db: registrations.drop_backlog(db, 7))
    assert len(await kept(bus)) == 20
    assert await bus.subscriptions() == []
    await bus.retention.enforce()
    assert await kept(bus) == []
    assert await bus._reader.submit(lambda db: row(db, "SELECT count(*) FROM subscriptions")) == (0,)


async def test_the_file_is_bounded_and_shrinks_after_a_flood(harness: SqliteHarness) -> None:
    bus, leader = await open_with(harness, Clock(), keep_bytes=0)

    async def flood(count: int) -> int:
        async with Receiver.of(bus, NAME, prefetch=200) as receiver:
            for first in range(0, count, 200):
                await leader.commit(*(event(n, f"o-{n}", padding=20_000) for n in range(first, first + 200)))
            await receiver.acked(count)
        pages: int = (await bus._reader.submit(lambda db: row(db, "PRAGMA page_count")))[0]
        return pages

    high = await flood(1600)
    assert high > 3 * SPARE_PAGES
    await bus.retention.enforce()
    low = (await bus._reader.submit(lambda db: row(db, "PRAGMA page_count")))[0]
    assert low < SPARE_PAGES * 1.2
    for _ in range(3):
        await flood(200)
        await bus.retention.enforce()
    assert (await bus._reader.submit(lambda db: row(db, "PRAGMA page_count")))[0] < SPARE_PAGES * 1.2


async def test_the_leader_enforces_retention(harness: SqliteHarness) -> None:
    bus, leader = await open_with(harness, Clock(), keep_bytes=0)
    await leader.commit(event(1))
    await ack(bus, 1)
    assert await kept(bus) == [1]

    async def none_kept() -> bool:
        return not await kept(bus)

    async with bus.elector.lead():
        await until(none_kept)
    assert await pending(bus, NAME) == 0
