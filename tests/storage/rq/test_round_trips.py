"""How often a commit to an rq bus waits for a network: once."""

from __future__ import annotations

import pytest

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.redis_server.client import Client
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from tests.storage.rounds import counted
from tests.storage.rq.conftest import RqHarness

SPEC = SubscriptionSpec("billing", SOURCE, SUBJECT)


@pytest.mark.parametrize("objects", [100, 1])
async def test_a_hundred_events_and_the_checkpoint_are_one_call(
    rq_harness: RqHarness, monkeypatch: pytest.MonkeyPatch, objects: int
) -> None:
    bus = await rq_harness.open()
    await bus.register([SPEC])
    leader = await Leader.take(bus)
    await leader.commit(event(0))  # Redis has the script now
    with counted(monkeypatch, (Client, "send")) as rounds:
        await leader.commit(*(event(number, f"object-{number % objects}") for number in range(1, 101)))
    assert (rounds.count, rounds.calls) == (1, 1)


async def test_a_hundred_events_of_one_object_arrive_in_their_order(rq_harness: RqHarness) -> None:
    bus = await rq_harness.open()
    await bus.register([SPEC])
    leader = await Leader.take(bus)
    changes = [event(number) for number in range(1, 101)]
    await leader.commit(*changes)
    async with Receiver.of(bus, SPEC.name, prefetch=64) as receiver:
        assert await receiver.acked(100) == [change.id for change in changes]
