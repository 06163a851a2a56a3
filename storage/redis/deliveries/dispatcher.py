"""Hands out what is due: at most ``prefetch`` unsettled at a time, and only of partitions that are leased."""

from __future__ import annotations

from collections.abc import Collection

from kubecdc.storage.memory import Share
from kubecdc.storage.redis.deliveries.alarm import Alarm
from kubecdc.storage.redis.deliveries.delivery import RedisDelivery
from kubecdc.storage.redis.deliveries.in_flight import InFlight
from kubecdc.storage.redis.deliveries.lanes import Lanes
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
        self._alarm = Alarm(self._check, settings.now)
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
        self._settler = Settler(connection, self.leases.token, self.leases.forget, self._in_flight)

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
        if not self._lanes.has_due(now) or self._in_flight.full:
            return None
        if now > self.leases.stale_after or self._connection.ending:
            return None
        entry = self._lanes.take(now)
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

    async def wait(self) -> None:
        """Wait until something may have changed."""
        wake = self.listener.wake
        if wake.is_set():
            return
        now = self._now()
        until = min(now + min(CHECK * self._settings.crowd, LONGEST_CHECK), self._in_flight.first_lapse)
        if not self._in_flight.full:
            if self._reader.has_more or (self._lanes.ready and not self.share.full):
                return
            if self._lanes.ready or self._reader.unread:
                until = min(until, now + CROWDED)  # other subscriptions may have made room
            if self._lanes.next_due is not None:
                until = min(until, self._lanes.next_due)
        self._alarm.set(until)
        await wake.wait()

    def cancel(self) -> None:
        """Stop reading. What the server has handed to this worker stays unsettled: its next owner begins with it."""
        self._reader.cancel()
        self._alarm.cancel()

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
        entry = delivery.entry
        self._in_flight.remove(delivery)
        self._reader.settled(entry, returns=delay is not None)
        if delay is None:
            self._lanes.remove(entry)
        else:
            entry.received += 1
            self._lanes.back(entry, self._now() + delay)
        if self._lanes or self._reader.unread:
            self.listener.wake.set()

    def _check(self) -> None:
        """Nothing has changed for a while."""
        if not self._in_flight.full:
            self._reader.add_all()
        self.listener.wake.set()
