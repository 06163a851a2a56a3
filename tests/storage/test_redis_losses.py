"""Consumer groups, streams, events and records that somebody has deleted from Redis, under a worker and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from kubecdc.storage.contracts import Delivery, Replay, SubscriptionSpec
from kubecdc.storage.contracts.errors import NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis_server import losses
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event, pending, until
from tests.storage.conftest import RedisHarness

NAME = "billing"
MISSING = "consumer groups were missing in Redis and are made again"
GAP = "gap in a subscription: events that it had not settled are gone"
Fault = Callable[[RedisBus], Awaitable[None]]


@pytest.fixture
async def bus(redis_harness: RedisHarness) -> RedisBus:
    """With one partition, so that what is deleted is all that a subscription has."""
    settings: RedisSettings = replace(redis_harness.settings, partitions=1)
    bus = await redis_harness.redis(settings)
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    return bus


async def group(bus: RedisBus) -> None:
    await bus._connection.command("XGROUP", "DESTROY", f"{bus._settings.prefix}:events:1:0", f"1:{NAME}")


async def stream(bus: RedisBus) -> None:
    await bus._connection.keyed("DEL", "events:1:0")


async def trimmed(bus: RedisBus) -> None:
    await bus._connection.keyed("XTRIM", "events:1:0", "MAXLEN", 0)


async def gone(bus: RedisBus) -> int:
    (status,) = await bus.subscriptions()
    return status.gone


@pytest.mark.parametrize(("fault", "lost"), [(group, 0), (stream, 3), (trimmed, 3)])
async def test_a_worker_that_starts_goes_on_with_what_is_there_and_the_rest_is_a_gap(
    fault: Fault, lost: int, bus: RedisBus
) -> None:
    leader, counted = await Leader.take(bus), losses.GONE.at(NAME).value
    await leader.commit(event(1), event(2))
    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(2)
    await leader.commit(*(event(number) for number in (3, 4, 5)))
    await fault(bus)
    await leader.commit(event(6))
    expected = [event(number).id for number in ((3, 4, 5, 6) if fault is group else (6,))]
    with capture_logs() as logs:
        async with Receiver.of(bus, NAME) as receiver:
            assert await receiver.acked(len(expected)) == expected, "what was settled does not come again"
            await receiver.nothing(0.2)
            await bus.retention.enforce()
            await leader.commit(event(7))
            assert await receiver.acked(1) == [event(7).id]
    assert (await pending(bus, NAME), await gone(bus)) == (0, lost)
    assert losses.GONE.at(NAME).value == counted + lost
    said = [(line["event"], line.get("streams"), line.get("events")) for line in logs if "hint" in line]
    assert said == [(MISSING, ["1:0"], None)] * (fault is not trimmed) + [(GAP, None, lost)] * (lost > 0)


@pytest.mark.parametrize("fault", [group, stream])
async def test_what_is_deleted_under_a_worker_is_made_again_and_what_it_holds_is_settled(
    fault: Fault, bus: RedisBus
) -> None:
    leader = await Leader.take(bus)
    await leader.commit(event(1, "a"), event(2, "a"), event(3, "b"))
    with capture_logs() as logs:
        async with Receiver.of(bus, NAME, prefetch=2) as receiver:
            held = [await receiver.next(), await receiver.next()]
            await fault(bus)
            for delivery in held:
                await delivery.ack()
            await leader.commit(event(4, "c"))
            assert sorted(await receiver.acked(2)) == sorted([event(2, "a").id, event(4, "c").id])
            await receiver.nothing(0.2)
            await bus.retention.enforce()
            await leader.commit(event(5, "c"))
            assert await receiver.acked(1) == [event(5, "c").id]
    assert await pending(bus, NAME) == 0
    assert [line["event"] for line in logs if line["event"] == MISSING] == [MISSING]


async def ack(delivery: Delivery) -> None:
    await delivery.ack()


async def dead_letter(delivery: Delivery) -> None:
    await delivery.dead_letter("refused")


@pytest.mark.parametrize("settle", [ack, dead_letter])
async def test_what_is_settled_without_a_group_is_settled(
    settle: Callable[[Delivery], Coroutine[None, None, None]], bus: RedisBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker makes the group again while it awaits the answer to its settlement, which is sent twice at that."""
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    run, settled, read = Connection.run, asyncio.Event(), asyncio.Event()

    async def in_that_order(self: Connection, script: str, *args: Argument) -> object:
        if script == "deliveries/settle" and not settled.is_set():
            await run(self, script, *args)
            settled.set()
            await read.wait()
        answer = await run(self, script, *args)
        if script == "deliveries/read" and settled.is_set():
            read.set()
        return answer

    async with Receiver.of(bus, NAME) as receiver:
        held = await receiver.next()
        await receiver.nothing()
        await group(bus)
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "run", in_that_order)
            settling = asyncio.create_task(settle(held))
            await settled.wait()
            await leader.commit(event(3, "b"))
            await settling
            assert sorted(await receiver.acked(2)) == sorted([event(2).id, event(3, "b").id])
        await receiver.nothing()
    (status,) = await bus.subscriptions()
    assert (status.pending, status.dead_letters) == (0, int(settle is dead_letter))
    assert not await bus._connection.keyed("EXISTS", "ahead:1:1:0")


