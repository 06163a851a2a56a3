"""The life cycle of a subscription."""

from __future__ import annotations

from kubecdc.storage.contracts import NoSubscription, SubscriptionSpec
from kubecdc.storage.pauses import pause, paused, resume
from kubecdc.storage.testing.actors import (
    SOURCE,
    SUBJECT,
    Leader,
    Receiver,
    event,
    events,
    expect_pending,
    known,
    raises,
    until,
)
from kubecdc.storage.testing.case import Case, Harness, collect, in_order, one_of

CASES: list[Case] = []
ONE, TWO = SubscriptionSpec("one", SOURCE, SUBJECT), SubscriptionSpec("two", SOURCE, SUBJECT)


@collect(CASES)
async def a_subscription_is_owed_what_is_committed_after_its_registration(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([ONE])
    leader = await Leader.take(bus)
    await leader.commit(one_of(harness, 1))
    await bus.register([TWO])
    await leader.commit(one_of(harness, 2))
    async with Receiver.of(bus, "one") as first, Receiver.of(bus, "two") as second:
        assert in_order(harness, await first.acked(2)) == [one_of(harness, 1).id, one_of(harness, 2).id]
        assert await second.acked(1) == [one_of(harness, 2).id]
        await second.nothing()


@collect(CASES)
async def each_subscription_settles_for_itself(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([ONE, TWO])
    await (await Leader.take(bus)).commit(*(one_of(harness, number) for number in (1, 2, 3)))
    async with Receiver.of(bus, "one") as receiver:
        await receiver.acked(3)
    await expect_pending(bus, "one", 0)
    await expect_pending(bus, "two", 3)
    async with Receiver.of(bus, "two") as receiver:
        assert in_order(harness, await receiver.acked(3)) == [one_of(harness, number).id for number in (1, 2, 3)]


@collect(CASES)
async def an_event_committed_by_another_process_is_delivered_without_a_restart(harness: Harness) -> None:
    bus, other = await harness.open(), await harness.open("other")
    await bus.register([ONE])
    async with Receiver.of(other, "one") as receiver:
        await receiver.nothing(0.05)
        await (await Leader.take(bus)).commit(event(1))
        assert await receiver.acked(1) == [event(1).id]


@collect(CASES)
async def registering_again_keeps_the_backlog(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([ONE])
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    (before,) = await bus.subscriptions()
    await bus.register([ONE])
    assert await bus.subscriptions() == [before]
    moved = SubscriptionSpec("one", SOURCE, "another-entry")
    await bus.register([moved, TWO])
    await leader.commit(event(2), event(3, subject="another-entry"))
    assert {status.spec for status in await bus.subscriptions()} == {moved, TWO}
    await expect_pending(bus, "one", 2)
    await expect_pending(bus, "two", 1)


@collect(CASES)
async def a_subscription_tells_what_it_is_registered_for_now(harness: Harness) -> None:
    bus, other = await harness.open(), await harness.open("other")
    await bus.register([ONE])
    subscription = bus.subscription("one", prefetch=1)
    assert await subscription.registered() == (ONE,)
    moved = SubscriptionSpec("one", SOURCE, "another-entry")
    await other.register([moved])
    assert (await subscription.registered())[0] == moved
    await other.prune("one")
    assert await subscription.registered() == ()


@collect(CASES, "keeps", "counts")
async def of_two_versions_at_work_none_takes_events_from_the_other(harness: Harness) -> None:
    newer = SubscriptionSpec("one", SOURCE, "another-entry")
    old, new = await harness.open("old"), await harness.open("new")
    await old.register([ONE])
    await new.register([newer])
    leader = await Leader.take(new)
    subscription = new.subscription("one", prefetch=1)
    assert await subscription.registered() == (newer, ONE)
    await old.register([ONE])  # it starts again
    assert await subscription.registered() == (ONE, newer)
    await leader.commit(event(1), event(2, subject="another-entry"))
    await expect_pending(new, "one", 2)
    for _ in range(3):
        await new.keep([newer])
        await old.keep([ONE])
    assert await subscription.registered() == (ONE, newer)

    await old.close()
    assert await subscription.registered() == (newer,), "who ends leaves nothing behind"
    await leader.commit(event(3, subject="another-entry"))
    await expect_pending(new, "one", 3)
    async with raises(NoSubscription):
        await leader.commit(event(4))
    async with Receiver.of(new, "one") as receiver:
        assert len(await receiver.acked(3)) == 3


@collect(CASES, "keeps")
async def what_was_registered_last_stays_when_all_processes_have_ended(harness: Harness) -> None:
    newer = SubscriptionSpec("one", SOURCE, "another-entry")
    old, new = await harness.open("old"), await harness.open("new")
    await old.register([ONE])
    await new.register([newer])
    await old.close()
    await new.close()
    bus = await harness.open("later")
    assert await bus.subscription("one", prefetch=1).registered() == (newer,)
    await bus.keep([ONE])
    assert await bus.subscription("one", prefetch=1).registered() == (ONE,), "the only one that is alive"
    await bus.close()
    assert [status.spec for status in await (await harness.open("last")).subscriptions()] == [ONE]


@collect(CASES, "pauses")
async def what_is_paused_is_known_to_every_process(harness: Harness) -> None:
    bus, other = await harness.open(), await harness.open("other")
    assert await paused(bus) == frozenset()
    await pause(bus, "one")
    await pause(other, "two")
    await pause(other, "one")
    assert await paused(bus) == await paused(other) == {"one", "two"}
    await resume(other, "one")
    await resume(bus, "one")
    assert await paused(bus) == await paused(other) == {"two"}


@collect(CASES, "counts")
async def the_status_tells_backlog_age_and_workers(harness: Harness) -> None:
    bus, other = await harness.open("here"), await harness.open("there")
    await bus.register([TWO, ONE])
    statuses = await bus.subscriptions()
    assert [(status.spec, status.pending, status.oldest) for status in statuses] == [(ONE, 0, None), (TWO, 0, None)]
    await (await Leader.take(bus)).commit(*events([1, 2]))
    (one, _) = await bus.subscriptions()
    assert one.pending == 2
    assert one.oldest is not None
    assert (known(one.oldest) or 0) >= known(one.registered)
    assert one.workers == ()
    async with Receiver.of(other, "one") as receiver:
        await receiver.next()
        (one, two) = await bus.subscriptions()
        assert [worker.holder for worker in known(one.workers)] == ["there"]
        assert two.workers == ()

    async def gone() -> bool:
        return not (await bus.subscriptions())[0].workers

    await until(gone)


@collect(CASES, "dead_letter_browse")
async def pruning_drops_the_backlog_and_keeps_the_dead_letters(harness: Harness) -> None:
    bus = await harness.open()
    await bus.register([ONE, TWO])
    leader = await Leader.take(bus)
    await leader.commit(event(1, "a"), event(2, "b"), event(3, "b"))
    async with Receiver.of(bus, "one") as receiver:
        await (await receiver.next()).dead_letter("broken")
        mine = await receiver.next()
        assert await bus.prune("one")
        await mine.ack()
        await receiver.nothing()
    assert not await bus.prune("one")
    assert [status.spec for status in await bus.subscriptions()] == [TWO]
    assert [letter.reason for letter in await bus.dead_letters.page()] == ["broken"]
    await bus.register([ONE])
    await leader.commit(event(4, "b"))
    async with Receiver.of(bus, "one") as receiver:
        assert await receiver.acked(1) == [event(4, "b").id]
        await receiver.nothing(0.05)
    await expect_pending(bus, "two", 4)
