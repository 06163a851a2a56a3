"""Commits: events and a checkpoint step, all or nothing."""

from __future__ import annotations

import asyncio

from kubecdc.storage.contracts import Batch, Gap, Inventoried, Publication, SubscriptionSpec, Term
from kubecdc.storage.contracts.errors import BusFull, CommitMismatch, NoSubscription
from kubecdc.storage.testing.actors import (
    KEY,
    SOURCE,
    SUBJECT,
    Leader,
    Receiver,
    event,
    events,
    expect_pending,
    raises,
    state,
)
from kubecdc.storage.testing.case import Case, Harness, collect, in_order, one_of

CASES: list[Case] = []
SUB = SubscriptionSpec("billing", SOURCE, SUBJECT)
KNOWN = Inventoried("7", "default", "a", True)


@collect(CASES)
async def a_commit_makes_events_inventory_and_state_durable(harness: Harness) -> None:
    one, other = await harness.open("one"), await harness.open("other")
    await one.register([SUB])
    leader = await Leader.take(one)
    await leader.commit(event(1), upserts={"uid-a": KNOWN})
    checkpoint = await other.checkpoints.acquire(KEY, Term(2, "other"))
    assert (checkpoint.number, checkpoint.state) == (leader.number, state(1))
    assert await other.checkpoints.inventory(KEY) == {"uid-a": KNOWN}
    async with Receiver.of(other, "billing") as receiver:
        delivery = await receiver.next()
        assert delivery.body == event(1).encode()
        assert delivery.event == event(1)