async def test_without_a_worker_the_leader_finds_what_is_gone(bus: RedisBus) -> None:
    leader = await Leader.take(bus)
    await leader.commit(*(event(number) for number in range(5)))
    await bus.retention.enforce()
    assert (await pending(bus, NAME), await gone(bus)) == (5, 0), "nothing is gone"
    await stream(bus)
    with capture_logs() as logs:
        await bus.retention.enforce()
        await bus.retention.enforce()
    assert [line["event"] for line in logs] == [MISSING, GAP]
    assert (await pending(bus, NAME), await gone(bus)) == (0, 5)
    await leader.commit(event(6))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(6).id]


async def test_an_event_whose_body_is_deleted_while_it_waits_is_a_gap_and_holds_up_nothing(
    bus: RedisBus,
) -> None:
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        first = await receiver.next()
        await first.nack(timedelta(seconds=0.2))
        await bus._connection.keyed("XDEL", "events:1:0", first.entry.at[1])  # type: ignore[attr-defined]
        await leader.commit(event(2))
        assert await receiver.acked(1) == [event(2).id]
    assert (await pending(bus, NAME), await gone(bus)) == (0, 1)


async def test_a_stream_that_is_deleted_while_an_event_of_it_waits_ends_no_worker(bus: RedisBus) -> None:
    """The group that is made again does not know the event."""
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        await (await receiver.next()).nack(timedelta(seconds=0.2))
        await stream(bus)
        await leader.commit(event(2, "b"), event(3))
        assert await receiver.acked(2) == [event(2, "b").id, event(3).id]
    await bus.retention.enforce()
    assert (await pending(bus, NAME), await gone(bus)) == (0, 1)


async def test_what_is_pending_without_a_group_is_delivered_although_the_entry_goes_and_comes_back(
    bus: RedisBus,
) -> None:
    """As in a rolling update in which the older version starts again."""
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    await bus.register([SubscriptionSpec(NAME, SOURCE, "other")])
    await group(bus)
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(2) == [event(1).id, event(2).id]
    assert (await pending(bus, NAME), await gone(bus)) == (0, 0)


async def test_what_is_pending_is_delivered_although_it_is_counted_too_low_and_the_entry_changes(
    redis_harness: RedisHarness,
) -> None:
    """All groups of a stream are deleted: what is delivered again is settled twice, but may be counted once."""
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=2))
    await bus.register([SubscriptionSpec(name, SOURCE, SUBJECT) for name in (NAME, "other")])
    leader = await Leader.take(bus)
    await leader.commit(event(1, "a"))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(1, "a").id]
    for partition in range(2):
        for name in (f"1:{NAME}", "2:other"):
            key = f"{bus._settings.prefix}:events:1:{partition}"
            await bus._connection.command("XGROUP", "DESTROY", key, name)
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(1, "a").id]
    await leader.commit(event(2, "a"))
    assert await pending(bus, NAME) == 0, "too low"
    await bus.register([SubscriptionSpec(NAME, SOURCE, "later")])
    await bus.retention.enforce()
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(2, "a").id]
        await receiver.nothing(0.2)
    await bus.retention.enforce()
    await bus.retention.enforce()
    assert (await pending(bus, NAME), await bus._connection.keyed("HGET", "subscription:1", "entries")) == (0, b"2")


@pytest.mark.parametrize("ends", [False, True])
async def test_what_one_settles_again_is_kept_for_another(ends: bool, redis_harness: RedisHarness) -> None:
    """Its group was deleted, so it is delivered all again."""
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=1, retention=timedelta(0)))
    await bus.register([SubscriptionSpec(name, SOURCE, SUBJECT) for name in (NAME, "other")])
    leader, ids = await Leader.take(bus), [event(number).id for number in (1, 2)]
    await leader.commit(event(1), event(2))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(2) == ids
    await group(bus)
    async with Receiver.of(bus, NAME) as receiver:
        first = await receiver.next()
        assert await pending(bus, NAME) == 2
        if ends:
            await bus.prune(NAME)
        else:
            await first.ack()
            assert await receiver.acked(1) == ids[1:]
    await bus.retention.enforce()
    async with Receiver.of(bus, "other") as receiver:
        assert await receiver.acked(2) == ids
    await bus.retention.enforce()
    left = {status.spec.name: (status.pending, status.gone) for status in await bus.subscriptions()}
    assert left == {"other": (0, 0)} | ({} if ends else {NAME: (0, 0)})
    assert not await bus._connection.keyed("XLEN", "events:1:0")


RECORDS = (
    "subscription:1",
    "subscriptions",
    f"subscribers:{SOURCE}\n{SUBJECT}",
    "wants:1",
    "registrants:1",
    "entries",
    "meta",
)


