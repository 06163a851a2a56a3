"""A thousand subscriptions in one process: a commit costs what those cost that want it."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import apsw
import pytest

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.memory import Memory, Share
from kubecdc.storage.redis.deliveries.partition_leases import PartitionLeases
from kubecdc.storage.redis.deliveries.settings import SubscriptionSettings
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.redis_server.notifier import Listener, Notifier
from kubecdc.storage.sqlite.deliveries import lanes
from tests.storage.conftest import SqliteHarness

MANY = 1000


class Noted(Listener):
    """Notes who looks at it, and that it was woken."""

    looks = 0

    def __init__(self, number: int, woken: list[int]) -> None:
        super().__init__()
        self.number = number
        self.woken = woken

    @property
    def subscription(self) -> int:
        Noted.looks += 1
        return self.number

    @subscription.setter
    def subscription(self, number: int) -> None:
        self.number = number
        self.renumbered()

    def notify(self, partitions: set[int] | None) -> None:
        self.woken.append(self.number)


async def test_a_notification_wakes_its_listeners_and_looks_at_no_other() -> None:
    notifier, woken = Notifier(cast(Connection, SimpleNamespace(ending=True))), list[int]()
    with ExitStack() as stack:
        listeners = [Noted(number, woken) for number in range(MANY)]  # the first does not know its number yet
        for listener in listeners:
            stack.enter_context(notifier.listen(listener))
        notifier.notify({0}, {7, 400, 5000})
        assert sorted(woken) == [0, 7, 400]
        Noted.looks = 0
        notifier.notify({0}, {7, 400})
        assert sorted(woken) == [0, 0, 7, 7, 400, 400] and Noted.looks == 0
        woken.clear()
        listeners[0].subscription = 5000
        notifier.notify({0}, {7, 5000})
        assert sorted(woken) == [7, 5000]
        woken.clear()
        notifier.notify()
        assert len(woken) == MANY
    woken.clear()
    notifier.notify({0}, {7})
    assert woken == []
    await notifier.close()


@pytest.mark.parametrize(
    ("shares", "ack_wait", "least", "most"),
    [(1, 30, 0.8, 1.0), (20, 30, 0.8, 1.0), (MANY, 30, 6.0, 7.5), (MANY, 1, 0.2, 0.25)],
)
def test_the_more_subscriptions_the_fewer_heartbeats_each_sends(
    shares: int, ack_wait: float, least: float, most: float
) -> None:
    entries = Memory()
    settings = SubscriptionSettings(
        name="one",
        prefetch=1,
        holder="one",
        partitions=8,
        ack_wait=ack_wait,
        now=time.monotonic,
        rng=random.Random(7),
        entries=entries,
    )
    leases = PartitionLeases(settings, *[cast(Any, None)] * 3)
    with ExitStack() as stack:
        for _ in range(shares):
            stack.enter_context(Share(entries).opened())
        assert all(least <= leases.pause <= most for _ in range(100))


async def test_who_has_something_due_is_found_without_a_look_at_the_others(harness: SqliteHarness) -> None:
    bus, steps = await harness.sqlite(), []

    async def counted() -> list[str]:
        def look(db: apsw.Connection) -> list[str]:
            count = 0

            def one_more() -> bool:
                nonlocal count
                count += 1
                return False

            db.set_progress_handler(one_more, 1)
            try:
                return lanes.due_by(db, 10.0)
            finally:
                db.set_progress_handler(None)
                steps.append(count)

        return await bus._reader.submit(look)

    def owed(subscription: int, seq: int, due: float) -> Any:
        return bus._writer.submit(lambda db: lanes.append(db, subscription, seq, 1, due))

    for number in range(MANY):
        if number in {20, MANY - 1}:
            await bus.register([SubscriptionSpec(f"s-{n:04}", "source", f"event-{n}") for n in range(number + 1)])
        if number == 20:
            await owed(3, 1, 5.0)
            await owed(17, 2, 5.0)
            await owed(18, 3, 50.0)
            assert await counted() == ["s-0002", "s-0016"]
    assert await counted() == ["s-0002", "s-0016"]
    assert 20 < steps[1] <= steps[0], "the first time it also reads the schema"
