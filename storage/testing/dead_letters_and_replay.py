"""Dead letters and replays."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import msgspec

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import Bus, DeadLetter, Delivery, ObjectName, Replay, SubscriptionSpec, Unknown
from kubecdc.storage.contracts.errors import BusFull, NoSubscription
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, expect_pending, raises
from kubecdc.storage.testing.case import Case, Harness, collect

CASES: list[Case] = []
NAME = "billing"
SUB, OTHER = SubscriptionSpec(NAME, SOURCE, SUBJECT), SubscriptionSpec("audit", SOURCE, SUBJECT)


async def give_up(bus: Bus, name: str, count: int) -> None:
    """Dead-letter the next deliveries, each after an attempt."""
    async with Receiver.of(bus, name) as receiver:
        for _ in range(count):
            delivery = await receiver.next()
            await delivery.start()
            await delivery.dead_letter(f"no {delivery.event.id}")


async def letters(bus: Bus, name: str | None = None) -> list[str]:
    """The ids of the dead-lettered events."""
    return [letter.event for letter in await bus.dead_letters.page(name)]


@collect(CASES, "dead_letter_browse")
async def dead_letters_are_browsed_by_pages(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB, OTHER])
    await (await Leader.take(bus)).commit(*(event(number, f"object-{number}") for number in range(5)))
    await give_up(bus, NAME, 5)
    await give_up(bus, OTHER.name, 2)
    found: list[DeadLetter] = []
    while page := await bus.dead_letters.page(after=found[-1].id if found else "", limit=3):
        assert len(page) <= 3
        found += page
    assert [letter.subscription for letter in found] == [NAME] * 5 + [OTHER.name] * 2
    assert found[:5] == await bus.dead_letters.page(NAME)
    for letter in found:
        whole = await bus.dead_letters.letter(letter.id)
        assert whole is not None
        assert whole[0] == letter
        assert letter.event.encode() in whole[1]
        assert letter.reason == f"no {letter.event}"
    for unknown in ("", "0", "x", "-1", "9" * 30):
        assert await bus.dead_letters.letter(unknown) is None


@collect(CASES, "dead_letter_browse", "order", "attempts")
async def a_letter_is_redriven_to_its_own_subscription_behind_what_is_pending(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB, OTHER])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    await give_up(bus, NAME, 2)
    await leader.commit(event(3), event(4, "b"))
    ids = [letter.id for letter in await bus.dead_letters.page()]
    assert await bus.dead_letters.redrive([*reversed(ids), ids[0]]) == {}
    assert await letters(bus) == []
    await expect_pending(bus, NAME, 4)
    others: list[str] = []

    async def next_of_a() -> Delivery:
        """The next delivery of the object a. That of the other one may come at any time."""
        delivery = await receiver.next()
        while delivery.event.partitionkey != event(1).partitionkey:
            await delivery.ack()
            others.append(delivery.event.id)
            delivery = await receiver.next()
        return delivery

    async with Receiver.of(bus, NAME) as receiver:
        delivery = await next_of_a()
        assert delivery.event.id == event(3).id
        await delivery.ack()
        delivery = await next_of_a()
        assert (delivery.event, delivery.attempt) == (msgspec.structs.replace(event(1), redelivery="redrive"), 1)
        await delivery.start()
        await delivery.nack(timedelta(0))
        repeated = await next_of_a()
        assert (repeated.event.id, repeated.attempt) == (event(1).id, 2)
        await repeated.dead_letter("still not")
        delivery = await next_of_a()
        assert delivery.event.id == event(2).id
        await delivery.ack()
        others += await receiver.acked(1 - len(others))
        assert others == [event(4, "b").id]
        await receiver.nothing(0.05)
    assert await letters(bus, NAME) == [event(1).id]
    await expect_pending(bus, OTHER.name, 4)


@collect(CASES, "dead_letter_browse", "counts", "order")
async def a_letter_is_superseded_once_a_later_event_of_its_object_was_delivered(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB, OTHER])
    leader = await Leader.take(bus)

    async def superseded() -> dict[str, bool | Unknown]:
        found = await bus.dead_letters.page(NAME)
        for letter in found:
            whole = await bus.dead_letters.letter(letter.id)
            assert whole is not None
            assert whole[0] == letter
        return {letter.event: letter.superseded for letter in found}

    async def redrive() -> None:
        assert await bus.dead_letters.redrive([letter.id for letter in await bus.dead_letters.page(NAME)]) == {}

    one, two, three, other = event(1), event(2), event(3), event(4, "b")
    await leader.commit(one, two)
    await give_up(bus, NAME, 2)
    await leader.commit(other)
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(1)
    assert await superseded() == {one.id: False, two.id: False}, "nothing later of this object was delivered here"
    async with Receiver.of(bus, OTHER.name) as receiver:
        await receiver.acked(3)
    assert await superseded() == {one.id: False, two.id: False}, "another subscription is none of its business"

    await redrive()
    await give_up(bus, NAME, 1)
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [two.id]
    assert await superseded() == {one.id: True}, "a later one that was redriven counts too"

    await leader.commit(three)
    await give_up(bus, NAME, 1)
    assert await superseded() == {one.id: True, three.id: False}
    await redrive()
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        assert delivery.event.id == one.id
        await delivery.dead_letter("still not")
        delivery = await receiver.next()
        await delivery.dead_letter("still not")
    assert await superseded() == {one.id: True, three.id: False}, "it stays so if a redrive fails"
    await bus.dead_letters.purge([(await bus.dead_letters.page(NAME))[0].id])
    assert await superseded() == {three.id: False}


@collect(CASES, "dead_letter_browse")
async def what_cannot_be_redriven_stays_and_says_why(harness: Harness) -> None:
    bus = await harness.open(max_pending=2)
    await bus.register([SUB, OTHER])
    await (await Leader.take(bus)).commit(event(1), event(2))
    await give_up(bus, NAME, 2)
    await give_up(bus, OTHER.name, 1)
    await bus.prune(OTHER.name)
    first, second, orphan = [letter.id for letter in await bus.dead_letters.page()]
    refused = await bus.dead_letters.redrive([orphan, "no-such", first])
    assert set(refused) == {orphan, "no-such"}
    assert OTHER.name in refused[orphan]
    await (await Leader.take(bus, term=2)).commit(event(3))
    if harness.capabilities.limits_backlog:
        async with raises(BusFull):
            await bus.dead_letters.redrive([second])
    assert [letter.id for letter in await bus.dead_letters.page()] == [second, orphan]
    await bus.register([OTHER])
    assert await bus.dead_letters.redrive([orphan]) == {}
    async with Receiver.of(bus, OTHER.name) as receiver:
        assert await receiver.acked(1) == [event(1).id]


@collect(CASES, "dead_letter_browse")
async def purged_letters_are_gone(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    await (await Leader.take(bus)).commit(event(1, "a"), event(2, "b"), event(3, "c"))
    await give_up(bus, NAME, 3)
    one, two, three = await bus.dead_letters.page()
    assert await bus.dead_letters.purge([one.id, two.id, two.id, "no-such"]) == 2
    assert await letters(bus) == [three.event]
    await expect_pending(bus, NAME, 0)


@collect(CASES, "replay", "counts", "order", "dead_letter_browse")
async def what_is_replayed_says_so_and_keeps_its_bytes(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB])
    await (await Leader.take(bus)).commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        assert delivery.event.redelivery == ""
        await delivery.ack()
        await bus.replay(Replay(subscription=NAME))
        delivery = await receiver.next()
        assert delivery.event == msgspec.structs.replace(event(1), redelivery="replay")
        await delivery.dead_letter("no")
    (letter,) = await bus.dead_letters.page()
    assert (letter.event, letter.superseded) == (event(1).id, False)
    assert await bus.dead_letters.redrive([letter.id]) == {}
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        assert delivery.event == msgspec.structs.replace(event(1), redelivery="redrive")
        assert bytes(delivery.event.data) == bytes(event(1).data)
        await delivery.ack()


@collect(CASES, "replay", "counts", "order")
async def a_replay_brings_settled_events_again_in_order_behind_what_is_pending(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([SUB, OTHER])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2, "b"), event(3))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(3)
        await leader.commit(event(4))
        replay = Replay(subscription=NAME)
        assert (await bus.replayable(replay)).events == 4
        assert await bus.replay(replay) == 4
        await expect_pending(bus, NAME, 5)
        got = await receiver.acked(5)
        assert [id_ for id_ in got if "uid-a" in id_] == [event(number).id for number in (4, 1, 3, 4)]
        assert got.count(event(2, "b").id) == 1
        await receiver.nothing(0.05)
        assert (await bus.replayable(replay)).events == 4, "what was replayed is not counted again"
    await expect_pending(bus, OTHER.name, 4)


@collect(CASES, "replay", "counts")
async def a_replay_takes_only_what_meets_every_condition(harness: Harness) -> None:
    bus = await harness.open()
    elsewhere = SubscriptionSpec("else", SOURCE, "another-entry")
    await bus.register([SUB, elsewhere])
    leader = await Leader.take(bus)
    await leader.commit(event(1, "a"), event(2, "b"), event(3, "a", subject="another-entry"))
    await asyncio.sleep(0.02)
    middle = time.time()
    await leader.commit(event(4, "b"), event(5, "a"))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(4)
        for replay, expected in (
            (Replay(subscription=NAME, since=middle), [event(4, "b"), event(5, "a")]),
            (Replay(subscription=NAME, first=event(2, "b").id), [event(2, "b"), event(4, "b"), event(5, "a")]),
            (Replay(subscription=NAME, object=ObjectName("default", "a")), [event(1, "a"), event(5, "a")]),
            (Replay(subscription=NAME, object=ObjectName("default", "a"), since=middle), [event(5, "a")]),
            (Replay(subscription=NAME, object=ObjectName("", "a")), []),
            (Replay(subscription=NAME, since=middle + 3600), []),
        ):
            found = await bus.replayable(replay)
            assert found.events == await bus.replay(replay) == len(expected)
            assert found.forgotten is None
            assert sorted(await receiver.acked(len(expected))) == sorted(e.id for e in expected)
        await receiver.nothing(0.05)


@collect(CASES, "replay", "counts")
async def a_replay_that_cannot_be_done_does_nothing(harness: Harness) -> None:
    bus = await harness.open(max_pending=3)
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(1)
        for replay, error in (
            (Replay(subscription="nobody"), NoSubscription),
            (Replay(subscription=NAME, first="changed.uid-a.99.ADD"), UsageError),
        ):
            async with raises(error):
                await bus.replayable(replay)
            async with raises(error):
                await bus.replay(replay)
        assert await bus.replay(Replay(subscription=NAME)) == 2
        async with raises(Unavailable):
            await bus.replay(Replay(subscription=NAME))
        await expect_pending(bus, NAME, 3)
        await receiver.acked(3)
