"""Deliveries: order, claims, attempts, settlement."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

from kubecdc.storage.contracts import UNKNOWN, Bus, Delivery, Failures, SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.testing.actors import (
    DEADLINE,
    SOURCE,
    SUBJECT,
    Leader,
    Receiver,
    event,
    events,
    expect_pending,
    raises,
)
from kubecdc.storage.testing.case import Case, Harness, collect

CASES: list[Case] = []
NAME = "billing"
SOON = timedelta(milliseconds=200)
NOW = timedelta(0)


async def bus_with(harness: Harness, *numbers: int, ack_wait: timedelta = timedelta(seconds=30)) -> Bus:
    """A bus with a subscription that has these versions of one object pending."""
    bus = await harness.open(ack_wait=ack_wait)
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    await (await Leader.take(bus)).commit(*events(numbers))
    return bus


@collect(CASES, "order")
async def events_of_an_object_arrive_in_order_with_several_workers(harness: Harness) -> None:
    bus, other = await bus_with(harness), await harness.open("other")
    leader = await Leader.take(bus)
    names = [f"object-{number}" for number in range(5)]
    for first in range(0, 60, 20):
        await leader.commit(*(event(number, name) for number in range(first, first + 20) for name in names))
    seen: dict[str, list[str]] = defaultdict(list)
    active: set[str] = set()
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        key = delivery.event.partitionkey
        assert key not in active, "two events of one object at a time"
        active.add(key)
        await asyncio.sleep(0)
        seen[key].append(delivery.event.sequence)
        active.discard(key)
        await delivery.ack()
        if sum(map(len, seen.values())) == 300:
            done.set()

    async def work(receiver: Receiver) -> None:
        while True:
            await handle(await receiver.next())

    async with AsyncExitStack() as stack:
        receivers = [await stack.enter_async_context(Receiver.of(b, NAME, prefetch=4)) for b in (bus, other, other)]
        workers = [asyncio.create_task(work(receiver)) for receiver in receivers]
        async with asyncio.timeout(6 * DEADLINE):
            await done.wait()
        for worker in workers:
            worker.cancel()
        ends = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert all(versions == sorted(versions) and len(versions) == 60 for versions in seen.values())


@collect(CASES, "never_back")
async def an_object_never_goes_back(harness: Harness) -> None:
    bus, other = await bus_with(harness), await harness.open("other")
    leader = await Leader.take(bus)
    for number in range(40):
        await leader.commit(event(number), event(number, "b"))
    seen: dict[str, list[str]] = defaultdict(list)
    newest = {event(39, name).id for name in ("a", "b")}
    done = asyncio.Event()

    async def work(receiver: Receiver) -> None:
        while True:
            delivery = await receiver.next()
            await asyncio.sleep(0)
            seen[delivery.event.partitionkey].append(delivery.event.sequence)
            newest.discard(delivery.event.id)
            await delivery.ack()
            if not newest:
                done.set()

    async with AsyncExitStack() as stack:
        receivers = [await stack.enter_async_context(Receiver.of(b, NAME, prefetch=4)) for b in (bus, other)]
        workers = [asyncio.create_task(work(receiver)) for receiver in receivers]
        async with asyncio.timeout(3 * DEADLINE):
            await done.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    assert len(seen) == 2
    assert all(versions == sorted(set(versions)) for versions in seen.values()), seen


@collect(CASES, "order", "delayed_nack")
async def an_object_that_backs_off_holds_up_no_other(harness: Harness) -> None:
    bus = await bus_with(harness, 1, 2)
    await (await Leader.take(bus)).commit(event(3, "b"), event(4, "b"))
    async with Receiver.of(bus, NAME) as receiver:
        first = await receiver.next()
        ids = {event(1).id: [event(3, "b").id, event(4, "b").id], event(3, "b").id: [event(1).id, event(2).id]}
        await first.nack(timedelta(seconds=60))
        assert await receiver.acked(2) == ids[first.event.id]
        await receiver.nothing()


@collect(CASES, "delayed_nack")
async def a_nacked_event_returns_after_its_delay(harness: Harness) -> None:
    bus = await bus_with(harness, 1)
    clock = asyncio.get_running_loop().time
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        begin = clock()
        await delivery.nack(SOON)
        repeated = await receiver.next()
        assert repeated.event.id == event(1).id
        assert clock() - begin >= SOON.total_seconds() * 0.95
        await repeated.ack()
    await expect_pending(bus, NAME, 0)


@collect(CASES, "attempts")
async def an_attempt_is_a_start_that_was_nacked(harness: Harness) -> None:
    bus, other = await bus_with(harness, 1), await harness.open("other")
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        assert delivery.attempt == 1
        await delivery.nack(NOW)
        delivery = await receiver.next()
        assert delivery.attempt == 1, "handing it back unstarted is no attempt"
        await delivery.start()
        await delivery.start()
        assert delivery.attempt == 1
        await delivery.nack(NOW)
        delivery = await receiver.next()
        assert delivery.attempt == 2
        await delivery.start()
        await delivery.nack(SOON)
    async with Receiver.of(other, NAME) as receiver:
        assert (await receiver.next()).attempt == 3


@collect(CASES, "attempts")
async def a_stop_is_no_attempt(harness: Harness) -> None:
    bus, other = await bus_with(harness, 1), await harness.open("other")
    for number in range(4):
        async with Receiver.of(bus if number % 2 else other, NAME) as receiver:
            delivery = await receiver.next()
            assert delivery.attempt == 1
            await delivery.start()
            delivery.withdraw()
            await delivery.nack(NOW)
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        await delivery.start()
        await delivery.nack(NOW)
        assert (await receiver.next()).attempt == 2, "one that failed counts as ever"


@collect(CASES, "attempts")
async def a_first_attempt_is_counted_when_it_is_nacked(harness: Harness) -> None:
    bus = await bus_with(harness, 1)
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        await delivery.start()
        await delivery.nack(NOW)
        assert (await receiver.next()).attempt == 2


@collect(CASES, "attempts")
async def an_attempt_that_killed_its_worker_counts_from_the_second_reception(harness: Harness) -> None:
    bus = await bus_with(harness, 1, ack_wait=harness.short)
    seen = []
    for _ in range(4):
        async with Receiver.of(bus, NAME) as receiver:
            delivery = await receiver.next()
            seen.append(delivery.attempt)
            await delivery.start()
    assert seen == [1, 1, 2, 3]


@collect(CASES, "attempts")
async def what_a_nack_keeps_of_failures_is_there_for_the_next_worker(harness: Harness) -> None:
    bus, other = await bus_with(harness, 1, ack_wait=harness.short), await harness.open("other")
    kept = Failures(uncounted=2, successes=7)
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        assert delivery.failures == Failures()
        await delivery.start()
        await delivery.nack(NOW, kept)
        delivery = await receiver.next()
        assert (delivery.attempt, delivery.failures) == (2, kept)
        await delivery.start()
        await delivery.nack(NOW)
        delivery = await receiver.next()
        assert (delivery.attempt, delivery.failures) == (3, kept), "a nack without any leaves them as they are"
        await delivery.nack(NOW, Failures(3, 8))
        delivery = await receiver.next()
        assert (delivery.attempt, delivery.failures) == (3, Failures(3, 8)), "not only with an attempt"
    async with Receiver.of(other, NAME) as receiver:  # the claim lapses
        delivery = await receiver.next()
        assert (delivery.attempt, delivery.failures) == (3, Failures(3, 8))
        await delivery.dead_letter("enough")
    await expect_pending(bus, NAME, 0)


@collect(CASES, "attempts")
async def successes_are_seen_and_nothing_else_is_taken_for_one(harness: Harness) -> None:
    bus = await bus_with(harness)
    await (await Leader.take(bus)).commit(*(event(number, f"object-{number}") for number in range(5)))
    subscription = bus.subscription(NAME, prefetch=1)
    begin = await subscription.successes()
    deliveries = subscription.deliveries()

    async def next_delivery() -> Delivery:
        async with asyncio.timeout(DEADLINE):
            return await anext(deliveries)

    try:
        given_up = await next_delivery()
        await given_up.start()
        await given_up.dead_letter("not this one")
        failed = await next_delivery()
        await failed.start()
        await failed.extend()
        await failed.nack(timedelta(minutes=5), Failures(1, begin))
        assert await subscription.successes() == begin
        skipped = await next_delivery()
        await skipped.ack()
        assert await subscription.successes() == begin, "its trigger did not run"
        for _ in range(2):
            before = await subscription.successes()
            acked = await next_delivery()
            await acked.start()
            await acked.ack()
            after = await subscription.successes()
            assert after > before
            await acked.ack()
            assert await subscription.successes() == after, "it is repeated because its reply was lost"
        assert await (await harness.open("other")).subscription(NAME, prefetch=1).successes() == after
    finally:
        await deliveries.aclose()  # type: ignore[attr-defined]


@collect(CASES)
async def a_claim_that_lapsed_goes_to_another_worker(harness: Harness) -> None:
    bus, other = await bus_with(harness, 1, ack_wait=harness.short), await harness.open("other")
    async with Receiver.of(bus, NAME) as receiver:
        mine = await receiver.next()
    async with Receiver.of(other, NAME) as receiver:
        theirs = await receiver.next()
        assert theirs.event.id == mine.event.id
        for settle in (mine.extend, mine.ack, lambda: mine.nack(NOW), lambda: mine.dead_letter("too late")):
            async with raises(ClaimLost):
                await settle()
        await expect_pending(bus, NAME, 1)
        await theirs.ack()
    await expect_pending(bus, NAME, 0)


@collect(CASES)
async def what_its_worker_never_settles_comes_again_to_the_same_worker(harness: Harness) -> None:
    """As if its settlement had failed with an error that no repetition can mend."""
    bus = await bus_with(harness, ack_wait=harness.short)
    leader = await Leader.take(bus)
    await leader.commit(event(1, "a"), event(2, "b"))
    async with Receiver.of(bus, NAME, prefetch=2) as receiver:
        unsettled = [await receiver.next() for _ in range(2)]
        await leader.commit(event(3, "c"), *([event(4, "a")] if harness.capabilities.order else []))
        seen: list[str] = []
        while len(seen) < (4 if harness.capabilities.order else 3):
            delivery = await receiver.next()
            with suppress(ClaimLost):  # the machine is busy
                await delivery.ack()
                seen.append(delivery.event.id)
        assert {delivery.event.id for delivery in unsettled} < set(seen), "both took all the room that there is"
        assert len(set(seen)) == len(seen)
        if harness.capabilities.order:
            assert seen.index(event(1, "a").id) < seen.index(event(4, "a").id)
    await expect_pending(bus, NAME, 0)


@collect(CASES)
async def a_claim_that_is_extended_stays(harness: Harness) -> None:
    wait = 4 * harness.short  # a busy machine may be late by more than the short one
    bus = await bus_with(harness, 1, ack_wait=wait)
    other = await harness.open("other", ack_wait=wait)
    async with Receiver.of(bus, NAME) as receiver, Receiver.of(other, NAME) as second:
        taken = {asyncio.create_task(one.next()) for one in (receiver, second)}
        done, waiting = await asyncio.wait(taken, return_when=asyncio.FIRST_COMPLETED)
        (mine,) = [task.result() for task in done]
        for _ in range(4):
            await asyncio.sleep(wait.total_seconds() / 3)
            await mine.extend()
        assert not any(task.done() for task in waiting)
        await mine.ack()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@collect(CASES, "order")
async def settling_again_changes_nothing(harness: Harness) -> None:
    bus = await bus_with(harness, 1, 2, 3)
    async with Receiver.of(bus, NAME) as receiver:
        first = await receiver.next()
        await first.ack()
        await first.ack()
        second = await receiver.next()
        await second.nack(timedelta(seconds=60))
        await second.nack(NOW)
        await receiver.nothing()
        async with raises(ClaimLost):
            await second.ack()
    await expect_pending(bus, NAME, 2)


@collect(CASES, "dead_letter_browse", "order")
async def after_a_dead_letter_the_next_of_its_object_proceeds(harness: Harness) -> None:
    bus = await bus_with(harness, 1, 2)
    async with Receiver.of(bus, NAME) as receiver:
        for _ in range(2):
            delivery = await receiver.next()
            await delivery.start()
            await delivery.nack(NOW)
        delivery = await receiver.next()
        await delivery.start()
        await delivery.dead_letter("HTTP 400: no such field")
        await delivery.dead_letter("HTTP 400: no such field")
        assert await receiver.acked(1) == [event(2).id]
    (letter,) = await bus.dead_letters.page(NAME)
    assert (letter.subscription, letter.reason, letter.attempts) == (NAME, "HTTP 400: no such field", 3)
    assert (letter.event, letter.partitionkey) == (event(1).id, event(1).partitionkey)
    assert letter.last >= letter.first > 0
    assert await bus.dead_letters.letter(letter.id) == (letter, event(1).encode())
    assert await bus.dead_letters.page("another") == []
    assert [status.dead_letters for status in await bus.subscriptions()] in ([1], [UNKNOWN])
    await expect_pending(bus, NAME, 0)


@collect(CASES)
async def no_more_is_handed_out_than_prefetch(harness: Harness) -> None:
    bus = await bus_with(harness)
    leader = await Leader.take(bus)
    for first in range(0, 300, 100):
        await leader.commit(*(event(number, f"object-{number}") for number in range(first, first + 100)))
    async with Receiver.of(bus, NAME, prefetch=7) as receiver:
        held = [await receiver.next() for _ in range(7)]
        await receiver.nothing()
        got = len(held)
        while held:
            await held.pop().ack()
            if got < 300:
                held.append(await receiver.next())
                got += 1
        await receiver.nothing(0.05)
    await expect_pending(bus, NAME, 0)


@collect(CASES)
async def what_was_claimed_but_not_handed_out_is_not_held_back(harness: Harness) -> None:
    bus, other = await bus_with(harness), await harness.open("other")
    await (await Leader.take(bus)).commit(*(event(number, f"object-{number}") for number in range(5)))
    deliveries = bus.subscription(NAME, prefetch=5).deliveries()
    async with asyncio.timeout(DEADLINE):
        mine = await anext(deliveries)
        await deliveries.aclose()  # type: ignore[attr-defined]
    async with Receiver.of(other, NAME, prefetch=5) as receiver:
        theirs = await receiver.acked(4)
        await receiver.nothing()
    await mine.ack()
    assert len({mine.event.id, *theirs}) == 5
