"""Many events through many faults: nothing is lost, and no object goes back."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta

import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import ClaimLost, Delivery, SubscriptionSpec
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, Receiver, event
from tests.storage.pubsub.conftest import PubSubHarness
from tests.storage.pubsub.fake import FakePubSub
from tests.storage.pubsub.fake.server import Fault

NAME = "billing"
OBJECTS, VERSIONS, WORKERS, DISTURBANCES = 8, 8, 3, 60
FAULTY = ("Publish", "Pull", "Acknowledge", "ModifyAckDeadline", "ListTopicSubscriptions", "GetSubscription")


class Run:
    """A leader, workers that come and go, and somebody who breaks things."""

    def __init__(self, harness: PubSubHarness, fake: FakePubSub, seed: int) -> None:
        self._harness = harness
        self._fake = fake
        self._rng = random.Random(seed)
        self.handed_out: dict[str, list[str]] = defaultdict(list)  # first receipts, by object
        self.settled: dict[str, set[str]] = defaultdict(set)
        self._count = 0

    async def lead(self) -> None:
        bus = await self._harness.open("leader")
        leader = await Leader.take(bus)
        for version in range(VERSIONS):
            batch = leader.batch([event(version, f"object-{number}") for number in range(OBJECTS)])
            while True:
                try:
                    await leader.send(batch)
                except Unavailable:
                    await asyncio.sleep(0.01)
                else:
                    break
            leader.number += 1

    async def work(self, number: int) -> None:
        bus = await self._harness.open(f"worker-{number}", ack_wait=self._harness.short)
        while not self.done:
            async with Receiver.of(bus, NAME, prefetch=5) as receiver:
                for _ in range(self._rng.randint(3, 30)):
                    if self.done:
                        return
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await self._handle(await receiver.next())

    async def _handle(self, delivery: Delivery) -> None:
        key, version = delivery.event.partitionkey, delivery.event.sequence
        seen = self.handed_out[key]
        if version not in seen:
            assert all(version > other for other in self.settled[key]), f"{key} goes back to {version}"
            seen.append(version)
        try:
            await delivery.start()
            if self._rng.random() < 0.15:
                await delivery.nack(timedelta(milliseconds=self._rng.choice([0, 20, 100])))
                return
            if self._rng.random() < 0.05:
                return  # the worker forgets it
            self.settled[key].add(version)
            await delivery.ack()
        except (ClaimLost, Unavailable):
            return

    async def disturb(self) -> None:
        for _ in range(DISTURBANCES):
            await asyncio.sleep(self._rng.uniform(0.01, 0.05))
            match self._rng.randrange(16):
                case 0:
                    self._fake.lapse()
                case 1:
                    for subscription in self._fake.subscriptions.values():
                        subscription.repeat(self._rng.randint(1, 5))
                case _:
                    when = self._rng.choice(["before", "after"])
                    self._fake.fault(self._rng.choice(FAULTY), Fault(when))  # type: ignore[arg-type]

    @property
    def done(self) -> bool:
        return sum(len(versions) for versions in self.settled.values()) == OBJECTS * VERSIONS


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
async def test_nothing_is_lost_and_no_object_goes_back(seed: int, harness: PubSubHarness, fake: FakePubSub) -> None:
    bus = await harness.open(ack_wait=harness.short)
    await bus.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    run = Run(harness, fake, seed)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(run.disturb())
        group.create_task(run.lead())
        for number in range(WORKERS):
            group.create_task(run.work(number))
    assert all(versions == sorted(versions) and len(versions) == VERSIONS for versions in run.handed_out.values())
    assert len(run.handed_out) == OBJECTS
