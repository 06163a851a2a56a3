"""How often a commit waits for a network: the rounds of calls to Pub/Sub, and to the Redis that has the checkpoint."""

from __future__ import annotations

import pytest

from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.installed import store_types
from kubecdc.storage.pubsub.client import Client
from kubecdc.storage.redis_server.client import Client as RedisClient
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from tests.storage.pubsub.conftest import PubSubHarness
from tests.storage.redis_server import RedisServer
from tests.storage.rounds import counted
from tests.storage.stores import opening

SPEC = SubscriptionSpec("billing", SOURCE, SUBJECT)
CALLS = (Client, "_answer"), (RedisClient, "send")


@pytest.fixture
async def bus(harness: PubSubHarness, shared_redis: RedisServer, request: pytest.FixtureRequest) -> ComposedBus:
    redis = store_types().types["redis"]
    spec = redis.model.model_validate({"url": shared_redis.database(4)})
    store = await redis.open(spec, request.node.name, opening("one"))
    harness.stack.push_async_callback(store.close)
    bus = ComposedBus(await harness.queue(), store)
    await bus.register([SPEC])
    return bus


@pytest.mark.parametrize(("objects", "requests"), [(100, 100), (1, 1)])
async def test_a_hundred_events_take_one_round_beside_the_two_of_the_checkpoint(
    bus: ComposedBus, monkeypatch: pytest.MonkeyPatch, objects: int, requests: int
) -> None:
    leader = await Leader.take(bus)
    await leader.commit(event(0))
    with counted(monkeypatch, *CALLS) as rounds:
        await leader.commit(*(event(number, f"object-{number % objects}") for number in range(1, 101)))
    assert (rounds.count, rounds.calls) == (3, 1 + requests + 1)


async def test_a_hundred_events_of_one_object_arrive_in_their_order(bus: ComposedBus) -> None:
    leader = await Leader.take(bus)
    changes = [event(number) for number in range(1, 101)]
    await leader.commit(*changes)
    async with Receiver.of(bus, SPEC.name, prefetch=64) as receiver:
        assert await receiver.acked(100) == [change.id for change in changes]
