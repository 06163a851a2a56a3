"""What is bounded on a bus on RQ: what one script does, and what is kept of what is gone."""

from __future__ import annotations

from typing import Any

import pytest

from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.rq.administration import dead_letters, subscriptions
from kubecdc.storage.rq.bus import RqBus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Receiver, event
from tests.storage.rq.conftest import RqHarness
from tests.storage.work import counted

SUB = SubscriptionSpec("billing", SOURCE, SUBJECT)


async def kept(bus: RqBus) -> list[Any]:
    return [await bus._connection.keyed("HGETALL", key) for key in ("queues", "places", "subscriptions")]


async def test_claims_letters_and_status_are_read_in_small_steps(
    rq_harness: RqHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "PAGE", 20)
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", 10)
    bus = await rq_harness.rq()
    await bus.register([SUB, *(SubscriptionSpec(f"other-{n:02}", f"source-{n}", SUBJECT) for n in range(35))])
    for begin in range(0, 300, 100):
        await bus.publisher.publish(Publication([event(n, f"o-{n}") for n in range(begin, begin + 100)]))
    with counted(monkeypatch) as scripts:
        async with Receiver.of(bus, SUB.name, prefetch=300) as receiver:
            for delivery in [await receiver.next() for _ in range(300)][:70]:
                await delivery.dead_letter("no")
        letters = await bus.dead_letters.page(limit=1000)
        assert [letter.event for letter in letters] == [event(n, f"o-{n}").id for n in range(70)]
        statuses = await bus.subscriptions()
        await scripts.read(bus._connection.keyed)
    assert [(status.pending, status.dead_letters) for status in statuses] == [(230, 70)] + 35 * [(0, 0)]
    assert scripts.most("deliveries/claim").calls < 64 * 20
    assert [work.calls for work in scripts.runs["administration/letters"]][:4] == [43, 43, 43, 23]
    assert len(scripts.runs["administration/status"]) == 4


async def test_a_subscription_that_ended_leaves_its_name_only_while_it_has_dead_letters(
    rq_harness: RqHarness,
) -> None:
    bus = await rq_harness.rq()
    await bus.register([SUB])
    await bus.publisher.publish(Publication([event(1), event(2, "b")]))
    async with Receiver.of(bus, SUB.name) as receiver:
        await (await receiver.next()).dead_letter("no")
    assert await bus.prune(SUB.name)
    (letter,) = await bus.dead_letters.page()
    assert await bus.dead_letters.letter(letter.id)
    assert await bus.dead_letters.purge([letter.id]) == 1
    assert await kept(bus) == [[], [], []]
    await bus.register([SUB])
    await bus.publisher.publish(Publication([event(3)]))
    async with Receiver.of(bus, SUB.name) as receiver:
        assert await receiver.acked(1) == [event(3).id]
    assert await bus.prune(SUB.name)
    assert await kept(bus) == [[], [], []]