@pytest.mark.parametrize("key", RECORDS)
async def test_a_record_of_a_subscription_that_is_gone_is_made_again(key: str, bus: RedisBus) -> None:
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(1).id]
        await bus._connection.keyed("DEL", key)

        async def committed() -> bool:
            try:
                await leader.commit(event(2))
            except NoSubscription:
                return False
            return True

        await until(committed)
        assert await receiver.acked(1) == [event(2).id]
    await bus.register([SubscriptionSpec("other", SOURCE, "else")])
    assert [status.spec.name for status in await bus.subscriptions()] == [NAME, "other"]
    expected = {NAME: event(3), "other": event(4, subject="else")}
    await leader.commit(*expected.values())
    for name, one in expected.items():
        async with Receiver.of(bus, name) as receiver:
            assert await receiver.acked(1) == [one.id]
            await receiver.nothing()


@pytest.mark.parametrize("moves", [False, True])
async def test_a_subscription_whose_record_is_gone_is_still_owed_what_it_was(
    moves: bool, redis_harness: RedisHarness
) -> None:
    """Of its present entry and of an earlier one, whether or not it changes to another just after."""
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=3, ack_wait=timedelta(seconds=1)))
    await bus.register([SubscriptionSpec(NAME, SOURCE, "before"), SubscriptionSpec("other", SOURCE, "before")])
    leader = await Leader.take(bus)
    earlier = [event(number, f"o-{number}", subject="before") for number in range(1, 9)]
    await leader.commit(*earlier)
    async with Receiver.of(bus, NAME, prefetch=2) as receiver:
        (await receiver.next(), await receiver.next())  # they stay with it
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    later = [event(number, f"o-{number}") for number in range(9, 15)]
    await leader.commit(*later)
    assert await pending(bus, NAME) == 14
    await bus._connection.keyed("DEL", "subscription:1")
    with capture_logs() as logs:
        await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT), SubscriptionSpec("third", SOURCE, SUBJECT)])
        await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    assert [log["subscription"] for log in logs if log["code"] == "record-missing"] == [NAME]
    assert await bus.prune("third")
    assert await pending(bus, NAME) == 14
    if moves:
        await bus.register([SubscriptionSpec(NAME, SOURCE, "after")])
    await bus.retention.enforce()
    async with Receiver.of(bus, NAME) as receiver:
        assert sorted(await receiver.acked(14)) == sorted(one.id for one in earlier + later)
        await receiver.nothing()
    await bus.retention.enforce()
    left = {status.spec.name: (status.pending, status.gone) for status in await bus.subscriptions()}
    assert left == {NAME: (0, 0), "other": (8, 0)}
    assert await bus._connection.keyed("HGET", "subscription:1", "entries") == (b"3" if moves else b"2")


async def test_a_replay_delivers_what_a_subscription_was_owed_of_which_nothing_is_known(bus: RedisBus) -> None:
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    await bus._connection.keyed("DEL", "subscription:1")
    await bus._connection.keyed("DEL", "subscriptions")
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    assert await pending(bus, NAME) == 0
    assert await bus.replay(Replay(subscription=NAME)) == 2
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(2) == [event(1).id, event(2).id]
        await receiver.nothing()


async def test_a_subscription_whose_record_is_gone_can_be_pruned(redis_harness: RedisHarness) -> None:
    """What it had settled and what it had not is left to the others alone."""
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=2, retention=timedelta(0)))
    await bus.register([SubscriptionSpec(name, SOURCE, SUBJECT) for name in (NAME, "other")])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(1).id]
    await bus._connection.keyed("DEL", "subscription:1")
    assert await bus.prune(NAME)
    await leader.commit(event(3))
    await bus.retention.enforce()
    async with Receiver.of(bus, "other") as receiver:
        assert await receiver.acked(3) == [event(number).id for number in (1, 2, 3)]
    await bus.retention.enforce()
    assert [await bus._connection.keyed("XLEN", f"events:1:{number}") for number in range(2)] == [0, 0]
    assert await bus._connection.keyed("HGETALL", "owed") == []


async def test_entries_whose_numbers_are_gone_get_others_also_while_processes_are_replaced(
    redis_harness: RedisHarness,
) -> None:
    """The subscription is owed the events of two entries then."""
    settings = replace(redis_harness.settings, partitions=1)
    old, new = await redis_harness.redis(settings, "old"), await redis_harness.redis(settings, "new")
    await old.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    leader = await Leader.take(old)
    await new.register([SubscriptionSpec(NAME, SOURCE, "other")])
    await leader.commit(event(1))
    await old._connection.keyed("DEL", "entries")
    expected = [event(1)]
    for one in (event(2), event(3, subject="other")):
        expected.append(one)

        async def committed(one: Event = one) -> bool:
            try:
                await leader.commit(one)
            except NoSubscription:
                return False
            return True

        await until(committed)
    async with Receiver.of(new, NAME) as receiver:
        assert sorted(await receiver.acked(3)) == sorted(one.id for one in expected)
        await receiver.nothing()
    assert await pending(new, NAME) == 0
