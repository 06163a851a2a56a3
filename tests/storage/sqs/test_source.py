"""Receiving from SQS and settling, beneath the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.broker.contract import Received
from kubecdc.storage.contracts import Delivery, Publication, SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost, NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqs import names
from kubecdc.storage.sqs.opened import SqsQueue
from kubecdc.storage.sqs.source import SqsSource
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event, until
from tests.storage.sqs.calls import Calls
from tests.storage.sqs.conftest import SqsHarness

NAME = "billing"
SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)


async def published(harness: SqsHarness, *names_: str, **settings: Any) -> SqsQueue:
    """A queue with an event of each of the objects."""
    queue = await harness.queue(settings=replace(harness.settings, **settings))
    await queue.register([SUB])
    await queue.publisher.publish(Publication([event(number, name) for number, name in enumerate(names_)], number=1))
    return queue


async def received(source: SqsSource, count: int) -> list[Received]:
    """So many messages, in the order received. None of them is settled."""
    found: list[Received] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await source.receive(10)
    assert len(found) == count
    return found


async def test_a_message_tells_what_the_lanes_need(fifo: SqsHarness) -> None:
    clock = asyncio.get_running_loop().time
    queue = await published(fifo, "a")
    before = clock()
    (message,) = await received(queue.source(NAME), 1)
    assert message.body == event(0).encode()
    assert (message.lane, message.order, message.receptions) == (event(0).partitionkey, "", 1)
    wait = fifo.settings.ack_wait.total_seconds() + fifo.settings.poll
    assert before + wait <= message.until <= clock() + wait
    assert message.sent > 1e9


async def test_the_lane_is_the_same_with_a_key_that_cannot_be_a_group(fifo: SqsHarness) -> None:
    long = "x" * 300
    queue = await published(fifo, long, long)
    messages = await received(queue.source(NAME), 2)
    assert {message.lane for message in messages} == {event(0, long).partitionkey}
    assert [message.body for message in messages] == [event(number, long).encode() for number in range(2)]


async def test_a_claim_holds_for_the_ack_wait_after_the_message_came(fifo: SqsHarness, calls: Calls) -> None:
    queue = await published(fifo, "a", poll=2)
    source = queue.source(NAME)
    (message,) = await received(source, 1)
    assert await source.extend([message]) == [None]
    assert await source.release([message], 0.2) == [None]
    waits = [made["VisibilityTimeout"] for made in calls.of("receive_message")]
    waits += [made["Entries"][0]["VisibilityTimeout"] for made in calls.of("change_message_visibility_batch")]
    assert waits == [32, 30, 1]


async def test_what_comes_after_the_receiver_was_cancelled_is_handed_back(fifo: SqsHarness) -> None:
    queue = await published(fifo)
    source = queue.source(NAME)
    receiving = asyncio.create_task(source.receive(10))
    await until(lambda: _polls(queue))
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await queue.publisher.publish(Publication([event(1), event(2)]))
    messages = await received((await fifo.queue("other")).source(NAME), 2)
    assert [message.body for message in messages] == [event(1).encode(), event(2).encode()]
    assert messages[0].receptions in {1, 2}  # 2 if the call that was cancelled had it first


async def test_what_a_bus_holds_is_handed_back_when_it_is_closed(fifo: SqsHarness) -> None:
    queue = await published(fifo, *(f"object-{number}" for number in range(8)))
    deliveries = cast(AsyncGenerator[Delivery, None], queue.subscription(NAME, prefetch=4).deliveries())
    out = await anext(deliveries)
    await until(lambda: _in_flight(queue, 4))
    _, ended = await asyncio.gather(queue.close(), anext(deliveries, "the end"))
    assert ended == "the end"
    messages = await received((await fifo.queue("other")).source(NAME), 7)
    assert {Event.decode(message.body).id for message in messages} == {event(n, f"object-{n}").id for n in range(8)} - {
        out.event.id  # nobody settled it: its claim lapses
    }


async def _in_flight(queue: SqsQueue, least: int) -> bool:
    (url,) = [found.url for found in (await queue._catalog.read()).queues.values()]
    names_ = ["ApproximateNumberOfMessagesNotVisible"]
    reply = await queue._client.call("get_queue_attributes", QueueUrl=url, AttributeNames=names_)
    return int(reply["Attributes"][names_[0]]) >= least


async def _polls(queue: SqsQueue) -> bool:
    return bool(queue._client._polls._threads)


async def test_the_messages_of_a_group_go_back_from_the_last_to_the_first(fifo: SqsHarness, calls: Calls) -> None:
    source = (await published(fifo, "a", "a", "a")).source(NAME)
    messages = await received(source, 3)
    assert await source.release(messages, 0) == [None] * 3
    (made,) = calls.of("change_message_visibility_batch")
    assert [entry["ReceiptHandle"] for entry in made["Entries"]] == [message.handle for message in reversed(messages)]
    assert [message.body for message in await received(source, 3)] == [message.body for message in messages]


async def test_a_handle_that_is_not_ours_is_a_claim_that_was_lost(fifo: SqsHarness) -> None:
    source = (await published(fifo, "a", "b")).source(NAME)
    mine, other = await received(source, 2)
    other.handle = "no-handle"
    for settle in (source.extend, source.ack):
        one, two = await settle([other, mine])
        assert isinstance(one, ClaimLost)
        assert two is None


async def test_a_pruned_subscription_has_nothing_to_settle_and_nothing_to_receive(fifo: SqsHarness) -> None:
    queue = await published(fifo, "a", "b")
    source = queue.source(NAME)
    messages = await received(source, 2)
    await queue.prune(NAME)
    assert await source.extend(messages) == [None] * 2
    assert await source.release(messages, 5) == [None] * 2
    assert await source.ack(messages) == [None] * 2
    await source.dead_letter(messages[0], "it was tried", 1)
    with pytest.raises(NoSubscription, match="not registered"):
        await source.receive(1)
    assert [letter.reason for letter in await queue.dead_letters.page()] == ["it was tried"]


async def test_a_dead_letter_has_what_an_operator_asks_for(fifo: SqsHarness, calls: Calls) -> None:
    queue = await published(fifo, "a")
    source = queue.source(NAME)
    (message,) = await received(source, 1)
    await source.dead_letter(message, "no\x00" + "é" * 2000, 7)
    (made,) = calls.of("send_message")
    assert made["QueueUrl"].endswith(names.dead_name(names.queue_name(fifo.settings, NAME)))
    assert (made["MessageGroupId"], made["MessageDeduplicationId"]) == (message.id, message.id)
    attributes = {name: value["StringValue"] for name, value in made["MessageAttributes"].items()}
    assert "order" not in attributes
    assert attributes["reason"].startswith("no?é")
    assert len(attributes["reason"].encode()) <= 1000
    assert (attributes["attempts"], attributes["partitionkey"]) == ("7", message.lane)
    assert float(attributes["first"]) == pytest.approx(message.sent, abs=0.001)
    assert float(attributes["last"]) >= message.sent


async def test_without_a_dead_letter_queue_the_message_stays(fifo: SqsHarness, calls: Calls) -> None:
    queue = await published(fifo, "a")
    source = queue.source(NAME)
    (message,) = await received(source, 1)
    calls.failing["send_message"] = "AWS.SimpleQueueService.NonExistentQueue"
    with pytest.raises(Unavailable) as e:
        await source.dead_letter(message, "no", 1)
    assert "kubecdc bus ensure" in e.value.hint
    calls.failing.clear()
    assert await source.ack([message]) == [None]


async def test_giving_up_again_because_the_reply_was_lost_makes_no_second_letter(
    fifo: SqsHarness, calls: Calls
) -> None:
    queue = await published(fifo, "a")
    source = queue.source(NAME)
    (message,) = await received(source, 1)
    calls.failing["delete_message_batch"] = "InternalFailure"
    with pytest.raises(Unavailable):
        await source.dead_letter(message, "no", 1)
    calls.failing.clear()
    await source.dead_letter(message, "no", 1)
    assert len(await queue.dead_letters.page()) == 1
