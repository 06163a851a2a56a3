"""Claims as time passes, on a clock that the test sets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Delivery, SubscriptionSpec
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.sqlite.deliveries import delivery
from kubecdc.storage.sqlite.file.connection import rows
from kubecdc.storage.testing.actors import DEADLINE, SOURCE, SUBJECT, Leader, Receiver, event, pending
from tests.clock import Clock
from tests.storage.conftest import SqliteHarness

NAME = "billing"
ACK_WAIT = 30.0


async def bus_with(harness: SqliteHarness, clock: Clock, events: int) -> SqliteBus:
    bus = await harness.on(clock)
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    await (await Leader.take(bus)).commit(*(event(number, f"object-{number}") for number in range(events)))
    return bus


async def take(deliveries: AsyncIterator[Delivery]) -> Delivery:
    async with asyncio.timeout(DEADLINE):
        return await anext(deliveries)


async def claimed_until(bus: SqliteBus) -> list[float]:
    return await bus._reader.submit(lambda db: [due for (due,) in rows(db, "SELECT due FROM deliveries ORDER BY seq")])


async def test_what_waited_here_is_claimed_anew_before_it_is_handed_out(harness: SqliteHarness) -> None:
    clock = Clock()
    bus = await bus_with(harness, clock, 3)
    begin = clock.now
    deliveries = bus.subscription(NAME, prefetch=3).deliveries()
    await take(deliveries)
    clock.now += ACK_WAIT * 0.4
    await take(deliveries)
    assert await claimed_until(bus) == [begin + ACK_WAIT] * 3
    clock.now += ACK_WAIT * 0.4
    await take(deliveries)
    assert await claimed_until(bus) == [begin + ACK_WAIT, begin + ACK_WAIT, clock.now + ACK_WAIT]


async def test_a_settlement_ends_when_the_disk_hangs(harness: SqliteHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = await bus_with(harness, Clock(), 1)
    hangs = threading.Event()
    async with Receiver.of(bus, NAME) as receiver:
        settled = await receiver.next()
        bus._writer.post(lambda db: hangs.wait(DEADLINE))
        with monkeypatch.context() as patch:
            patch.setattr(delivery, "DEADLINE", 0.05)
            with pytest.raises(Unavailable, match="could not be written"):
                await settled.ack()
        hangs.set()
        await settled.ack()
    assert await pending(bus, NAME) == 0


async def test_what_was_lost_while_it_waited_here_is_not_handed_out(harness: SqliteHarness) -> None:
    clock = Clock()
    bus, other = await bus_with(harness, clock, 2), await harness.on(clock, holder="other")
    deliveries = bus.subscription(NAME, prefetch=2).deliveries()
    await take(deliveries)
    clock.now += ACK_WAIT + 1
    async with Receiver.of(other, NAME, prefetch=2) as receiver:
        assert len({(await receiver.next()).event.id for _ in range(2)}) == 2
        waiting = asyncio.ensure_future(anext(deliveries))
        await asyncio.wait([waiting], timeout=0.2)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_delivery_that_was_abandoned_comes_again_and_takes_no_room_for_ever(harness: SqliteHarness) -> None:
    clock = Clock()
    bus = await bus_with(harness, clock, 1)
    async with Receiver.of(bus, NAME, prefetch=1) as receiver:
        first = await receiver.next()
        await receiver.nothing()
        clock.now += ACK_WAIT + 1
        again = await receiver.next()
        assert again.event == first.event
        await again.ack()


async def test_a_claim_holds_for_ack_wait_and_no_longer(harness: SqliteHarness) -> None:
    clock = Clock()
    bus, other = await bus_with(harness, clock, 1), await harness.on(clock, holder="other")
    async with Receiver.of(bus, NAME) as receiver, Receiver.of(other, NAME) as second:
        taken = {asyncio.ensure_future(one.next()): one for one in (receiver, second)}
        (first,), waiting = await asyncio.wait(taken, return_when=asyncio.FIRST_COMPLETED)
        waiting.add(asyncio.ensure_future(taken[first].next()))  # who let it lapse may be the one that gets it again
        clock.now += ACK_WAIT - 1
        await asyncio.wait(waiting, timeout=0.2)
        assert not any(task.done() for task in waiting)
        clock.now += 1.5
        again, waiting = await asyncio.wait(waiting, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().event for task in again] == [first.result().event]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_nack_holds_for_its_delay(harness: SqliteHarness) -> None:
    clock = Clock()
    bus = await bus_with(harness, clock, 1)
    async with Receiver.of(bus, NAME) as receiver:
        await (await receiver.next()).nack(timedelta(minutes=5))
        clock.now += 299
        await receiver.nothing()
        clock.now += 2
        await receiver.next()
