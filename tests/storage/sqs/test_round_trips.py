"""How often a commit waits for a network: the rounds of calls to SQS, and to the Redis that has the checkpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.installed import store_types
from kubecdc.storage.redis_server.client import Client as RedisClient
from kubecdc.storage.sqs.client import Client
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from tests.storage.redis_server import RedisServer
from tests.storage.rounds import counted
from tests.storage.sqs.conftest import SqsHarness
from tests.storage.stores import opening

SPEC = SubscriptionSpec("billing", SOURCE, SUBJECT)
CALLS = (Client, "_run"), (RedisClient, "send")


@pytest.fixture
async def bus(moto_fifo: SqsHarness, shared_redis: RedisServer, request: pytest.FixtureRequest) -> ComposedBus:
    """A bus whose publisher keeps its list of queues for some seconds, as outside of tests."""
    await (await moto_fifo.queue()).register([SPEC])
    queue = await moto_fifo.queue("two", replace(moto_fifo.settings, learn=60.0, recount=60.0))
    redis = store_types().types["redis"]
    spec = redis.model.model_validate({"url": shared_redis.database(4)})
    store = await redis.open(spec, request.node.name, opening("two"))
    moto_fifo.stack.push_async_callback(store.close)
    return ComposedBus(queue, store)


async def test_a_hundred_objects_take_one_round_beside_the_two_of_the_checkpoint(
    bus: ComposedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = await Leader.take(bus)
    await leader.commit(event(0))
    with counted(monkeypatch, *CALLS) as rounds:
        await leader.commit(*(event(number, f"object-{number}") for number in range(1, 101)))
    assert (rounds.count, rounds.calls) == (3, 1 + 100 // 10 + 1)


@pytest.mark.long
async def test_a_hundred_events_of_one_object_arrive_in_their_order(bus: ComposedBus) -> None:
    leader = await Leader.take(bus)
    changes = [event(number) for number in range(1, 101)]
    await leader.commit(*changes)
    async with Receiver.of(bus, SPEC.name, prefetch=64) as receiver:
        assert await receiver.acked(100) == [change.id for change in changes]
