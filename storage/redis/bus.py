"""The bus on Redis Streams, put together."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import Capabilities, Replay, Replayable, SubscriptionSpec, SubscriptionStatus
from kubecdc.storage.redis.administration import registrations as registry
from kubecdc.storage.redis.administration import replays
from kubecdc.storage.redis.administration.dead_letters import RedisDeadLetters
from kubecdc.storage.redis.administration.registrations import FORMAT
from kubecdc.storage.redis.administration.retention import Retention
from kubecdc.storage.redis.commits.checkpoints import RedisCheckpoints
from kubecdc.storage.redis.commits.elector import RedisElector
from kubecdc.storage.redis.commits.publisher import RedisPublisher
from kubecdc.storage.redis.deliveries.notifier import Bell
from kubecdc.storage.redis.deliveries.partition_leases import Leases
from kubecdc.storage.redis.deliveries.state import RedisState
from kubecdc.storage.redis.deliveries.subscription import RedisSubscription
from kubecdc.storage.redis.server.connection import Connection
from kubecdc.storage.redis.settings import RedisSettings

CAPABILITIES = Capabilities(
    order=True,
    atomic_commit=True,
    delayed_nack=True,
    attempts=True,
    replay=True,
    dead_letter_browse=True,
    max_event_bytes=16 * 1024 * 1024,
    exactly_once_publish=True,
)


class RedisBus:
    """`storage.contracts.Bus`: streams in one Redis, shared by any number of processes."""

    def __init__(
        self, settings: RedisSettings, *, holder: str, rng: random.Random, now: Callable[[], float] | None
    ) -> None:
        self._settings = settings
        self._holder = holder
        self._rng = rng
        self._now = now or time.monotonic
        self._connection = connection = Connection(settings)
        self._bell = Bell(connection)
        self._opened: set[Leases] = set()
        partitions, max_pending = settings.partitions, settings.max_pending
        self.capabilities = CAPABILITIES
        self.ack_wait = settings.ack_wait
        self._registrations = registrations = registry.Registrations(connection, partitions)
        self.publisher = RedisPublisher(connection, registrations, partitions=partitions, max_pending=max_pending)
        self.checkpoints = RedisCheckpoints(connection)
        self.state = RedisState(connection)
        self.dead_letters = RedisDeadLetters(connection, partitions=partitions, max_pending=max_pending)
        self.retention = Retention(settings, connection)
        self.elector = RedisElector(connection, self.retention, settings.lead, holder, self._now)

    async def open(self, *, create: bool) -> None:
        """Find or make the bus. Raises UsageError, Refused, Unavailable."""
        try:
            await self._connection.check()
            await self._connection.require_rights()
            wanted = self._settings.partitions
            found = await self._connection.run("administration/open", wanted, FORMAT, int(create))
            if found[0] is None:
                raise UsageError(
                    f"there is no bus {self._settings.name!r} in {self._settings.place} yet",
                    hint="start `kubecdc run`, `watch` or `work` first",
                )
            if int(found[0]) > FORMAT:
                raise UsageError(
                    f"bus {self._settings.name!r} has format {int(found[0])}, this kubecdc knows {FORMAT}",
                    hint="run the kubecdc that made it, or newer",
                )
            if int(found[1]) != wanted:
                raise UsageError(
                    f"bus {self._settings.name!r} was made with {int(found[1])} partitions, not {wanted}",
                    hint="set `partitions` back (others would break the order), or give the bus another name",
                )
        except BaseException:
            await self._connection.close()
            raise

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._registrations.register(specs)

    async def subscriptions(self) -> list[SubscriptionStatus]:
        return await registry.statuses(self._connection, self._settings.partitions)

    async def prune(self, name: str) -> bool:
        return await registry.prune(self._connection, name, self._settings.partitions)

    def subscription(self, name: str, *, prefetch: int) -> RedisSubscription:
        return RedisSubscription(
            name,
            self._connection,
            self._bell,
            self._registrations,
            prefetch=prefetch,
            holder=self._holder,
            partitions=self._settings.partitions,
            ack_wait=self.ack_wait.total_seconds(),
            now=self._now,
            rng=self._rng,
            opened=self._opened,
        )

    async def replayable(self, replay: Replay) -> Replayable:
        found = await replays.find(self._connection, replay, self._settings.partitions)
        return Replayable(found.events, found.forgotten or None)

    async def replay(self, replay: Replay) -> int:
        """In steps of whole objects, so that what is committed meanwhile comes after its object's older events."""
        found = await replays.find(self._connection, replay, self._settings.partitions)
        found.require_room(self._settings.max_pending)
        done = 0
        for part in found.parts:
            for step in part.steps():
                done += await replays.owe(self._connection, found, part, step)
        return done

    async def close(self) -> None:
        """Open `deliveries` end; what they have not handed out is free for others."""
        self._connection.end()
        self._bell.ring()
        await self._bell.close()
        await asyncio.gather(*(leases.leave() for leases in self._opened))
        await self._connection.close()
