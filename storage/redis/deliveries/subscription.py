"""A subscription as a worker opens it: events that are due, until the bus is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.outage import Outage
from kubecdc.storage.redis.deliveries.delivery import RedisDelivery
from kubecdc.storage.redis.deliveries.dispatcher import Dispatcher
from kubecdc.storage.redis.deliveries.metrics import PARTITIONS
from kubecdc.storage.redis.deliveries.partition_leases import PartitionLeases
from kubecdc.storage.redis.deliveries.settings import SubscriptionSettings
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.redis_server.notifier import Notifier
from kubecdc.storage.redis_server.registrations import Registrations, registered, successes

PARTS = 4  # of what may be unsettled: one part is settled in Redis while the next is worked on here


class RedisSubscription:
    """`storage.contracts.Subscription`. ``opened`` has the leases of all open iterators of the bus."""

    def __init__(
        self,
        settings: SubscriptionSettings,
        connection: Connection,
        registrations: Registrations,
        notifier: Notifier,
        opened: set[PartitionLeases],
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._connection = connection
        self._registrations = registrations
        self._notifier = notifier
        self._opened = opened

    async def deliveries(self) -> AsyncIterator[RedisDelivery]:
        """Ends when the bus is closed."""
        dispatcher = Dispatcher(self._settings, self._connection, self._registrations)
        leases = dispatcher.leases
        outage = Outage(
            "cannot read the subscription", self._settings.rng, code="subscription-unreadable", subscription=self.name
        )
        handed_out, part = 0, max(1, self._settings.prefetch // PARTS)
        heartbeats = asyncio.create_task(leases.run())
        self._opened.add(leases)
        exported = PARTITIONS.read(lambda: len(leases.owned), self.name)
        try:
            with self._notifier.listen(dispatcher.listener), dispatcher.share.opened(), dispatcher.entries.opened():
                while not self._connection.ending:
                    dispatcher.listener.wake.clear()
                    try:
                        await dispatcher.fill()
                        outage.over()
                    except Unavailable as e:
                        leases.restart()
                        if self._connection.ending:
                            break
                        await asyncio.sleep(outage.failed(e))
                        continue
                    while delivery := dispatcher.next():
                        yield delivery
                        handed_out += 1
                        if handed_out % part == 0:
                            await asyncio.sleep(0)  # let the work on it begin
                    await dispatcher.wait()
        finally:
            exported()
            heartbeats.cancel()
            dispatcher.cancel()
            await leases.leave()
            self._opened.discard(leases)

    async def successes(self) -> int:
        return await successes(self._connection, self.name)

    async def registered(self) -> tuple[SubscriptionSpec, ...]:
        return await registered(self._connection, self.name)