@collect(CASES)
async def a_batch_that_was_prepared_is_committed_like_others(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    batches = []
    for number in range(3):  # the last is empty
        events = [one_of(harness, 2 * number), one_of(harness, 2 * number + 1)][: 2 - number]
        batches.append(bus.publisher.prepare(leader.batch(events, upserts={"uid-a": KNOWN}), term=leader.term))
        assert list(batches[-1].events) == events
        leader.number += 1
    async with raises(CommitMismatch):
        await leader.send(batches[1])
    for batch in batches:
        await leader.send(batch)
        await leader.send(batch)
    assert (await bus.checkpoints.acquire(KEY, leader.term)).number == leader.number
    assert await bus.checkpoints.inventory(KEY) == {"uid-a": KNOWN}
    async with Receiver.of(bus, "billing") as receiver:
        assert in_order(harness, await receiver.acked(3)) == [one_of(harness, number).id for number in range(3)]


@collect(CASES, "atomic_commit")
async def a_refused_commit_leaves_nothing_behind(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    stranger = event(2, source="nobody-wants-this")
    gap = Gap("expired", "1", "9", "2026-01-01T00:00:00Z", 1)
    async with raises(NoSubscription):
        await leader.send(leader.batch([event(2), stranger], upserts={"uid-a": KNOWN}, gap=gap))
    ahead = Leader(bus, leader.number + 5)
    async with raises(CommitMismatch):
        await ahead.send(ahead.batch([event(2)], upserts={"uid-a": KNOWN}, gap=gap))
    await expect_pending(bus, "billing", 1)
    assert await bus.checkpoints.inventory(KEY) == {}
    assert await bus.checkpoints.gaps(KEY) == []
    checkpoint = await bus.checkpoints.acquire(KEY, leader.term)
    assert (checkpoint.number, checkpoint.state) == (leader.number, state(1))


@collect(CASES)
async def a_commit_whose_reply_was_lost_is_repeated_without_effect(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    batch = leader.batch([event(1)])
    await leader.send(batch)
    await leader.send(batch)
    assert (await bus.checkpoints.acquire(KEY, leader.term)).number == leader.number + 1
    if harness.capabilities.exactly_once_publish:
        await expect_pending(bus, "billing", 1)


@collect(CASES)
async def another_batch_that_follows_the_same_commit_is_refused(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    mine, other = leader.batch([event(1)]), leader.batch([event(2)])
    await leader.send(mine)
    async with raises(CommitMismatch):
        await leader.send(other)
    leader.number += 1
    await leader.commit(event(3))
    async with raises(CommitMismatch):
        await leader.send(mine)


@collect(CASES)
async def a_batch_that_was_sent_ahead_is_refused_if_another_was_made_before_it(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    first = leader.batch([event(1)])
    leader.number += 1
    second = leader.batch([event(2)], after=first.delta.token)
    leader.number -= 1
    await leader.commit(event(3))  # by another process: it makes the commit of the number that `second` follows
    for batch in (first, second):
        async with raises(CommitMismatch):
            await leader.send(batch)
    await leader.commit(event(4))
    if harness.capabilities.exactly_once_publish:
        await expect_pending(bus, "billing", 2)


@collect(CASES)
async def commits_under_way_together_are_made_in_their_order(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    for _ in range(10):
        batches: list[Batch] = []
        for _ in range(bus.publisher.under_way):
            after = batches[-1].delta.token if batches else ""
            batches.append(leader.batch([one_of(harness, leader.number)], after=after))
            leader.number += 1
        await asyncio.gather(*(leader.send(batch) for batch in batches))
    assert (await bus.checkpoints.acquire(KEY, leader.term)).number == leader.number
    async with Receiver.of(bus, "billing") as receiver:
        numbers = range(leader.number - 10 * bus.publisher.under_way, leader.number)
        expected = [one_of(harness, number).id for number in numbers]
        assert in_order(harness, await receiver.acked(len(numbers))) == in_order(harness, expected)


@collect(CASES)
async def a_reset_is_noticed_by_the_leader_and_starts_over(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    assert not await bus.checkpoints.reset(KEY)
    leader = await Leader.take(bus)
    await leader.commit(event(1), upserts={"uid-a": KNOWN})
    done = leader.batch([event(2)])
    await leader.send(done)
    assert await bus.checkpoints.reset(KEY)
    for batch in (done, Leader(bus, leader.number + 1).batch([event(3)])):
        async with raises(CommitMismatch):
            await leader.send(batch)
    checkpoint = await bus.checkpoints.acquire(KEY, leader.term)
    assert checkpoint.state is None
    assert await bus.checkpoints.inventory(KEY) == {}
    assert not await bus.checkpoints.reset(KEY)
    restarted = await Leader.take(bus)
    await restarted.commit(event(4))
    assert (await bus.checkpoints.acquire(KEY, leader.term)).state == state(restarted.number)


@collect(CASES)
async def events_that_nobody_subscribes_to_are_refused(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SubscriptionSpec("other", SOURCE, "another-entry")])
    leader = await Leader.take(bus)
    async with raises(NoSubscription):
        await leader.commit(event(1))
    async with raises(NoSubscription):
        await bus.publisher.publish(Publication([event(1)]))
    await leader.commit()
    await bus.register([SUB])
    await leader.commit(event(1))
    await expect_pending(bus, "billing", 1)


@collect(CASES, "limits_backlog")
async def a_full_subscription_refuses_commits_until_it_is_worked_on(harness: Harness) -> None:
    bus = await harness.open(max_pending=3)
    await bus.register([SUB, SubscriptionSpec("idle", SOURCE, "another-entry")])
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    await leader.commit(*events([2, 3, 4, 5]))  # a batch may exceed the limit, or a large one would never be accepted
    refused = leader.batch([event(6)])
    try:
        await leader.send(refused)
    except BusFull as e:
        assert (e.subscription, "billing" in str(e)) == ("billing", True)
    else:
        raise AssertionError("BusFull was expected")
    await leader.commit()
    async with Receiver.of(bus, "billing") as receiver:
        await receiver.acked(2)
        async with raises(BusFull):
            await leader.commit(event(6))
        await receiver.acked(1)
        await leader.commit(event(6))
        await receiver.acked(3)
    await expect_pending(bus, "billing", 0)


@collect(CASES)
async def publish_delivers_without_a_checkpoint(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    await bus.publisher.publish(Publication([one_of(harness, 1), one_of(harness, 2)]))
    async with Receiver.of(bus, "billing") as receiver:
        assert in_order(harness, await receiver.acked(2)) == [one_of(harness, 1).id, one_of(harness, 2).id]
