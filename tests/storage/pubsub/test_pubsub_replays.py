"""Replays on Pub/Sub: from a time on, without loss of what is pending from before."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import UNKNOWN, NoSubscription, ObjectName, Replay, SubscriptionSpec
from kubecdc.storage.pubsub import source as sources
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, events
from tests.storage.pubsub.conftest import PubSubHarness
from tests.storage.pubsub.fake import FakePubSub

NAME = "billing"
SPEC, OTHER = SubscriptionSpec(NAME, SOURCE, SUBJECT), SubscriptionSpec("audit", SOURCE, SUBJECT)


@pytest.fixture(autouse=True)
def _learn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LEARN_SECONDS", 0.0)


async def test_a_replay_brings_settled_events_again_in_order_up_to_the_newest(
    harness: PubSubHarness, fake: FakePubSub
) -> None:
    bus = await harness.open()
    await bus.register([SPEC, OTHER])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2, "b"), event(3))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(3)
        await leader.commit(event(4))
        found = await bus.replayable(Replay(subscription=NAME))
        assert found.events is UNKNOWN
        assert await bus.replay(Replay(subscription=NAME)) is UNKNOWN
        fake.advance(1)
        await leader.commit(event(5))
        got: list[str] = []
        redelivery: dict[str, str] = {}
        while not {event(2, "b").id, event(5).id} <= set(got):
            delivery = await receiver.next()
            assert delivery.attempt == 1
            await delivery.ack()
            got.append(delivery.event.id)
            redelivery[delivery.event.id] = delivery.event.redelivery
        assert (redelivery[event(1).id], redelivery[event(5).id]) == ("replay", "")
        of_a = [id_ for id_ in got if id_ != event(2, "b").id]
        if of_a[0] == event(4).id:  # it was on its way already
            del of_a[0]
        assert of_a == [event(number).id for number in (1, 3, 4, 5)]
        await receiver.nothing()
    async with Receiver.of(bus, OTHER.name) as receiver:
        assert len(await receiver.acked(5)) == 5
        await receiver.nothing()


async def test_a_replay_from_a_time_keeps_what_is_pending_from_before(harness: PubSubHarness, fake: FakePubSub) -> None:
    bus = await harness.open()
    await bus.register([SPEC])
    leader = await Leader.take(bus)
    await leader.commit(*events([1, 2]))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(1)
    fake.skew = 100.0
    middle = time.time() + 50
    await leader.commit(event(3), event(4, "b"))
    async with Receiver.of(bus, NAME) as receiver:
        while (held := await receiver.next()).event.id != event(2).id:  # of another object, and in no order with it
            assert held.event.id == event(4, "b").id
        await held.nack(timedelta(0))
    await bus.replay(Replay(subscription=NAME, since=middle))
    async with Receiver.of(bus, NAME) as receiver:
        assert sorted(await receiver.acked(3)) == sorted([event(2).id, event(3).id, event(4, "b").id])
        await receiver.nothing()


async def test_replays_follow_each_other(harness: PubSubHarness) -> None:
    bus = await harness.open()
    await bus.register([SPEC])
    await (await Leader.take(bus)).commit(*events([1, 2]))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(2)
        for _ in range(2):
            await bus.replay(Replay(subscription=NAME))
            assert await receiver.acked(2) == [event(1).id, event(2).id]
        await receiver.nothing()
    (status,) = await bus.subscriptions()
    assert status.spec == SPEC


async def test_how_far_back_it_reaches(harness: PubSubHarness) -> None:
    bus = await harness.open()
    await bus.register([SPEC])
    now = time.time()
    found = await bus.replayable(Replay(subscription=NAME, since=now - 7200))
    assert found.forgotten is None
    found = await bus.replayable(Replay(subscription=NAME, since=now - 30 * 3600))
    assert found.forgotten is not None
    assert abs(found.forgotten - (now - 24 * 3600)) < 60, "`retention`, a day"


async def test_what_pubsub_cannot_do_is_said(harness: PubSubHarness) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    for replay, what in (
        (Replay(subscription=NAME, first="an-id"), "--from"),
        (Replay(subscription=NAME, object=ObjectName("default", "a")), "--object"),
    ):
        for call in (queue.replayable, queue.replay):
            with pytest.raises(UsageError, match=what):
                await call(replay)
    with pytest.raises(NoSubscription):
        await queue.replay(Replay(subscription="nobody"))


async def test_without_retention_there_is_nothing_to_replay(harness: PubSubHarness) -> None:
    queue = await harness.queue(retention=timedelta(0))
    await queue.register([SPEC])
    with pytest.raises(UsageError, match="retains nothing") as raised:
        await queue.replay(Replay(subscription=NAME))
    assert "bus ensure" in raised.value.hint
