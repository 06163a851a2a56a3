"""What is made in Pub/Sub and with which rights, and dead letters of both kinds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from kubecdc.errors import Refused, Unavailable, UsageError
from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.pubsub import PubSubSettings, open_bus
from kubecdc.storage.pubsub.configs import MOST_ATTEMPTS, Configs
from kubecdc.storage.pubsub.names import Names
from kubecdc.storage.pubsub.queue import PubSubQueue
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from tests.storage.pubsub.conftest import PROJECT, PubSubHarness
from tests.storage.pubsub.fake import FakePubSub
from tests.storage.pubsub.fake.server import Fault

NAME = "mail/send"
SPEC = SubscriptionSpec(NAME, SOURCE, SUBJECT)
CREATING = {"CreateTopic", "CreateSubscription", "UpdateTopic", "UpdateSubscription", "DeleteSubscription", "Seek"}


async def test_a_subscription_is_as_documented(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue(ack_wait=timedelta(seconds=45))
    await queue.register([SPEC])
    (generation,) = await queue._registrations.generations(NAME)
    config = fake.subscription(generation.path).config
    assert config.ack_deadline_seconds == 45
    assert config.enable_message_ordering
    assert config.enable_exactly_once_delivery
    assert config.HasField("expiration_policy")
    assert not config.expiration_policy.HasField("ttl"), "it never expires"
    assert config.dead_letter_policy.max_delivery_attempts == MOST_ATTEMPTS
    assert config.dead_letter_policy.dead_letter_topic in fake.topics
    assert PubSubQueue.most_deliveries is not None
    assert 2 * PubSubQueue.most_deliveries <= MOST_ATTEMPTS
    dead = fake.subscription(queue._names.dead_path).config
    assert dead.topic == config.dead_letter_policy.dead_letter_topic, "nothing is lost there"
    assert not dead.expiration_policy.HasField("ttl")


def test_the_service_keeps_what_is_not_settled_for_a_month_and_its_emulator_for_a_week() -> None:
    settings = PubSubSettings(PROJECT, "kubecdc")
    for one, days in ((settings, 31), (settings.on_emulator(), 7)):
        configs = Configs(one, Names(PROJECT, "kubecdc"))
        for config in (configs.subscription(SPEC, 1), configs.dead_letters()):
            assert config.message_retention_duration.ToSeconds() == days * 24 * 3600
    for retention, replayable in ((0, 0), (1, 600), (3600, 3600), (90 * 24 * 3600, 31 * 24 * 3600)):
        one = replace(settings, retention=timedelta(seconds=retention))
        assert one.replayable == timedelta(seconds=replayable)


async def test_ensure_makes_all_so_that_nobody_needs_to_create(harness: PubSubHarness, fake: FakePubSub) -> None:
    operator, worker = await harness.queue("operator"), await harness.open("worker")
    topic = harness.settings.topic
    expected = [
        f"topic {topic}",
        f"dead-letter topic {topic}-dead",
        f"subscription for dead letters {topic}-dead",
        f"subscription {NAME}, to {SOURCE}/{SUBJECT}",
    ]
    assert await operator.ensure([SPEC], dry_run=True) == expected
    assert not CREATING & set(fake.calls)
    assert await operator.ensure([SPEC], dry_run=False) == expected
    assert await operator.ensure([SPEC], dry_run=False) == []
    fake.denied = CREATING
    await worker.register([SPEC])
    await (await Leader.take(worker)).commit(event(1), event(2, "b"))
    async with Receiver.of(worker, NAME) as receiver:
        await (await receiver.next()).dead_letter("broken")
        assert len(await receiver.acked(1)) == 1
    with pytest.raises(UsageError, match="mail/other") as raised:
        await worker.register([SPEC, SubscriptionSpec("mail/other", SOURCE, SUBJECT)])
    assert "kubecdc bus ensure" in raised.value.hint


async def test_ensure_sets_what_differs_from_the_manifest(harness: PubSubHarness, fake: FakePubSub) -> None:
    await (await harness.queue()).ensure([SPEC], dry_run=False)
    changed = await harness.queue(ack_wait=timedelta(seconds=60), retention=timedelta(days=3))
    topic = harness.settings.topic
    expected = [f"topic {topic}: message_retention_duration", "ack_deadline_seconds"]
    for dry_run in (True, False):
        lines = await changed.ensure([SPEC], dry_run=dry_run)
        assert [line.endswith(end) for line, end in zip(lines, expected, strict=True)] == [True, True], lines
    assert await changed.ensure([SPEC], dry_run=True) == []
    (generation,) = await changed._registrations.generations(NAME)
    assert generation.claim == 60
    unretained = await harness.queue(ack_wait=timedelta(seconds=60), retention=timedelta(0))
    assert len(await unretained.ensure([SPEC], dry_run=False)) == 1
    assert await unretained.ensure([SPEC], dry_run=True) == []


async def test_a_registration_that_was_interrupted_is_finished_by_the_next(
    harness: PubSubHarness, fake: FakePubSub
) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    moved = SubscriptionSpec(NAME, SOURCE, "another-entry")
    fake.fault("UpdateSubscription", Fault("before"))
    with pytest.raises(Unavailable):
        await queue.register([moved])
    newest, older = await queue._registrations.generations(NAME)
    assert (newest.spec, newest.until, older.until) == (moved, None, None), "still owed everything"
    await queue.register([moved])
    newest, older = await queue._registrations.generations(NAME)
    assert (newest.spec, newest.until) == (moved, None)
    assert older.until is not None
    assert await queue._registrations.registered(NAME) == moved


async def test_two_processes_register_at_the_same_time(harness: PubSubHarness, fake: FakePubSub) -> None:
    queues = [await harness.queue(f"process-{number}") for number in range(4)]
    specs = [replace(SPEC, name=f"mail/{number}") for number in range(5)]
    await asyncio.gather(*(queue.register(specs) for queue in queues))
    assert [status.spec for status in await queues[0].subscriptions()] == specs
    assert len(fake.subscriptions) == 6, "one of each, and the one for dead letters"


async def test_a_letter_of_pubsub_itself_is_shown_and_redriven(harness: PubSubHarness, fake: FakePubSub) -> None:
    bus = await harness.open()
    await bus.register([SPEC])
    await bus.publisher.publish(Publication([event(1)]))
    (subscription,) = [one for one in fake.subscriptions.values() if one.lanes]
    for _ in range(MOST_ATTEMPTS):
        subscription.take(1, object())
        subscription.lapse(every=True)
        fake.advance(60)
    (letter,) = await bus.dead_letters.page()
    assert (letter.subscription, letter.event, letter.attempts) == (NAME, event(1).id, MOST_ATTEMPTS)
    assert "Pub/Sub gave up" in letter.reason
    assert await bus.dead_letters.redrive([letter.id]) == {}
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(1).id]


async def test_a_letter_that_was_not_acked_is_in_both_places_and_in_neither_never(
    harness: PubSubHarness, fake: FakePubSub
) -> None:
    bus = await harness.open()
    await bus.register([SPEC])
    await (await Leader.take(bus)).commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        await delivery.start()
        fake.fault("Publish", Fault("before"))
        with pytest.raises(Unavailable):
            await delivery.dead_letter("broken")
        assert await bus.dead_letters.page() == []
        fake.fault("Acknowledge", Fault("before"))
        with pytest.raises(Unavailable):
            await delivery.dead_letter("broken")
        await delivery.dead_letter("x" * 2000)
    letters = await bus.dead_letters.page()
    assert [letter.event for letter in letters] == [event(1).id] * 2
    assert len(letters[1].reason.encode()) <= 1024
    assert letters[1].reason.startswith("xxx")


async def test_a_topic_that_is_not_there_is_missed_by_commands_that_only_look(harness: PubSubHarness) -> None:
    bus = await open_bus(harness.settings, holder="command", create=False)
    harness.stack.push_async_callback(bus.close)
    with pytest.raises(UsageError, match="no topic") as raised:
        await bus.subscriptions()
    assert "bus ensure" in raised.value.hint
    assert len(await bus.ensure([SPEC], dry_run=True)) == 4


async def test_what_pubsub_refuses_to_make_is_told(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    fake.fault("CreateTopic", Fault("before", "INVALID_ARGUMENT"))
    with pytest.raises(Refused):
        await queue.register([SPEC])
