"""The fault wrappers follow the contracts, and the bus tolerates the faults."""

from __future__ import annotations

import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, pending
from kubecdc.storage.testing.fault_injection import (
    Crash,
    FaultyBus,
    Script,
    crash_after,
    crash_before,
    duplicate,
    lost_reply,
    refused,
    slow,
)
from tests.storage.conftest import SqliteHarness

NAME = "billing"


async def faulty(harness: SqliteHarness, *, commits: Script | None = None, settlements: Script | None = None) -> Bus:
    bus = await harness.sqlite()
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    return FaultyBus(bus, commits=commits, settlements=settlements)


async def test_a_commit_is_done_once_under_every_fault(harness: SqliteHarness) -> None:
    bus = await faulty(
        harness, commits=Script([refused, crash_before, crash_after, lost_reply, duplicate, slow(0.001)])
    )
    leader = await Leader.take(bus)
    batch = leader.batch([event(1)])
    for error, number in ((Unavailable, 0), (Crash, 0), (Crash, 1), (Unavailable, 1)):
        with pytest.raises(error):
            await leader.send(batch)
        assert await pending(bus, NAME) == number
    await leader.send(batch)
    await leader.send(batch)
    assert await pending(bus, NAME) == 1


async def test_a_settlement_may_be_repeated_under_every_fault(harness: SqliteHarness) -> None:
    bus = await faulty(harness, settlements=Script([refused, crash_before, lost_reply, duplicate, None, crash_after]))
    await (await Leader.take(bus)).commit(event(1), event(2), event(3))
    async with Receiver.of(bus, NAME) as receiver:
        first = await receiver.next()
        for error, number in ((Unavailable, 3), (Crash, 3), (Unavailable, 2)):
            with pytest.raises(error):
                await first.ack()
            assert await pending(bus, NAME) == number
        await first.ack()
        second = await receiver.next()
        await second.dead_letter("broken")
        third = await receiver.next()
        with pytest.raises(Crash):
            await third.dead_letter("broken")
    assert len(await bus.dead_letters.page()) == 2


def test_a_crash_is_handled_by_nobody() -> None:
    assert not issubclass(Crash, Exception)
