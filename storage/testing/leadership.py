"""Leadership: election, and fencing of older terms."""

from __future__ import annotations

import asyncio

from kubecdc.storage.contracts import SubscriptionSpec, Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.storage.testing.actors import DEADLINE, KEY, SOURCE, SUBJECT, Leader, Receiver, event, raises
from kubecdc.storage.testing.case import Case, Harness, collect, in_order, one_of

CASES: list[Case] = []
SUB = SubscriptionSpec("billing", SOURCE, SUBJECT)


@collect(CASES)
async def a_newer_term_fences_the_older_one(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    old = await Leader.take(bus, term=1)
    await old.commit(event(1))
    in_flight = old.batch([event(2)])
    new = await Leader.take(bus, term=2)
    assert new.number == old.number
    async with raises(LeadershipLost):
        await old.send(in_flight)
    async with raises(LeadershipLost):
        await bus.checkpoints.save(KEY, in_flight.delta, term=old.term)
    async with raises(LeadershipLost):
        await Leader.take(bus, term=1)
    await new.commit(event(2))


@collect(CASES)
async def a_newer_term_fences_also_before_the_first_commit(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    old = await Leader.take(bus, term=1)
    new = await Leader.take(bus, term=2)
    async with raises(LeadershipLost):
        await old.commit(event(1))
    await new.commit(event(1))


@collect(CASES)
async def a_newer_term_fences_the_older_one_also_where_it_has_acquired_nothing_yet(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    await Leader.take(bus, term=1)
    old = await Leader.take(bus, term=1, key="elsewhere")
    await old.commit(one_of(harness, 1))
    await Leader.take(bus, term=2)
    async with raises(LeadershipLost):
        await old.commit(one_of(harness, 2))
    new = await Leader.take(bus, term=2, key="elsewhere")
    assert new.number == old.number
    await new.commit(one_of(harness, 3))
    async with Receiver.of(bus, SUB.name) as receiver:
        assert in_order(harness, await receiver.acked(2)) == in_order(harness, [one_of(harness, n).id for n in (1, 3)])


@collect(CASES)
async def a_fenced_leader_learns_that_even_of_a_batch_that_was_done(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    old = await Leader.take(bus, term=1)
    batch = old.batch([event(1)])
    await old.send(batch)
    await Leader.take(bus, term=2)
    async with raises(LeadershipLost):
        await old.send(batch)


@collect(CASES, "elector")
async def one_leads_and_the_next_takes_over_with_a_greater_term(harness: Harness) -> None:
    one, other = await harness.open("one"), await harness.open("other")
    leading = asyncio.Event()

    async def stand_by() -> Term:
        async with other.elector.lead() as term:
            leading.set()
            return term

    async with one.elector.lead() as first:
        await Leader.take(one, term=first.number)
        waiting = asyncio.create_task(stand_by())
        await asyncio.sleep(0.3)
        assert not leading.is_set()
    async with asyncio.timeout(DEADLINE):
        second = await waiting
    assert second.number > first.number
    assert (first.holder, second.holder) == ("one", "other")
