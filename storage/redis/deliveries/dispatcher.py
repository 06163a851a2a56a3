"""Hands out what is due: at most ``prefetch`` unsettled at a time, and only of partitions that are leased."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from kubecdc.storage.memory import Share
from kubecdc.storage.redis.deliveries.delivery import RedisDelivery
from kubecdc.storage.redis.deliveries.in_flight import InFlight
from kubecdc.storage.redis.deliveries.lanes import Entry, Lanes
from kubecdc.storage.redis.deliveries.partition_leases import Partition, PartitionLeases
from kubecdc.storage.redis.deliveries.reader import Reader
from kubecdc.storage.redis.deliveries.settings import SubscriptionSettings
from kubecdc.storage.redis.deliveries.settler import Settler
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.redis_server.notifier import Listener
from kubecdc.storage.redis_server.registrations import Registrations

CHECK = 5.0  # seconds without a notification after which all partitions are read anyway
LONGEST_CHECK = 60.0  # where there are many subscriptions
CROWDED = 0.2  # seconds until a subscription without room looks whether others have made some


class Dispatcher:
    """One open iterator of a subscription. It owns its leases, its lanes, and the deliveries in flight."""

    def __init__(self, settings: SubscriptionSettings, connection: Connection, registrations: Registrations) -> None:
        self._settings = settings
        self._connection = connection
        self._now = settings.now
        self.share, self.entries = Share(settings.memory), Share(settings.entries)
        self._lanes = Lanes(self.share, self.entries)
        self._in_flight = InFlight(settings.prefetch, settings.now)
        self.listener = Listener()
        self.leases = PartitionLeases(settings, connection, registrations, self)
        self._reader = Reader(
            settings,
            connection,
            self.leases,
            self._lanes,
            self._in_flight,
            self.share,
            self.entries,
            done=self.listener.wake.set,
        )
        self._settler = Settler(connection, self.leases.token, self.leases.forget)

    async def fill(self) -> None:
        """Read until there is something to hand out or nothing more to read. Raises Unavailable."""
        self._in_flight.let_lapse()
        changed = self.listener.changed()
        if self._now() > self.leases.stale_after or changed is None:  # then another worker may have come or gone
            await self.leases.heartbeat()
        await self._reader.fill(changed)

    def next(self) -> RedisDelivery | None:
        """The next delivery, if one is due and may be handed out."""
        now = self._now()
        if self._in_flight.full or now > self.leases.stale_after or self._connection.ending:
            return None
        entry = self._first_with_body(now)
        if entry is None or entry.body is None:
            return None
        entry.out = True
        delivery = RedisDelivery(
            entry,
            entry.body,
            subscription=self.leases.id,
            settings=self._settings,
            settler=self._settler,
            owner=self,
            now=now,
        )
        self._in_flight.add(delivery)
        return delivery

    def _first_with_body(self, now: float) -> Entry | None:
        """Take the next entry that is due; those whose bodies are not here yet keep waiting."""
        without: list[Entry] = []
        while (entry := self._lanes.take(now)) and entry.body is None:
            without.append(entry)
        for each in without:
            self._lanes.back(each, each.due)
        return entry

    async def wait(self) -> None:
        """Wait until something may have changed."""
        now = self._now()
        times = [now + min(CHECK * self._settings.crowd, LONGEST_CHECK), self._in_flight.first_lapse]
        if not self._in_flight.full:
            if self._reader.has_more or (self._lanes.ready and not self.share.full):
                return
            if self._lanes.ready or self._reader.unread:
                times.append(now + CROWDED)  # other subscriptions may have made room
            if self._lanes.next_due is not None:
                times.append(self._lanes.next_due)
        timer = asyncio.get_running_loop().call_later(max(0.0, min(times) - now), self._check)
        try:
            await self.listener.wake.wait()
        finally:
            timer.cancel()

    def cancel(self) -> None:
        """Stop reading. What the server has handed to this worker stays unsettled: its next owner begins with it."""
        self._reader.cancel()

    def taken(self, partition: Partition) -> None:
        self.listener.subscription = self.leases.id
        self._reader.add(partition.number)
        self.listener.wake.set()

    def lost(self, numbers: Collection[int]) -> None:
        for number in numbers:
            self._reader.remove(number)
        self._lanes.drop(numbers)
        self.listener.wake.set()

    def in_flight(self, number: int) -> list[tuple[str, bytes, float]]:
        return self._in_flight.of(number)

    def closed(self, delivery: RedisDelivery, delay: float | None) -> None:
        entry, wake = delivery.entry, self.listener.wake
        # If it is awake already, there is no need to know.
        full = not wake.is_set() and (self._in_flight.full or self.share.full)
        self._in_flight.remove(delivery)
        self._reader.settled(entry, returns=delay is not None)
        if delay is None:
            self._lanes.remove(entry)
        else:
            entry.received += 1
            self._lanes.back(entry, self._now() + delay)
        if full or self._lanes or self._reader.unread:
            wake.set()

    def _check(self) -> None:
        """There was no notification for a while."""
        if not self._in_flight.full:
            self._reader.add_all()
        self.listener.wake.set()
