"""Queues and their tags: what is made when, and who needs the right to."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import UNKNOWN, Approximate, Publication, SubscriptionSpec
from kubecdc.storage.sqs import names, open_queue, registrations
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event
from tests.storage.sqs.calls import Calls
from tests.storage.sqs.conftest import SqsHarness

NAME = "notify/tell"
SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)
READING = {"list_queues", "list_queue_tags", "get_queue_url", "get_queue_attributes"}


async def test_ensure_makes_a_queue_with_its_dead_letter_queue(fifo: SqsHarness, calls: Calls) -> None:
    queue = await fifo.queue()
    lines = await queue.ensure([SUB], dry_run=True)
    assert set(calls.names) == {"list_queues"}
    name = names.queue_name(fifo.settings, NAME)
    assert lines == [
        f"dead-letter queue {names.dead_name(name)}, of subscription {NAME}",
        f"queue {name}, for subscription {NAME} to {SOURCE}/{SUBJECT}",
    ]
    assert await queue.ensure([SUB], dry_run=False) == lines
    dead, main = calls.of("create_queue")
    assert (dead["QueueName"], main["QueueName"]) == (names.dead_name(name), name)
    policy = json.loads(main["Attributes"]["RedrivePolicy"])
    assert policy["maxReceiveCount"] == 1000
    assert policy["deadLetterTargetArn"].endswith(f":{names.dead_name(name)}")
    assert main["Attributes"] == {
        "RedrivePolicy": main["Attributes"]["RedrivePolicy"],
        "MessageRetentionPeriod": "1209600",
        "MaximumMessageSize": str(fifo.settings.message_bytes),
        "VisibilityTimeout": "30",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
        "FifoQueue": "true",
    }
    assert names.tagged_spec(main["tags"]) == names.tagged_spec(dead["tags"]) == SUB
    assert await queue.ensure([SUB], dry_run=False) == []


async def test_ensure_sets_what_differs(standard: SqsHarness, calls: Calls) -> None:
    await (await standard.queue()).register([SUB])
    slower = await standard.queue(settings=replace(standard.settings, ack_wait=2 * standard.settings.ack_wait))
    name = names.queue_name(standard.settings, NAME)
    assert await slower.ensure([SUB], dry_run=True) == [f"attributes of queue {name}: VisibilityTimeout 60"]
    assert "set_queue_attributes" not in calls.names
    moved = SubscriptionSpec(NAME, SOURCE, "another")
    assert await slower.ensure([moved], dry_run=False) == [
        f"tags of queue {name}: subscription {NAME} to {SOURCE}/another",
        f"attributes of queue {name}: VisibilityTimeout 60",
    ]
    assert await slower.ensure([moved], dry_run=False) == []
    (status,) = await slower.subscriptions()
    assert status.spec == moved


async def test_registering_what_is_there_needs_no_right_to_create(fifo: SqsHarness, calls: Calls) -> None:
    queue = await fifo.queue()
    await queue.ensure([SUB], dry_run=False)
    worker = await fifo.queue("worker")
    calls.made.clear()
    await worker.register([SUB])
    assert set(calls.names) <= READING


async def test_who_may_not_create_is_told_who_may(fifo: SqsHarness, calls: Calls) -> None:
    queue = await fifo.queue()
    calls.failing["create_queue"] = "AccessDenied"
    with pytest.raises(UsageError, match="AccessDenied") as e:
        await queue.register([SUB])
    assert "kubecdc bus ensure" in e.value.hint
    calls.failing.clear()
    await queue.register([SUB])
    calls.failing["tag_queue"] = "AccessDenied"
    with pytest.raises(UsageError) as e:
        await queue.register([SubscriptionSpec(NAME, SOURCE, "another")])
    assert "kubecdc bus ensure" in e.value.hint


async def test_a_registration_waits_until_publishers_know_it_and_one_that_is_known_does_not(
    fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = asyncio.get_running_loop().time
    settings = replace(fifo.settings, learn=1.0)
    queue, other = await fifo.queue(settings=settings), await fifo.queue("other", settings)
    begin = clock()
    first = asyncio.create_task(queue.register([SUB]))
    while not (await other.subscriptions()):
        assert not first.done()
    later = clock()
    await other.register([SUB])  # another process made it just now, so a publisher may not know it yet
    assert clock() - later >= settings.learn
    await first
    assert clock() - begin >= settings.learn
    monkeypatch.setattr(registrations, "time", SimpleNamespace(time=lambda: time.time() + 60))
    begin = clock()
    await other.register([SUB])
    assert clock() - begin < settings.learn


async def test_two_processes_register_at_the_same_time(fifo: SqsHarness) -> None:
    queue = await fifo.queue()
    other = await fifo.queue("other", replace(fifo.settings, ack_wait=2 * fifo.settings.ack_wait))
    await asyncio.gather(queue.register([SUB]), other.register([SUB]))
    assert [status.spec for status in await queue.subscriptions()] == [SUB]
    assert await queue.subscription(NAME, prefetch=1).registered() == (SUB,)


async def test_the_numbers_of_a_subscription_are_estimates(fifo: SqsHarness) -> None:
    queue = await fifo.queue()
    await queue.register([SUB])
    await queue.publisher.publish(Publication([event(1), event(2)]))
    await queue.source(NAME).receive(1)
    (status,) = await queue.subscriptions()
    assert (str(status.pending), type(status.dead_letters)) == ("~2", Approximate)
    assert (status.oldest, status.workers) == (UNKNOWN, UNKNOWN)
    assert isinstance(status.registered, float)


async def test_buses_whose_names_begin_alike_have_their_own_queues(standard: SqsHarness) -> None:
    one = await standard.queue(settings=replace(standard.settings, bus="one", prefix="alike"))
    two = await standard.queue(settings=replace(standard.settings, bus="one-two", prefix="alike"))
    await one.register([SUB])
    await two.register([SubscriptionSpec("other", SOURCE, SUBJECT)])
    assert [status.spec.name for status in await one.subscriptions()] == [NAME]
    assert [status.spec.name for status in await two.subscriptions()] == ["other"]
    for queue in (one, two):
        await queue.prune(NAME)
        await queue.prune("other")


async def test_queues_of_the_other_kind_are_not_left_behind(fifo: SqsHarness) -> None:
    await (await fifo.queue()).register([SUB])
    with pytest.raises(UsageError, match="of the other kind") as e:
        await open_queue(replace(fifo.settings, fifo=False), holder="x")
    assert "`fifo`" in e.value.hint
