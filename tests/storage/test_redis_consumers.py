"""Consumers of one's own on Redis: the script of docs/consumers.md, where somebody deletes what it needs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Receiver, event, pending
from tests.storage.conftest import RedisHarness

GUIDE = (Path(__file__).parents[2] / "docs" / "consumers.md").read_text()
(DONE,) = re.findall(r"```lua\n(.+?)```", GUIDE, re.DOTALL)
OWN, OTHER = "billing", "other"


@pytest.fixture
async def bus(redis_harness: RedisHarness) -> RedisBus:
    """Nothing is retained that all have settled."""
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=2, retention=timedelta(0)))
    await bus.register([SubscriptionSpec(name, SOURCE, SUBJECT) for name in (OWN, OTHER)])
    return bus


class Consumer:
    """Reads as the guide says, from the start."""

    def __init__(self, bus: RedisBus, at: int = 0) -> None:
        self._bus = bus
        self._at = at

    async def read(self, cursor: str) -> list[tuple[bytes, str]]:
        """Entry and event id of what is there."""
        key, group = f"{self._bus._settings.prefix}:events:1:{self._at}", f"1:{OWN}"
        command = ("XREADGROUP", "GROUP", group, "kubecdc", "COUNT", 50, "STREAMS", key, cursor)
        found = await self._bus._connection.command(*command)
        return [(eid, fields[fields.index(b"id") + 1].decode()) for eid, fields in found[0][1]] if found else []

    async def done(self, entry: bytes) -> int:
        place = f"1:{self._at}"
        answer = await self._bus._connection.command("EVAL", DONE, 1, self._bus._settings.prefix, 1, place, entry)
        return int(answer)

    async def settle(self, cursor: str, count: int = 50) -> list[tuple[str, int]]:
        """Settle the first of what is there. Event id, and what the script answers."""
        return [(id_, await self.done(entry)) for entry, id_ in (await self.read(cursor))[:count]]


async def destroy_group(bus: RedisBus, at: int, group: str) -> None:
    await bus._connection.command("XGROUP", "DESTROY", f"{bus._settings.prefix}:events:1:{at}", group)


@pytest.fixture
async def consumer(bus: RedisBus) -> AsyncIterator[Consumer]:
    """With three events in its partition, two of them settled."""
    await bus.publisher.publish(Publication([event(number) for number in (1, 2, 3)]))
    (at,) = [at for at in range(2) if await bus._connection.keyed("XLEN", f"events:1:{at}")]
    consumer = Consumer(bus, at)
    assert await consumer.settle(">", 2) == [(event(1).id, 1), (event(2).id, 1)]
    await destroy_group(bus, at, f"1:{OWN}")
    await bus.retention.enforce()
    yield consumer


@pytest.mark.parametrize("first", [0, 1])
async def test_what_was_settled_before_the_group_was_made_again_is_settled_once(
    first: int, consumer: Consumer, bus: RedisBus
) -> None:
    """Also where the other subscription has settled some of it."""
    assert (await pending(bus, OWN), await pending(bus, OTHER)) == (1, 3)
    async with Receiver.of(bus, OTHER) as receiver:
        assert await receiver.acked(first) == [event(1).id] * first
        await bus.retention.enforce()
        read = [(event(1).id, 0), (event(2).id, 0), (event(3).id, 1)]
        assert await consumer.settle(">") == read[first:], "what all have settled is not there any more"
        await bus.retention.enforce()
        assert (await pending(bus, OWN), await pending(bus, OTHER)) == (0, 3 - first)
        assert await receiver.acked(3 - first) == [event(number).id for number in (1, 2, 3)][first:]
    await bus.retention.enforce()
    left = [(status.pending, status.gone) for status in await bus.subscriptions()]
    assert left == [(0, 0), (0, 0)]
    assert [await bus._connection.keyed("XLEN", f"events:1:{at}") for at in range(2)] == [0, 0]


async def test_if_all_groups_are_made_again_nothing_is_lost_and_nothing_is_reported_gone(
    consumer: Consumer, bus: RedisBus
) -> None:
    for group in (f"1:{OWN}", f"2:{OTHER}"):
        await destroy_group(bus, consumer._at, group)
    await bus.retention.enforce()
    await bus.publisher.publish(Publication([event(4)]))
    assert [id_ for id_, _ in await consumer.settle(">")] == [event(number).id for number in (1, 2, 3, 4)]
    async with Receiver.of(bus, OTHER) as receiver:
        assert await receiver.acked(4) == [event(number).id for number in (1, 2, 3, 4)]
    for _ in range(2):
        await bus.retention.enforce()
    left = [(status.pending, status.gone) for status in await bus.subscriptions()]
    assert left == [(0, 0), (0, 0)]


async def test_a_group_is_made_again_although_others_of_the_subscription_have_something_left(bus: RedisBus) -> None:
    """A consumer that reads all streams in one command gets no further until then."""
    await bus.publisher.publish(Publication([event(number, f"o-{number}") for number in range(10)]))
    for at in range(2):
        await destroy_group(bus, at, f"1:{OWN}")
        await bus.retention.enforce()
        assert len(await Consumer(bus, at).read("0")) == 0
    read = [id_ for at in range(2) for id_, done in await Consumer(bus, at).settle(">") if done]
    assert sorted(read) == sorted(event(number, f"o-{number}").id for number in range(10))


async def test_without_a_record_nothing_is_settled_and_the_consumer_is_told(consumer: Consumer, bus: RedisBus) -> None:
    (*_, (entry, _)) = await consumer.read(">")
    await bus._connection.keyed("DEL", "subscription:1")
    with pytest.raises(Exception, match="NOGROUP"):
        await consumer.done(entry)
    await bus.register([SubscriptionSpec(OWN, SOURCE, SUBJECT)])
    assert [id_ for id_, done in await consumer.settle("0") if done] == [event(3).id]
    assert await bus._connection.keyed("XLEN", f"events:1:{consumer._at}") == 3
