"""Dead-letter queues, looked at without consuming them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.contracts.event import Event, redelivered
from kubecdc.storage.sqs import names, registrations
from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.opened import SqsQueue
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event, until
from tests.storage.sqs.calls import Calls
from tests.storage.sqs.conftest import SqsHarness
from tests.storage.sqs.test_source import NAME, SUB, published, received

OTHER = SubscriptionSpec("audit", SOURCE, SUBJECT)


async def given_up(queue: SqsQueue, count: int, name: str = NAME) -> None:
    source = queue.source(name)
    for message in await received(source, count):
        await source.dead_letter(message, f"no {message.lane}", 3)


async def test_a_look_changes_nothing_but_the_count_of_receptions(fifo: SqsHarness, calls: Calls) -> None:
    queue = await published(fifo, *(f"object-{number}" for number in range(12)))
    await given_up(queue, 10)
    await given_up(queue, 2)
    first = await queue.dead_letters.page()
    assert len(first) == 12
    assert [letter.last for letter in first] == sorted(letter.last for letter in first)
    assert await queue.dead_letters.page() == first
    other = await fifo.queue("other")
    assert await other.dead_letters.page() == first
    found = await other.dead_letters.letter(first[5].id)
    assert found is not None
    assert (found[0], Event.decode(found[1]).id) == (first[5], first[5].event)
    handed_back = sum(len(made["Entries"]) for made in calls.of("change_message_visibility_batch"))
    assert handed_back >= 3 * 12


async def test_the_pages_of_a_list_are_read_once(fifo: SqsHarness, calls: Calls) -> None:
    queue = await published(fifo, "a", "b", "c")
    await given_up(queue, 3)
    calls.made.clear()
    one = await queue.dead_letters.page(limit=2)
    read = len(calls.made)
    two = await queue.dead_letters.page(after=one[-1].id, limit=2)
    assert (len(one), len(two), len(calls.made)) == (2, 1, read)
    assert await queue.dead_letters.page(after=two[-1].id, limit=2) == []


async def test_a_message_that_sqs_moved_says_so(fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = await fifo.queue()
    with monkeypatch.context() as patch:
        patch.setattr(registrations, "MAX_RECEIVES", 1)
        await queue.register([SUB])
    await queue.publisher.publish(Publication([event(1)]))
    source = queue.source(NAME)
    (message,) = await received(source, 1)
    await source.release([message], 0)

    async def moved() -> bool:
        await source.receive(1)
        return bool(await queue.dead_letters.page())

    await until(moved)
    (letter,) = await queue.dead_letters.page()
    assert (letter.reason, letter.attempts) == ("received 1000 times without being settled", 1000)
    assert (letter.event, letter.id) == (event(1).id, message.id)
    assert letter.first == letter.last
    assert await queue.dead_letters.redrive([letter.id]) == {}
    (again,) = await received(source, 1)
    body = redelivered(event(1).encode(), "redrive")
    assert (again.body, again.order, again.receptions) == (body, "", 1)
    assert Event.decode(body) == msgspec.structs.replace(event(1), redelivery="redrive")


async def test_a_letter_is_redriven_more_than_once_within_five_minutes(fifo: SqsHarness) -> None:
    queue = await published(fifo, "a")
    for _ in range(3):
        await given_up(queue, 1)
        (letter,) = await queue.dead_letters.page()
        assert await queue.dead_letters.redrive([letter.id]) == {}
        assert await queue.dead_letters.page() == []
    (message,) = await received(queue.source(NAME), 1)
    assert (message.order, message.lane) == ("", event(0).partitionkey)


async def test_letters_of_an_object_are_redriven_in_order(fifo: SqsHarness) -> None:
    queue = await published(fifo, "a", "a", "a", "b")
    await given_up(queue, 4)
    ids = [letter.id for letter in await queue.dead_letters.page()]
    assert await queue.dead_letters.redrive(ids[::-1]) == {}
    got = [message.body for message in await received(queue.source(NAME), 4)]
    assert [body for body in got if b"uid-a" in body] == [
        redelivered(event(number).encode(), "redrive") for number in range(3)
    ]


async def test_what_was_sent_is_deleted_if_a_redrive_fails_half_way(
    fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, call = await fifo.queue(), Client.call
    await queue.register([SUB, OTHER])
    await queue.publisher.publish(Publication([event(1)]))
    for name in (NAME, OTHER.name):
        await given_up(queue, 1, name)
    mine, other = await queue.dead_letters.page()

    async def throttled(self: Client, operation: str, **given: Any) -> Any:
        if operation == "send_message_batch" and names.queue_name(fifo.settings, OTHER.name) in given["QueueUrl"]:
            raise Unavailable("throttled")
        return await call(self, operation, **given)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "call", throttled)
        with pytest.raises(Unavailable, match="throttled"):
            await queue.dead_letters.redrive([mine.id, other.id])
    assert await queue.dead_letters.page() == [other]
    assert await queue.dead_letters.redrive([other.id]) == {}
    for name in (NAME, OTHER.name):
        assert [message.body for message in await received(queue.source(name), 1)] == [
            redelivered(event(1).encode(), "redrive")
        ]
