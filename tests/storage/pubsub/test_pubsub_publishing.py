"""What is sent to Pub/Sub, in which requests, and what becomes of it when an answer is lost."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta

import msgspec
import pytest

from kubecdc.errors import Refused, Unavailable, UsageError
from kubecdc.storage.contracts import LeadershipLost, NoSubscription, Publication, SubscriptionSpec, Term
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.pubsub import publisher, subscribers
from kubecdc.storage.pubsub.messages import body_of
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, events
from tests.storage.pubsub.conftest import PubSubHarness
from tests.storage.pubsub.fake import FakePubSub
from tests.storage.pubsub.fake.server import Fault

NAME = "billing"
SPEC = SubscriptionSpec(NAME, SOURCE, SUBJECT)


def sent(fake: FakePubSub) -> list[Event]:
    """All that was published on the topic, in order."""
    return [
        Event.decode(body_of(published.content))
        for topic, all_ in fake.history.items()
        if not topic.endswith("-dead")
        for published in all_
    ]


async def test_a_hundred_objects_are_published_at_the_same_time(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    fake.together = 100  # or it does not answer
    await queue.publisher.publish(Publication([event(number, f"object-{number}") for number in range(100)]))
    assert fake.calls.count("Publish") == 100


async def test_the_events_of_an_object_are_one_request(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    await queue.publisher.publish(Publication(events(range(100))))
    assert fake.calls.count("Publish") == 1
    assert [one.id for one in sent(fake)] == [event(number).id for number in range(100)]


async def test_events_that_are_too_large_for_a_request_are_several(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    large = [event(number, padding=4_000_000) for number in range(3)]
    await queue.publisher.publish(Publication(large))
    assert fake.calls.count("Publish") == 2
    assert sent(fake) == large


async def test_a_large_event_is_compressed_and_a_larger_one_goes_without_its_body(
    harness: PubSubHarness, fake: FakePubSub
) -> None:
    queue = await harness.queue(message_bytes=20_000)
    await queue.register([SPEC])
    small, compressible = event(1), event(2, padding=50_000)
    noise = f'{{"type":"ADD","body":"{secrets.token_hex(40_000)}","group":"","version":"v1","resource":"x"}}'
    body = noise.replace('"body":"', '"body":{"metadata":{"name":"a"},"x":"').replace('","group"', '"},"group"')
    noisy = msgspec.structs.replace(event(3), data=msgspec.Raw(body.encode()))
    fitted = [queue.publisher.fit(one) for one in (small, compressible, noisy)]
    assert fitted[:2] == [small, compressible]
    assert fitted[2].truncated
    await queue.publisher.publish(Publication(fitted))
    assert sent(fake) == fitted
    ((_, published),) = [(topic, all_) for topic, all_ in fake.history.items() if not topic.endswith("-dead")]
    assert [one.content.attributes.get("encoding") for one in published] == [None, "zstd", None]
    assert all(one.content.ByteSize() <= 20_000 for one in published)
    async with Receiver.of(await harness.open(), NAME) as receiver:
        for number, one in enumerate(fitted):
            delivery = await receiver.next()
            assert (number, delivery.event) == (number, one)
            await delivery.ack()


async def test_a_key_that_is_too_long_is_digested_and_still_orders(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    long = [msgspec.structs.replace(one, partitionkey="k" * 1025) for one in events([1, 2, 3])]
    await queue.publisher.publish(Publication(long))
    assert sent(fake) == long
    async with Receiver.of(await harness.open(), NAME) as receiver:
        assert await receiver.acked(3) == [one.id for one in long]


async def test_what_an_outage_left_out_is_sent_by_the_repeat_and_nothing_else(
    harness: PubSubHarness, fake: FakePubSub
) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    publication = Publication([event(number, name) for number in (1, 2) for name in ("a", "b", "c")])
    fake.fault("Publish", Fault("before"))
    with pytest.raises(Unavailable):
        await queue.publisher.publish(publication)
    assert len(sent(fake)) == 4, "the two events of one object are held back"
    await queue.publisher.publish(publication)
    assert len(sent(fake)) == 6
    assert fake.calls.count("Publish") == 4


async def test_events_whose_answer_was_lost_are_sent_again_and_acked_without_a_run(
    harness: PubSubHarness, fake: FakePubSub
) -> None:
    bus = await harness.open()
    await bus.register([SPEC])
    leader = await Leader.take(bus)
    batch = leader.batch(events([1, 2]))
    fake.fault("Publish", Fault("after"))
    with pytest.raises(Unavailable):
        await leader.send(batch)
    await leader.send(batch)
    leader.number += 1
    await leader.commit(event(3))
    assert [one.id for one in sent(fake)] == [event(number).id for number in (1, 2, 1, 2, 3)]
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(3) == [event(number).id for number in (1, 2, 3)]
        await receiver.nothing()


async def test_a_call_without_an_answer_ends_and_is_not_repeated(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue(call_seconds=0.3)
    await queue.register([SPEC])
    fake.fault("Publish", Fault("hang"))
    begin = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable, match="did not answer in time"):
        await queue.publisher.publish(Publication([event(1)]))
    assert asyncio.get_running_loop().time() - begin < 2
    assert fake.calls.count("Publish") == 1


async def test_a_server_that_is_away_is_unavailable_and_asked_once(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    fake.fault("Publish", Fault("before", count=5))
    with pytest.raises(Unavailable):
        await queue.publisher.publish(Publication([event(1)]))
    assert fake.calls.count("Publish") == 1


async def test_a_leader_whose_term_is_over_publishes_nothing(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    for left, error in ((-1.0, LeadershipLost), (1.0, Unavailable)):  # less than a call may take

        def remaining(seconds: float = left) -> float:
            return seconds

        with pytest.raises(error):
            await queue.publisher.publish(Publication([event(1)], term=Term(1, "old", remaining)))
    assert fake.calls.count("Publish") == 0


async def test_the_sender_ends_within_the_time_that_a_lead_can_be_trusted(harness: PubSubHarness) -> None:
    queue = await harness.queue()
    assert publisher.PubSubSender(queue._client).seconds <= 8.0


async def test_a_subscription_made_elsewhere_is_owed_events_at_once(harness: PubSubHarness) -> None:
    queue, other = await harness.queue(), await harness.queue("other")
    await queue.register([SPEC])
    await queue.publisher.publish(Publication([event(1)]))
    await other.register([SubscriptionSpec("audit", SOURCE, SUBJECT)])
    await queue.publisher.publish(Publication([event(2)]))
    async with Receiver.of(await harness.open(), "audit") as receiver:
        assert await receiver.acked(1) == [event(2).id]
        await receiver.nothing()


async def test_that_somebody_subscribes_is_believed_for_some_seconds_only(
    harness: PubSubHarness, fake: FakePubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    queue, other = await harness.queue(), await harness.queue("other")
    monkeypatch.setattr(queue._subscribers, "_now", lambda: clock)
    with pytest.raises(NoSubscription):
        await queue.publisher.publish(Publication([event(1)]))
    await other.register([SPEC])
    await queue.publisher.publish(Publication([event(1)]))
    await other.prune(NAME)
    clock += subscribers.LEARN_SECONDS - 0.1
    asked = fake.calls.count("ListTopicSubscriptions")
    await queue.publisher.publish(Publication([event(2)]))
    assert fake.calls.count("ListTopicSubscriptions") == asked
    clock += 0.1
    with pytest.raises(NoSubscription):
        await queue.publisher.publish(Publication([event(3)]))


async def test_a_spec_that_is_no_longer_registered_is_nobody(harness: PubSubHarness) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    await queue.register([SubscriptionSpec(NAME, SOURCE, "another-entry")])
    with pytest.raises(NoSubscription):
        await queue.publisher.publish(Publication([event(1)]))
    await queue.publisher.publish(Publication([event(1, subject="another-entry")]))


async def test_what_pubsub_refuses_is_not_repeated(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    fake.fault("Publish", Fault("before", "INVALID_ARGUMENT"))
    with pytest.raises(Refused):
        await queue.publisher.publish(Publication([event(1)]))
    fake.denied.add("Publish")
    with pytest.raises(UsageError, match="not authorized") as raised:
        await queue.publisher.publish(Publication([event(1)]))
    assert "docs/pubsub.md" in raised.value.hint


async def test_claims_are_as_long_as_pubsub_takes_them(harness: PubSubHarness) -> None:
    for asked, claim in ((0.2, 1), (1.5, 2), (30, 30), (3600, 600)):
        assert (await harness.queue(ack_wait=timedelta(seconds=asked))).ack_wait == timedelta(seconds=claim)
