"""Publishing to SQS: limits, failures of single messages, lost replies, an old leader, the list of subscriptions."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.broker.contract import Received
from kubecdc.storage.contracts import Publication, SubscriptionSpec, Term
from kubecdc.storage.contracts.errors import BusFull, LeadershipLost, NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqs.client import SECONDS, Client
from kubecdc.storage.sqs.encoding import RESERVE
from kubecdc.storage.sqs.opened import SqsQueue
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event, events, known, until
from tests.harness.proxy import Proxy
from tests.storage.sqs.calls import Calls
from tests.storage.sqs.conftest import ELASTICMQ_BYTES, SqsHarness
from tests.storage.sqs.elasticmq import ElasticMq

NAME = "billing"
SUB, OTHER = SubscriptionSpec(NAME, SOURCE, SUBJECT), SubscriptionSpec("audit", SOURCE, SUBJECT)


async def queue_with(harness: SqsHarness, *specs: SubscriptionSpec, **settings: Any) -> SqsQueue:
    queue = await harness.queue(settings=replace(harness.settings, **settings))
    await queue.register(specs or [SUB])
    return queue


async def drained(queue: SqsQueue, count: int, name: str = NAME) -> list[Received]:
    """So many messages, each acked as soon as it is there."""
    source, found = queue.source(name), list[Received]()
    async with asyncio.timeout(60):
        while len(found) < count:
            messages = await source.receive(10)
            if messages:
                assert await source.ack(messages) == [None] * len(messages)
            found += messages
    return found


async def pending(queue: SqsQueue, name: str = NAME) -> int:
    return known({status.spec.name: status.pending for status in await queue.subscriptions()}[name])


def noise(bytes_: int, name: str = "a") -> Event:
    """An event that compresses badly."""
    text = "".join(random.Random(bytes_).choices("0123456789abcdefghijklmnopqrstuvwxyzABCDEF", k=bytes_))
    body = f'{{"metadata":{{"name":"{name}"}},"text":"{text}"}}'
    data = f'{{"type":"ADD","body":{body},"oldBody":null,"group":"g","version":"v","resource":"r"}}'
    return msgspec.structs.replace(event(1, name), data=msgspec.Raw(data.encode()))


async def test_messages_are_sent_ten_at_a_time_and_one_of_an_object(fifo: SqsHarness, calls: Calls) -> None:
    queue = await queue_with(fifo)
    many = [event(number, f"object-{number}") for number in range(25)]
    await queue.publisher.publish(Publication([*many, event(100, "object-0")]))
    batches = [[entry["MessageGroupId"] for entry in made["Entries"]] for made in calls.of("send_message_batch")]
    assert sorted(map(len, batches)) == [1, 5, 10, 10]
    assert all(len(set(batch)) == len(batch) for batch in batches)
    assert len({made.id for made in await drained(queue, 26)}) == 26


async def test_events_of_as_many_objects_take_one_round_trip(fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, call, all_sent = await queue_with(fifo, learn=1.0, recount=60.0), Client.call, asyncio.Barrier(10)
    await queue.publisher.publish(Publication([event(0)]))  # the first one counts the backlog

    async def together(self: Client, operation: str, **given: Any) -> Any:
        assert operation in {"send_message_batch", "list_queues", "list_queue_tags"}
        if operation == "send_message_batch":
            async with asyncio.timeout(60):
                await all_sent.wait()
        return await call(self, operation, **given)

    monkeypatch.setattr(Client, "call", together)
    await queue.publisher.publish(Publication([event(number, f"object-{number}") for number in range(100)]))
    monkeypatch.setattr(Client, "call", call)
    assert len(await drained(queue, 101)) == 101


async def test_a_call_stays_within_the_bytes_that_elasticmq_takes(fifo: SqsHarness, calls: Calls) -> None:
    await stays_within_the_bytes(fifo, calls)


async def test_a_call_stays_within_the_bytes_that_sqs_takes(moto_standard: SqsHarness, calls: Calls) -> None:
    await stays_within_the_bytes(moto_standard, calls)


async def stays_within_the_bytes(harness: SqsHarness, calls: Calls) -> None:
    """A message as large as it may be, and calls as large as they may be."""
    limit = harness.settings.message_bytes
    queue = await queue_with(harness, compress_above=limit)
    largest = noise(limit - 2 * RESERVE - 1000)
    sent = [largest, *(noise(limit // 3, f"object-{number}") for number in range(4))]
    assert [queue.publisher.fit(one) for one in sent] == sent
    await queue.publisher.publish(Publication(sent))
    assert {made.body for made in await drained(queue, 5)} == {one.encode() for one in sent}
    assert sorted(len(made["Entries"]) for made in calls.of("send_message_batch")) == [1, 2, 2]


async def test_what_is_too_large_is_compressed_and_what_is_still_too_large_is_truncated(fifo: SqsHarness) -> None:
    queue = await queue_with(fifo)
    squeezed, large = event(1, padding=3 * ELASTICMQ_BYTES), noise(2 * ELASTICMQ_BYTES, "b")
    assert queue.publisher.fit(squeezed) == squeezed
    cut = queue.publisher.fit(large)
    assert (cut.truncated, cut.id, len(cut.encode()) < 1000) == (True, large.id, True)
    await queue.publisher.publish(Publication([squeezed, cut]))
    assert {made.body for made in await drained(queue, 2)} == {squeezed.encode(), cut.encode()}


async def test_an_entry_that_failed_is_sent_again_and_holds_its_object_back(
    fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, refused, call = await queue_with(fifo), [event(1).id], Client.call

    async def refuse(self: Client, operation: str, **given: Any) -> Any:
        """Let one entry of a batch fail, as SQS does."""
        if operation != "send_message_batch":
            return await call(self, operation, **given)
        bad = [entry for entry in given["Entries"] if any(id_ in entry["MessageBody"] for id_ in refused)]
        good = [entry for entry in given["Entries"] if entry not in bad]
        reply = await call(self, operation, **{**given, "Entries": good}) if good else {}
        failed = [
            {"Id": entry["Id"], "Code": "InternalError", "SenderFault": False, "Message": "told"} for entry in bad
        ]
        return {**reply, "Failed": failed}

    monkeypatch.setattr(Client, "call", refuse)
    publication = Publication([event(1), event(2), event(3, "b"), event(4, "b")])
    with pytest.raises(Unavailable, match="InternalError"):
        await queue.publisher.publish(publication)
    assert {index for _, index in publication.done} == {2, 3}
    refused.clear()
    await queue.publisher.publish(publication)
    got = [made.body for made in await drained(queue, 4)]
    assert [body for body in got if b"uid-a" in body] == [event(1).encode(), event(2).encode()]


async def test_a_reply_that_was_lost_makes_no_second_message(fifo: SqsHarness, elastic_mq: ElasticMq) -> None:
    async with Proxy(elastic_mq.port) as proxy:
        queue = await queue_with(fifo, endpoint_url=f"http://127.0.0.1:{proxy.port}")
        publication = Publication(events([1, 2]))
        proxy.drop_reply(b"AmazonSQS.SendMessageBatch")
        with pytest.raises(Unavailable, match="SendMessageBatch"):
            await queue.publisher.publish(publication)
        assert (proxy.dropped, publication.done) == (1, set())
        await queue.publisher.publish(publication)
        assert await pending(queue) == 2
        assert [made.body for made in await drained(queue, 2)] == [event(1).encode(), event(2).encode()]


async def test_the_same_event_under_another_token_is_another_message(fifo: SqsHarness) -> None:
    queue = await queue_with(fifo)
    for _ in range(2):
        await queue.publisher.publish(Publication([event(1)]))
    assert await pending(queue) == 2


async def test_an_old_leader_publishes_nothing(fifo: SqsHarness, calls: Calls) -> None:
    queue = await queue_with(fifo)
    for left, error in ((SECONDS - 0.1, Unavailable), (0.0, LeadershipLost)):
        term = Term(1, "old", left=lambda left=left: left)  # type: ignore[misc]
        with pytest.raises(error):
            await queue.publisher.publish(Publication([event(1)], term=term))
    assert calls.of("send_message_batch") == []
    await queue.publisher.publish(Publication([event(1)], term=Term(1, "leader", left=lambda: SECONDS + 0.1), number=7))
    (got,) = await drained(queue, 1)
    assert got.order == "0000000001.000000000007.00000"


async def test_publishing_knows_what_was_registered_elsewhere_once_register_returned(fifo: SqsHarness) -> None:
    publisher = await queue_with(fifo, learn=1.0)
    other = await fifo.queue("other", replace(fifo.settings, learn=1.0))
    published: list[Event] = []
    registered = asyncio.create_task(other.register([OTHER]))
    numbers = iter(range(10_000))
    while not registered.done():  # the list is used until it is as old as it may be
        await publisher.publisher.publish(Publication([event(next(numbers))]))
    await registered
    for _ in range(3):
        published.append(event(next(numbers)))
        await publisher.publisher.publish(Publication([published[-1]]))
    got = [made.body for made in await drained(other, await pending(other, OTHER.name), OTHER.name)]
    assert got[-3:] == [one.encode() for one in published]


async def test_what_is_registered_while_a_publish_takes_long_is_sent_its_events_too(
    fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, call = await queue_with(fifo, learn=0.3), Client.call
    other = await fifo.queue("other", replace(fifo.settings, learn=0.3))
    begun: list[str] = []

    async def slow(self: Client, operation: str, **given: Any) -> Any:
        """The first batch is under way until `register` has returned."""
        if operation == "send_message_batch":
            begun.append(given["QueueUrl"])
            if len(begun) == 1:
                await other.register([OTHER])
        return await call(self, operation, **given)

    monkeypatch.setattr(Client, "call", slow)
    await publisher.publisher.publish(Publication([event(1), event(2)]))
    assert await pending(other, OTHER.name) == 2
    assert [made.body for made in await drained(other, 2, OTHER.name)] == [event(1).encode(), event(2).encode()]
    assert await pending(publisher) == 2  # and nothing is sent twice
    assert len(begun) == 4


async def test_the_list_is_not_read_for_each_publish(fifo: SqsHarness, calls: Calls) -> None:
    queue = await queue_with(fifo)
    queue = await fifo.queue(settings=replace(fifo.settings, learn=60.0))
    calls.made.clear()
    for number in range(3):
        await queue.publisher.publish(Publication([event(number)]))
    assert "list_queues" not in calls.names


async def test_a_subscription_that_is_pruned_meanwhile_is_left_out(fifo: SqsHarness) -> None:
    other = await queue_with(fifo, SUB, OTHER)
    queue = await fifo.queue(settings=replace(fifo.settings, learn=60.0))
    await queue.publisher.publish(Publication([event(1)]))
    assert await other.prune(OTHER.name)
    publication = Publication([event(2)])
    with pytest.raises(NoSubscription):
        await queue.publisher.publish(publication)
    await queue.publisher.publish(publication)
    assert [made.body for made in await drained(queue, 2)] == [event(1).encode(), event(2).encode()]
    await other.prune(NAME)
    with pytest.raises(NoSubscription):
        await queue.publisher.publish(Publication([event(3)]))
    with pytest.raises(NoSubscription, match="nobody subscribes"):
        await queue.publisher.publish(Publication([event(3)]))


async def test_a_full_queue_is_counted_no_more_often_than_set(fifo: SqsHarness, calls: Calls) -> None:
    queue = await queue_with(fifo, max_pending=3, recount=60.0, recount_full=60.0)
    for number in range(3):  # counted once, and then what was sent is added
        await queue.publisher.publish(Publication([event(number)]))
    with pytest.raises(BusFull):
        await queue.publisher.publish(Publication([event(3)]))
    assert calls.names.count("get_queue_attributes") == 1 + 1  # the first one was for the ARN
    queue = await fifo.queue(settings=replace(fifo.settings, max_pending=3, recount=60.0))
    await drained(queue, 1)
    await until(lambda: accepted(queue, event(3)))


async def accepted(queue: SqsQueue, one: Event) -> bool:
    try:
        await queue.publisher.publish(Publication([one]))
    except BusFull:
        return False
    return True
