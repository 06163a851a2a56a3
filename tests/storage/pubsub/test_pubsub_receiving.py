"""Messages that Pub/Sub repeats, claims that lapse, and settlements that fail one by one."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from datetime import timedelta

import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.broker.contract import Received
from kubecdc.storage.contracts import ClaimLost, NoSubscription, Publication, Replay, SubscriptionSpec
from kubecdc.storage.pubsub import source as sources
from kubecdc.storage.pubsub.bus import PubSubBus
from kubecdc.storage.pubsub.messages import message_of
from kubecdc.storage.pubsub.registrations import Generation, current
from kubecdc.storage.pubsub.source import PubSubSource
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, events, until
from tests.storage.pubsub.conftest import PubSubHarness
from tests.storage.pubsub.fake import FakePubSub
from tests.storage.pubsub.fake.server import Fault

NAME = "billing"
SPEC = SubscriptionSpec(NAME, SOURCE, SUBJECT)
MOVED = SubscriptionSpec(NAME, SOURCE, "another-entry")
NOW = timedelta(0)


def source_of(queue: PubSubBus) -> PubSubSource:
    source = PubSubSource(NAME, queue._client, queue._names, queue._registrations, queue._settings, queue._late)
    queue._sources.add(source)  # closed with the queue
    return source


async def received(queue: PubSubBus, count: int) -> tuple[PubSubSource, list[Received]]:
    """That many events of one object, published and received."""
    await queue.register([SPEC])
    await queue.publisher.publish(Publication(events(range(count))))
    source = source_of(queue)
    messages = await source.receive(100)
    assert [message.body for message in messages] == [one.encode() for one in events(range(count))]
    return source, messages


async def test_settlements_fail_one_by_one(harness: PubSubHarness, fake: FakePubSub) -> None:
    source, (one, two, three) = await received(await harness.queue(), 3)
    for call in (source.ack, source.extend):
        name = "Acknowledge" if call == source.ack else "ModifyAckDeadline"
        fake.fault(name, Fault("acks"))
        first, *rest = await call([one, two])
        assert isinstance(first, Unavailable), "a transient failure of one message"
        assert rest == [None]
        fake.fault(name, Fault("acks", reason="PERMANENT_FAILURE_INVALID_ACK_ID"))
        first, *rest = await call([one, three])
        assert isinstance(first, ClaimLost)
        assert rest == [None]
        if call == source.ack:
            break
    gone, *rest = await source.extend([two, one])
    assert isinstance(gone, ClaimLost), "it is acked"
    assert rest == [None]


async def test_a_claim_that_lapsed_is_lost_whatever_the_call(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    source, messages = await received(queue, 2)
    fake.lapse()
    for results in (
        await source.ack(messages),
        await source.extend(messages),
        await source.release(messages, 0.0),
    ):
        assert [type(error) for error in results] == [ClaimLost, ClaimLost]
    with pytest.raises(ClaimLost):
        await source.dead_letter(messages[0], "too late", 1)


async def test_an_outage_is_unavailable_for_all(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue(call_seconds=0.2)
    source, messages = await received(queue, 2)
    for when in ("before", "hang", "after"):
        fake.fault("Acknowledge", Fault(when))
        with pytest.raises(Unavailable):
            await source.ack(messages)
    results = await source.ack(messages)
    assert [type(error) for error in results] == [ClaimLost, ClaimLost], "the last one was done, without an answer"
    assert (await source.receive(10)) == []


async def test_the_claim_counts_from_before_the_request(harness: PubSubHarness) -> None:
    queue = await harness.queue(ack_wait=timedelta(seconds=20))
    begin = asyncio.get_running_loop().time()
    _, (message,) = await received(queue, 1)
    assert begin + 20 <= message.until <= asyncio.get_running_loop().time() + 20
    assert message.receptions == 1


async def test_the_mark_of_a_lane_acks_what_pubsub_repeats(harness: PubSubHarness, fake: FakePubSub) -> None:
    bus = await harness.open()
    await bus.register([SPEC])
    await (await Leader.take(bus)).commit(*events(range(4)))
    async with Receiver.of(bus, NAME) as receiver:
        assert len(await receiver.acked(4)) == 4
        for subscription in fake.subscriptions.values():
            subscription.repeat(3)
        await receiver.nothing()
    assert all(not subscription.lanes for subscription in fake.subscriptions.values()), "they are acked"


async def test_a_backoff_is_held_here_so_that_pubsub_repeats_nothing(harness: PubSubHarness, fake: FakePubSub) -> None:
    bus = await harness.open()
    await bus.register([SPEC])
    await (await Leader.take(bus)).commit(*events(range(3)))
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        for attempt in range(1, 4):
            assert delivery.attempt == attempt
            await delivery.start()
            await delivery.nack(timedelta(milliseconds=50))
            delivery = await receiver.next()
        attempts = [
            entry.attempt for one in fake.subscriptions.values() for lane in one.lanes.values() for entry in lane
        ]
        assert max(attempts) == 1, "far from Pub/Sub's own limit"
        await delivery.ack()
        assert await receiver.acked(2) == [event(1).id, event(2).id]


async def test_what_comes_after_the_call_was_cancelled_is_handed_back(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    source = source_of(queue)
    call = asyncio.create_task(source.receive(10))
    while "Pull" not in fake.calls:  # noqa: ASYNC110 (the fake has no event for it)
        await asyncio.sleep(0.005)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await queue.publisher.publish(Publication([event(1)]))
    source.close()
    await queue._late.finish()
    (subscription,) = [one for one in fake.subscriptions.values() if one.lanes]
    (lane,) = subscription.lanes.values()
    assert [(entry.state, entry.attempt) for entry in lane] == [("ready", 1)]


async def test_a_bus_keeps_nothing_of_a_subscription_that_was_closed(harness: PubSubHarness) -> None:
    """As when a trigger is paused and resumed, or changed by a reload."""
    queue = await harness.queue()
    await queue.register([SPEC])
    await queue.publisher.publish(Publication(events(range(3))))
    for number in range(3):
        async with Receiver.of(queue, NAME) as receiver:  # type: ignore[arg-type]
            delivery = await receiver.next()
            assert delivery.event.id == event(number).id
            await delivery.ack()
        del receiver, delivery

    async def forgotten() -> bool:
        gc.collect()
        return not list(queue._sources)

    await until(forgotten)


async def test_more_than_there_is_room_for_is_handed_back(harness: PubSubHarness) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    source = source_of(queue)
    call = asyncio.create_task(source.receive(10))
    await asyncio.sleep(0)
    await queue.publisher.publish(Publication([event(number, f"object-{number}") for number in range(3)]))
    got = await call
    while len(got) < 3:
        got += await source.receive(1)
    assert len({message.id for message in got}) == 3


async def test_of_a_subscription_that_was_ended_settling_is_no_error(harness: PubSubHarness) -> None:
    queue = await harness.queue()
    source, messages = await received(queue, 1)
    await queue.prune(NAME)
    assert [await source.ack(messages), await source.extend(messages), await source.release(messages, 0.0)] == [
        [None]
    ] * 3
    with pytest.raises(Unavailable):
        await source.receive(1)
    with pytest.raises(NoSubscription):
        await source.receive(1)


async def test_what_is_for_others_is_acked_without_a_run(harness: PubSubHarness) -> None:
    """The emulator has no filters, so everything of a topic comes to everybody."""
    queue = await harness.queue()
    await queue.register([SPEC])
    newest = await current(queue._registrations, NAME)
    mine, other, stranger = (message_of(one, "", 10_000) for one in (event(1), event(2), event(3, source="else")))
    assert newest.owns(mine)
    assert not newest.owns(stranger)
    mine.attributes["for"] = newest.target
    other.attributes["for"] = "somebody-else"
    assert newest.owns(mine)
    assert not newest.owns(other)
    mine.publish_time.FromSeconds(1000)
    assert replace(newest, until=999.0).owns(mine), "what was sent to it alone has no end"
    del mine.attributes["for"]
    assert not replace(newest, until=1000.0).owns(mine)
    assert replace(newest, until=1000.1).owns(mine)


async def test_another_spec_leaves_what_was_owed_before(
    harness: PubSubHarness, fake: FakePubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LEARN_SECONDS", 0.0)
    bus = await harness.open()
    await bus.register([SPEC])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    await bus.register([MOVED, SubscriptionSpec("two", SOURCE, SUBJECT)])
    fake.skew = 60.0  # so far that no difference of clocks explains it
    await leader.commit(event(3), event(4, subject="another-entry"))
    async with Receiver.of(bus, NAME) as receiver:
        assert sorted(await receiver.acked(3)) == sorted(
            [event(1).id, event(2).id, event(4, subject="another-entry").id]
        )
        await receiver.nothing()
    (status, _) = await bus.subscriptions()
    assert status.spec == MOVED
    await bus.register([SPEC])
    await leader.commit(event(5))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(5).id]
    assert await bus.prune(NAME)
    assert all(".billing." not in name for name in fake.subscriptions)


async def test_a_generation_is_not_read_for_ever(harness: PubSubHarness) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    await queue.register([MOVED])
    newest, older = await queue._registrations.generations(NAME)
    assert (newest.spec, newest.until, older.spec) == (MOVED, None, SPEC)
    assert not queue._registrations.is_spent(older)
    assert queue._registrations.is_spent(replace(older, until=1.0))
    config = await queue._client.subscription(older.path)
    assert config is not None
    assert config.expiration_policy.ttl.ToSeconds() > config.message_retention_duration.ToSeconds()


async def test_after_the_end_everything_is_unavailable(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    source, messages = await received(queue, 1)
    settling = asyncio.create_task(source.extend(messages))
    while fake.calls[-1] != "ModifyAckDeadline":  # noqa: ASYNC110 (the server has no event for it)
        await asyncio.sleep(0)  # until it has arrived, and has no answer yet
    assert not settling.done()
    await queue.close()
    assert await settling == [None], "what was under way ends"
    with pytest.raises(Unavailable):
        await source.ack(messages)


async def test_a_replay_beside_another_one_is_refused(harness: PubSubHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, other = await harness.queue(), await harness.queue("other")
    await queue.register([SPEC])
    known = await queue._registrations.generations(NAME)
    await other.replay(Replay(subscription=NAME))

    async def before_it(_: str) -> list[Generation]:
        return known

    monkeypatch.setattr(queue._registrations, "generations", before_it)
    with pytest.raises(Unavailable, match="by another command"):
        await queue.replay(Replay(subscription=NAME))
