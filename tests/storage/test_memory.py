"""What a process holds of events is bounded in bytes, over all of its subscriptions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.memory import PROCESS, Memory, Share
from kubecdc.storage.redis.deliveries.lanes import Entry, Lanes
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from kubecdc.storage.testing.case import Harness
from tests.storage.read_ahead import (
    SIZE,
    each_is_larger_than_the_limit,
    no_receiver_answers_then_all_do,
    room_that_others_make_is_used,
)
from tests.storage.rq.conftest import rq_harness

__all__ = ["rq_harness"]


def test_one_half_is_for_whoever_needs_it_and_the_other_is_shared_out_evenly() -> None:
    memory = Memory(800)
    slow, other, third, fourth = shares = [Share(memory) for _ in range(4)]
    with slow.opened(), other.opened(), third.opened(), fourth.opened():
        assert slow.room == 400
        slow.add(400)
        assert slow.full
        assert [share.room for share in shares[1:]] == [100, 100, 100]
        other.add(100)
        assert other.full and third.room == 100
        slow.remove(350)
        assert slow.room == 250 and other.room == 250
    assert (memory.held, memory.shares) == (0, 0)


def test_however_they_take_turns_they_never_hold_more_than_the_limit() -> None:
    memory = Memory(1000)
    shares = [Share(memory) for _ in range(5)]
    for share in shares:
        share._enter(1)
    for _ in range(3):
        for share in shares:
            share.add(share.room)
            assert memory.held <= memory.limit
    assert all(share.full for share in shares)
    assert memory.held > memory.limit // 2


def test_a_subscription_may_always_hold_one_event_whatever_its_size() -> None:
    memory = Memory(100)
    share, other = Share(memory), Share(memory)
    with share.opened(), other.opened():
        share.add(1000)
        assert share.full and not other.full
        assert other.events == 1


def test_how_many_events_fit_is_judged_by_the_large_ones_that_came_lately() -> None:
    share = Share(Memory(64 << 20))
    with share.opened():
        assert share.events == 32, "as if each had a megabyte, as long as none was seen"
        for _ in range(60):
            share.add(1000)
            share.remove(1000)
        assert share.events > 10_000
        share.add(1 << 20)
        assert share.events < 32


def test_what_was_handed_out_by_a_subscription_that_is_closed_counts_no_more() -> None:
    memory = Memory(100)
    share = Share(memory)
    with share.opened():
        share.add(60)
    assert memory.held == 0
    share.remove(60)
    assert (memory.held, share.held) == (0, 0)


@pytest.fixture(params=["harness", "redis_harness", "rq_harness"], ids=["sqlite", "redis", "rq"])
def any_harness(request: pytest.FixtureRequest) -> Harness:
    found: Harness = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def bus(any_harness: Harness) -> Bus:
    return await any_harness.open("worker")


async def test_what_all_subscriptions_have_read_and_not_settled_is_bounded_in_bytes(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await no_receiver_answers_then_all_do(bus, monkeypatch)


async def test_an_event_that_is_larger_than_all_that_may_be_held_is_delivered(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await each_is_larger_than_the_limit(bus, monkeypatch)


async def test_room_that_others_make_is_used_soon(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    await room_that_others_make_is_used(bus, monkeypatch)


async def test_what_waits_to_be_tried_again_takes_no_room(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver refuses everything: every object's event gets its turn, whatever was refused before."""
    monkeypatch.setattr(PROCESS, "limit", 4 * SIZE)
    await bus.register([SubscriptionSpec("sensor/a", SOURCE, SUBJECT)])
    leader = await Leader.take(bus)
    for number in range(20):
        await leader.commit(event(number, f"object-{number}", padding=SIZE))
    async with Receiver.of(bus, "sensor/a", prefetch=64) as receiver:
        for _ in range(20):
            delivery = await receiver.next()
            assert delivery.attempt == 1
            await delivery.start()
            await delivery.nack(timedelta(seconds=1))
        for _ in range(20):
            delivery = await receiver.next()
            assert delivery.attempt == 2
            await delivery.start()
            await delivery.ack()


def test_partitions_that_are_lost_leave_nothing_behind() -> None:
    share, entries = Share(Memory()), Share(Memory())
    lanes = Lanes(share, entries)
    for _ in range(5):
        for number in range(1000):
            at = f"s{number % 8}", b"%d" % number
            entry = Entry(number % 8, at, b"key-%d" % number, b"0", 0, 10, b"x" * 10)
            entry.due = 1e9 if number % 3 else 0.0
            lanes.add(entry)
        lanes.drop(range(8))
        assert (len(lanes), lanes.ready, lanes.next_due) == (0, 0, None)
    assert (share.held, entries.held) == (0, 0)


def test_events_without_a_body_have_a_size() -> None:
    share = Share(Memory())
    for _ in range(10_000):
        share.add(0)
    assert share.size == 1.0
